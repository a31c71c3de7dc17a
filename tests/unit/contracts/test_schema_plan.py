"""The laws of a plan for schemas, on a model of a registry, and each kind of clash by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.schema_plan import Clash, Conflict, SchemaPlan, SubjectPlan, plan_subject

S = "orders-value"


def schema(*names: str, **more: Any) -> str:
    fields = [{"name": name, "type": "int", "default": 0} for name in names]
    return json.dumps({"type": "record", "name": "R", "fields": fields} | more)


A, B, C, X = schema("a"), schema("a", "b"), schema("a", "b", "c"), schema("x")
TEXTS = st.lists(st.sampled_from([A, B, C, X]), max_size=4, unique=True)


def numbered(texts: list[str], first: int = 1, gap: int = 1) -> dict[int, str]:
    return {first + n * gap: text for n, text in enumerate(texts)}


def registered(model: dict[int, str], plan: SubjectPlan, files: dict[int, str]) -> dict[int, str]:
    """What a registry holds once the missing versions of a plan were sent to it."""
    for version in plan.missing if not plan.clashes else ():
        if files[version] not in model.values():
            model = model | {max(model, default=0) + 1: files[version]}
    return model


@given(TEXTS, TEXTS)
def test_after_a_plan_was_applied_the_next_one_is_empty_or_the_same_clash(ours: list[str], theirs: list[str]) -> None:
    files, model = numbered(ours), numbered(theirs)
    before = plan_subject(S, files, model, "BACKWARD")
    after = plan_subject(S, files, registered(model, before, files), "BACKWARD")
    assert after.clashes == before.clashes
    assert after.is_empty or after == before


@given(TEXTS, TEXTS)
def test_there_is_no_clash_exactly_if_the_registry_has_the_first_files_in_order(
    ours: list[str], theirs: list[str]
) -> None:
    plan = plan_subject(S, numbered(ours), numbered(theirs), "BACKWARD")
    assert (plan.clashes == ()) == (theirs == ours[: len(theirs)])


@given(TEXTS, st.integers(0, 4), st.integers(1, 9), st.integers(1, 3))
def test_the_numbers_of_the_registry_do_not_count(ours: list[str], there: int, first: int, gap: int) -> None:
    """Versions that were deleted once leave holes."""
    plan = plan_subject(S, numbered(ours), numbered(ours[:there], first, gap), "BACKWARD")
    assert (plan.clashes, plan.missing) == ((), tuple(range(1, len(ours) + 1))[there:])


def test_layout_is_no_difference() -> None:
    layout = json.dumps(dict(reversed(json.loads(A).items())), indent=3)
    assert plan_subject(S, {1: A}, {1: layout}, "BACKWARD").is_empty


def test_a_version_that_says_the_same_as_an_earlier_one_is_there() -> None:
    assert plan_subject(S, {1: A, 2: B, 3: A}, {1: A, 2: B}, "BACKWARD").is_empty
    assert plan_subject(S, {1: A, 2: A, 3: B}, {1: A}, "BACKWARD").missing == (3,)
    assert plan_subject(S, {1: A, 2: A, 3: B}, {}, None).missing == (1, 3)
    assert plan_subject(S, {1: A}, {1: A, 2: json.dumps(json.loads(A), indent=1)}, "BACKWARD").is_empty


@pytest.mark.parametrize(
    ("level", "there", "right"),
    [
        ("BACKWARD", {1: A}, True),
        ("NONE", {1: A}, False),
        ("FULL", {1: A}, False),
        ("NONE", {}, True),
        (None, {}, True),
    ],
)
def test_the_level_counts_once_there_is_a_version(level: str | None, there: dict[int, str], right: bool) -> None:
    assert plan_subject(S, {1: A}, there, level).is_level_right == right


def clashes(files: list[str], there: list[str]) -> list[tuple[int, Conflict]]:
    found = plan_subject(S, numbered(files), numbered(there), "BACKWARD").clashes
    return [(clash.version, clash.code) for clash in found]


def test_each_kind_of_clash() -> None:
    assert clashes([A], [X]) == [(1, Conflict.TEXT_DIFFERS)]
    assert clashes([A], [A, X]) == [(2, Conflict.NO_FILE)]
    assert clashes([A, B], [B]) == [(1, Conflict.OUT_OF_ORDER)]
    assert clashes([A, B], [B, A]) == [(1, Conflict.OUT_OF_ORDER)]
    assert clashes([A, B, C], [A, C]) == [(2, Conflict.OUT_OF_ORDER)]
    assert clashes([A, B], [A, X, B]) == [(2, Conflict.NO_FILE)]
    assert clashes([], [A]) == [(1, Conflict.NO_FILE)]


@pytest.mark.parametrize(
    ("theirs", "where"),
    [
        (schema("a", "x"), " in field b, field x"),
        (schema("a", "b", doc="other"), " in doc"),
        (schema("b", "a"), " in the order of the fields"),
        ('"string"', ""),
    ],
)
def test_a_text_that_differs_names_the_fields(theirs: str, where: str) -> None:
    [clash] = plan_subject(S, {1: B}, {1: theirs}, "BACKWARD").clashes
    told = f"the file and the registry differ{where}: a released version is never edited, make it a new one"
    assert clash == Clash(1, Conflict.TEXT_DIFFERS, told)


def test_what_is_no_json_is_like_nothing_of_ours() -> None:
    assert clashes([A], ['syntax = "proto3";']) == [(1, Conflict.TEXT_DIFFERS)]


def test_a_plan_of_many_subjects_is_empty_if_each_is() -> None:
    fine = SubjectPlan(S)
    assert SchemaPlan((fine, fine), ("other",)).is_empty
    for other in (
        SubjectPlan(S, missing=(1,)),
        SubjectPlan(S, level="NONE"),
        SubjectPlan(S, clashes=(Clash(1, Conflict.NO_FILE, ""),)),
    ):
        assert not SchemaPlan((fine, other)).is_empty
