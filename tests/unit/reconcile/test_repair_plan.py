"""Which finding leads to which action, and whom it believes: the table by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reconcile.model import Finding, Kind, Side
from pipelines.reconcile.repair_documents import row_of
from pipelines.reconcile.repair_plan import (
    NAMELESS,
    NOT_WANTED,
    Action,
    Outcome,
    Place,
    Source,
    barred,
    of,
    row_steps,
    steps_of,
    windows,
)
from pipelines.reconcile.repair_reads import reads
from pipelines.reconcile.repair_state import RepairState

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
KAFKA, TABLE, DOCUMENT, INVALID = Source
ES = Side.ELASTICSEARCH


def finding(kind: Kind, side: Side, offset: int = 7, **more: str) -> Finding:
    return Finding("run", "logs", 3, offset, "r-1", kind, side, HOUR, HOUR, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "side", "expected"),
    [
        (Kind.MISSING, Side.TABLE, [(Action.INSERT_ROW, (KAFKA, DOCUMENT, INVALID))]),
        (Kind.DIFFERS, Side.TABLE, [(Action.REPLACE_ROW, (KAFKA, DOCUMENT, INVALID))]),
        (Kind.MISPLACED, Side.TABLE, [(Action.REPLACE_ROW, (KAFKA, DOCUMENT, INVALID))]),
        (Kind.DOUBLED, Side.TABLE, [(Action.KEEP_ONE_ROW, (KAFKA, TABLE, DOCUMENT))]),
        (Kind.MISSING, Side.INVALID, [(Action.INSERT_INVALID_ROW, (KAFKA,))]),
        (Kind.MISSING, ES, [(Action.WRITE_DOCUMENT, (TABLE, KAFKA, INVALID))]),
        (Kind.DIFFERS, ES, [(Action.WRITE_DOCUMENT, (KAFKA, TABLE, INVALID))]),
    ],
)
def test_what_is_missing_or_wrong_is_written_from_the_most_trusted_source(
    kind: Kind, side: Side, expected: list[tuple[Action, tuple[Source, ...]]]
) -> None:
    steps = steps_of([finding(kind, side)], delete_extras=False)
    assert [(s.action, s.sources) for s in steps] == expected
    assert [s.barred for s in steps] == [None]


@pytest.mark.parametrize("delete_extras", [True, False])
@pytest.mark.parametrize("kind", [Kind.MISPLACED, Kind.DOUBLED])
def test_of_a_misplaced_or_doubled_document_the_right_one_is_written_and_the_other_removed_if_wanted(
    kind: Kind, delete_extras: bool
) -> None:
    steps = steps_of([finding(kind, ES, es_index="i", es_id="x")], delete_extras=delete_extras)
    assert {s.action: s.barred for s in steps} == {
        Action.WRITE_DOCUMENT: None,
        Action.REMOVE_DOCUMENT: None if delete_extras else NOT_WANTED,
    }
    assert of(steps, Action.REMOVE_DOCUMENT) == [s for s in steps if s.action is Action.REMOVE_DOCUMENT][:delete_extras]


def test_an_extra_document_is_removed_only_if_wanted_and_named() -> None:
    named = finding(Kind.EXTRA, ES, 1, es_index="i", es_id="x")
    nameless = finding(Kind.EXTRA, ES, 2)
    found = [
        [(c.outcome, c.message) for c in barred(steps_of([named, nameless], delete_extras=wanted))]
        for wanted in (True, False)
    ]
    assert found == [
        [(Outcome.UNREPAIRABLE, NAMELESS)],
        [(Outcome.SKIPPED, NOT_WANTED), (Outcome.UNREPAIRABLE, NAMELESS)],
    ]


@pytest.mark.parametrize(
    ("kind", "side"),
    [(Kind.MISSING, Side.KAFKA), (Kind.EXTRA, Side.TABLE), (Kind.DIFFERS, Side.INVALID), (Kind.EXTRA, Side.KAFKA)],
)
def test_what_has_no_repair_says_so(kind: Kind, side: Side) -> None:
    steps = steps_of([finding(kind, side)], delete_extras=True)
    [change] = barred(steps)
    assert (change.step.action, change.outcome) == (Action.NOTHING, Outcome.UNREPAIRABLE)
    assert change.message
    assert not row_steps(steps)


def test_a_record_that_differs_in_many_fields_is_written_once() -> None:
    fields = ["status_code", "api_endpoint", "http_method"]
    [step] = steps_of([finding(Kind.DIFFERS, ES, field=f) for f in fields], delete_extras=False)
    assert step.fields == ("api_endpoint", "http_method", "status_code")


def test_a_request_id_that_differs_is_not_held_against_the_record() -> None:
    found = [
        finding(Kind.DIFFERS, Side.TABLE, field="request_id"),
        finding(Kind.MISSING, ES),
        finding(Kind.MISSING, ES, 8),
    ]
    assert [s.request_id for s in steps_of(found, delete_extras=False)] == [None, None, "r-1"]


def test_a_table_that_is_wrong_itself_is_asked_after_kafka() -> None:
    both = [finding(Kind.MISSING, ES), finding(Kind.DIFFERS, Side.TABLE), finding(Kind.MISSING, ES, 8)]
    sources = {(s.place.offset, s.side): s.sources for s in steps_of(both, delete_extras=False)}
    assert sources[7, ES] == (KAFKA, INVALID, TABLE)
    assert sources[8, ES] == (TABLE, KAFKA, INVALID)


def test_of_several_steps_on_one_row_the_strictest_decides_where_it_comes_from() -> None:
    found = [finding(Kind.DOUBLED, Side.TABLE), finding(Kind.DIFFERS, Side.TABLE), finding(Kind.MISSING, Side.TABLE, 3)]
    steps = row_steps(steps_of(found, delete_extras=False))
    assert [(s.place.offset, s.action) for s in steps] == [
        (3, Action.INSERT_ROW),
        (7, Action.REPLACE_ROW),
        (7, Action.KEEP_ONE_ROW),
    ]


def test_hours_become_windows_without_gaps() -> None:
    hours = [HOUR + timedelta(hours=n) for n in (3, 0, 1, 1, 24)]
    assert windows(hours) == [
        (HOUR, HOUR + timedelta(hours=2)),
        (HOUR + timedelta(hours=3), HOUR + timedelta(hours=4)),
        (HOUR + timedelta(hours=24), HOUR + timedelta(hours=25)),
    ]


PLACES = st.sets(st.builds(Place, st.integers(0, 3), st.integers(0, 10_000)), max_size=60)


@given(PLACES, st.integers(1, 9))
def test_reads_hold_every_place_in_few_ranges_and_no_offset_twice(places: set[Place], at_most: int) -> None:
    found = reads("logs", places, at_most)
    assert len(found) <= at_most
    for ranges in found:
        assert len({r.partition for r in ranges}) == len(ranges)
    offsets = [Place(r.partition, o) for ranges in found for r in ranges for o in range(r.from_offset, r.until_offset)]
    assert len(offsets) == len(set(offsets))
    assert places <= set(offsets)


def test_a_few_records_far_apart_are_read_alone() -> None:
    found = reads("logs", [Place(0, 5), Place(0, 900_000), Place(0, 6), Place(2, 1)])
    assert [[(r.partition, r.from_offset, r.until_offset) for r in ranges] for ranges in found] == [
        [(0, 5, 7), (2, 1, 2)],
        [(0, 900_000, 900_001)],
    ]


def test_the_state_survives_the_journal() -> None:
    state = RepairState("id", "logs", "latest", "run", False, 4, "ana", True).begun(77)
    assert RepairState.from_json(json.loads(json.dumps(state.as_json()))) == state
    done = state.done({HOUR, HOUR + timedelta(hours=1)})
    assert (done.chunk, done.after, done.upto) == (1, 77, None)
    assert RepairState.from_json(json.loads(json.dumps(done.as_json()))).hours == done.hours
    assert done.begun(99).done({HOUR}).hours == done.hours


COLUMNS = {"status_code": "bigint", "ratio": "double", "is_new": "boolean", "api_endpoint": "string", "blob": "binary"}
SOUND = {
    "kafka_timestamp": 1_000,
    "schema_id": 1,
    "content_hash": 2,
    "status_code": 200,
    "ratio": 1,
    "is_new": True,
    "api_endpoint": "/a",
    "blob": "AAE=",
}


def test_a_document_is_a_row_again() -> None:
    at = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert row_of(SOUND, COLUMNS) == (at, 1, 2, 200, 1.0, True, "/a", bytearray(b"\x00\x01"))
    assert row_of({"kafka_timestamp": 1_000}, COLUMNS) == (at, *[None] * 7)


@pytest.mark.parametrize(
    "altered",
    [
        {"status_code": "200"},
        {"status_code": True},
        {"status_code": 1 << 63},
        {"api_endpoint": 5},
        {"is_new": 1},
        {"blob": "?"},
        {"kafka_timestamp": None},
        {"kafka_timestamp": 1 << 62},
        {"ratio": "x"},
    ],
)
def test_a_document_whose_values_changed_their_type_is_none(altered: dict[str, object]) -> None:
    assert row_of(SOUND | altered, COLUMNS) is None
