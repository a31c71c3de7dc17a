"""Offsets of the ledger: covered once, or said to be left or twice."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import Row

from pipelines.reconcile.ledger import Job, checks, jobs


def summed(*batches: tuple[int, int], **more: Any) -> Row:
    """A row as Spark sums it: of one job, partition and hour."""
    links = {f"links_{n}": sum(end**n - start**n for start, end in batches) for n in (2, 3)}
    base = {
        "query": "ingest",
        "partition": 0,
        "hour": None,
        "first": min(start for start, _ in batches),
        "until": max(end for _, end in batches),
        "covered": sum(end - start for start, end in batches),
        "lost": 0,
        "unexplained": 0,
        "unproven": 0,
        "refused": 0,
        "span_from": None,
        "span_until": None,
    }
    return Row(**{**base, **links, **more})


@pytest.mark.parametrize(
    ("batches", "uncovered", "doubled"),
    [
        ([(0, 10), (10, 25), (25, 40)], 0, 0),
        ([(25, 40), (0, 10), (10, 25)], 0, 0),
        ([(0, 10), (15, 40)], 5, 0),
        ([(0, 10), (5, 40)], 0, 5),
        ([(0, 10), (0, 10), (10, 40)], 0, 10),
        ([(0, 10), (5, 10), (15, 40)], 1, 1),  # five twice and five never: the sums of lengths are right
        ([(0, 10), (10, 20), (10, 20), (30, 40)], 1, 1),
    ],
)
def test_what_is_left_and_what_is_twice(batches: list[tuple[int, int]], uncovered: int, doubled: int) -> None:
    found = jobs([summed(*batches)])["ingest"]
    [check] = checks("ingest", found, {0: (0, 40)})
    assert (check.uncovered, check.doubled) == (uncovered, doubled)
    assert (check.first, check.until, found.positions) == (0, 40, {0: 40})


def test_large_offsets_wrap_as_those_of_spark_do() -> None:
    start = 3 << 40
    row = summed((start, start + 10), (start + 10, start + 30))
    wrapped = {f"links_{n}": (row[f"links_{n}"] + (1 << 63)) % (1 << 64) - (1 << 63) for n in (2, 3)}
    found = jobs([Row(**{**row.asDict(), **wrapped})])["ingest"]
    assert found.partitions[0].is_chain


@pytest.mark.parametrize(
    ("marks", "uncovered"),
    [
        ((10, 40), 0),
        ((12, 40), 0),  # retention has eaten what the ledger covers
        ((4, 40), 6),  # Kafka has records that no batch ever took
        ((45, 60), 5),  # and has dropped some before any batch came
        ((10, 90), 0),  # lag is no gap
    ],
)
def test_kafkas_ends_are_held_against_the_ledger(marks: tuple[int, int], uncovered: int) -> None:
    [check] = checks("ingest", jobs([summed((10, 40))])["ingest"], {0: marks})
    assert check.uncovered == uncovered


def test_offsets_without_an_account_are_not_covered() -> None:
    [check] = checks("ingest", jobs([summed((0, 40), unexplained=3)])["ingest"], {0: (0, 40)})
    assert check.uncovered == 3


def test_a_job_that_never_ran_covers_nothing_and_misses_nothing() -> None:
    [check] = checks("index", Job(), {0: (5, 40)})
    assert (check.covered, check.uncovered, check.first, check.until) == (0, 0, 5, 5)
