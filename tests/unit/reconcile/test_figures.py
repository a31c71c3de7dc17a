"""Figures tell two sides apart that differ, and forgive nothing but what doubles can't hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reconcile.figures import (
    LARGE,
    SUMMED,
    Figures,
    Place,
    differing,
    differing_from_ledger,
    is_close,
    tolerance,
)

HERE, THERE = Place(0, 0), Place(1, 0)


def side(*values: int, method: str = "GET", place: Place = HERE) -> Figures:
    figures = Figures()
    for value in values:
        figures.add(place, 1, [value] * len(SUMMED))
        figures.add_value(place, "http_method", method, 1)
    return figures


def test_equal_sides_do_not_differ() -> None:
    assert differing(side(1, 2), side(2, 1)) == set()
    assert differing(Figures(), Figures()) == set()


@pytest.mark.parametrize("other", [side(1), side(1, 3), side(1, 2, 3), side(1, 2, method="PUT"), Figures()])
def test_a_count_a_sum_or_a_value_that_differs_is_seen(other: Figures) -> None:
    assert differing(side(1, 2), other) == {HERE}
    assert differing(other, side(1, 2)) == {HERE}


@pytest.mark.parametrize("name", ["warnings", "http_method", "status_code", "api_endpoint"])
def test_every_counted_field_is_held_against_the_other_side(name: str) -> None:
    table, documents = side(1), side(1)
    documents.add_value(HERE, name, "odd", 1)
    assert differing(table, documents) == {HERE}


def test_the_times_of_a_document_are_summed() -> None:
    assert {"timestamp", "@timestamp", "kafka_timestamp"} == set(LARGE) <= set(SUMMED)


def test_a_loss_and_a_copy_do_not_cancel() -> None:
    assert differing(side(1, 2, 3), side(1, 2, 2)) == {HERE}


def test_a_place_on_one_side_only_differs() -> None:
    assert differing(side(1), side(1, place=THERE)) == {HERE, THERE}


def test_fields_with_too_many_values_say_nothing() -> None:
    documents = side(1, method="PUT")
    documents.many.add("http_method")
    assert differing(side(1), documents) == set()


@given(st.lists(st.integers(0, 2**32 - 1), max_size=200))
def test_sums_of_hashes_are_compared_exactly(hashes: list[int]) -> None:
    assert tolerance(sum(hashes)) == 0
    assert is_close(sum(hashes), float(sum(hashes)))
    assert not is_close(sum(hashes), float(sum(hashes) + 1))


@given(st.lists(st.integers(1_700_000_000_000, 1_900_000_000_000), min_size=1, max_size=300))
def test_sums_of_times_may_be_off_by_a_few_last_places(times: list[int]) -> None:
    thousandfold = sum(times) * 1_000
    assert is_close(thousandfold, math.fsum(float(t) * 1_000 for t in times))
    assert not is_close(thousandfold, float(thousandfold) + 3_600_000)


def test_the_ledger_is_held_against_a_side() -> None:
    said = {(0, 0): (2, 3), (1, 0): (1, 9), (2, 7): (1, 1)}
    assert differing_from_ledger(said, side(1, 2), {0}) == {THERE}
    assert differing_from_ledger({(0, 0): (2, 4)}, side(1, 2), {0}) == {HERE}
    assert differing_from_ledger({}, side(1), {0}) == {HERE}
    assert differing_from_ledger({}, side(1), {7}) == set()
