"""What is said of one record, from all that its witnesses may say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.reconcile import witnesses
from pipelines.reconcile.compare import FIELDS, OF_KAFKA
from pipelines.reconcile.witnesses import Bounds, Record

INDEX = "logs-2026.03.01"
BOUNDS = Bounds({0: 100}, {0: 100}, 5_000)
CONTENT: dict[str, Any] = {name: f"{name} of it" for name in FIELDS} | {"request_id": "id-7", "es_index": INDEX}
ROW = CONTENT | {"ingested_ms": 9_000, "computed_hash": CONTENT["content_hash"], "misdated": []}
DOCUMENT = CONTENT | {"es_id": "id-7"}
OF_DAY = {"field": "date", "expected": "2026-03-01", "found": "2026-03-02"}
SOUND = Record(0, 7, rows=1, row=ROW, documents=[DOCUMENT], truth=CONTENT)


def told(record: Record, bounds: Bounds = BOUNDS) -> list[tuple[str, str, str | None]]:
    return [(s.kind.value, s.side.value, s.field) for s in record.findings(bounds)]


def test_of_a_sound_record_nothing_is_said() -> None:
    assert told(SOUND) == []
    assert told(replace(SOUND, truth=None)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"documents": []}, [("missing", "elasticsearch", None)]),
        ({"rows": 0, "row": None}, [("missing", "valid", None)]),
        ({"rows": 0, "row": None, "documents": []}, [("missing", "valid", None), ("missing", "elasticsearch", None)]),
        ({"rows": 2}, [("doubled", "valid", None)]),
        ({"documents": [DOCUMENT, DOCUMENT | {"es_id": "x"}]}, [("doubled", "elasticsearch", None)]),
        ({"documents": [DOCUMENT, DOCUMENT | {"es_index": "other"}]}, [("doubled", "elasticsearch", None)]),
        ({"documents": [DOCUMENT | {"es_index": "other"}]}, [("misplaced", "elasticsearch", None)]),
        (
            {"documents": [DOCUMENT | {"es_id": "x"}]},
            [("missing", "elasticsearch", None), ("doubled", "elasticsearch", None)],
        ),
        ({"documents": [DOCUMENT | {"user_agent": "y"}]}, [("differs", "elasticsearch", "user_agent")]),
        ({"documents": [DOCUMENT | {"warnings": ["y"]}]}, [("differs", "elasticsearch", "warnings")]),
        ({"row": ROW | {"user_agent": "y"}}, [("differs", "valid", "user_agent")]),
        (
            {"row": ROW | {"user_agent": "y"}, "documents": [DOCUMENT | {"user_agent": "y"}]},
            [("differs", "valid", "user_agent"), ("differs", "elasticsearch", "user_agent")],
        ),
        ({"row": ROW | {"misdated": [OF_DAY]}}, [("differs", "valid", "date")]),
        ({"logs_rows": 2, "logs_invalid": ("replayed", "rule")}, [("doubled", "invalid", None)]),
        ({"rows": 0, "row": None, "documents": [], "truth": None, "logs_rows": 3}, [("doubled", "invalid", None)]),
        ({"row": ROW | {"computed_hash": "z"}}, [("differs", "valid", "content_hash")]),
        ({"rows": 0, "row": None, "truth": None}, [("extra", "elasticsearch", None)]),
        ({"rows": 0, "row": None, "truth": None, "refused": "bad"}, [("extra", "elasticsearch", None)]),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], expected: list[tuple[str, str, str | None]]) -> None:
    assert told(replace(SOUND, **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"documents": [], "es_invalid": ("open", "409")}, ("accounted_as_invalid", "elasticsearch")),
        ({"documents": [], "es_invalid": ("replayed", "409")}, ("missing", "elasticsearch")),
        ({"documents": [], "others": "that of 0@3"}, ("accounted_as_invalid", "elasticsearch")),
        ({"rows": 0, "row": None, "logs_invalid": ("open", "duplicate")}, ("accounted_as_invalid", "valid")),
        ({"rows": 0, "row": None, "logs_invalid": ("replayed", "rule")}, ("missing", "valid")),
    ],
)
def test_refusals_explain_and_replays_do_not(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    [said] = replace(SOUND, **changes).findings(BOUNDS)
    assert (said.kind, said.side) == expected
    assert (said.state == "explained") == (said.kind == "accounted_as_invalid")


@pytest.mark.parametrize("documents", [[], [DOCUMENT]])
def test_a_lost_duplicate_is_missing_among_the_invalid_rows_and_nowhere_else(documents: list[dict[str, Any]]) -> None:
    again = replace(SOUND, rows=0, row=None, documents=documents, first="0@3")
    [said] = again.findings(BOUNDS)
    assert (said.kind, said.side, "0@3" in (said.reason or "")) == ("missing", "invalid", True)
    assert told(replace(again, documents=[], logs_invalid=("open", "duplicate"))) == []
    assert told(again, Bounds({0: 7}, {0: 7}, 5_000)) == []
    replayed = replace(again, documents=[], logs_invalid=("replayed", "rule"))
    assert ("missing", "valid", None) in told(replayed)


def test_a_replayed_row_is_not_held_against_what_kafka_has() -> None:
    repaired = ROW | {"http_method": "GET"}
    record = replace(SOUND, row=repaired, documents=[DOCUMENT | {"http_method": "GET"}], logs_invalid=("replayed", ""))
    assert told(record) == []


def test_holes_of_the_ledger_are_named_as_far_as_anybody_knows() -> None:
    hole = Record(0, 7, is_hole=True)
    assert told(hole) == []  # a transaction marker, or compaction: Kafka has no such record
    [said] = replace(hole, refused="not Avro").findings(BOUNDS)
    assert (said.kind, said.side, "not Avro" in (said.reason or "")) == ("missing", "invalid", True)
    [said] = replace(hole, is_gone=True).findings(BOUNDS)
    assert (said.kind, said.side, said.reason) == ("missing", "valid", witnesses.NOBODY_KNOWS)
    assert told(replace(hole, refused="not Avro", logs_invalid=("open", "not Avro"))) == []


def test_what_a_job_has_not_confirmed_is_not_missing() -> None:
    behind = Bounds({0: 7}, {0: 7}, 5_000)
    assert told(replace(SOUND, documents=[]), behind) == []
    assert told(replace(SOUND, rows=0, row=None), behind) == []
    assert told(replace(SOUND, rows=0, row=None, truth=None), behind) == []


def test_coordinates_that_kafka_has_not_given_out_are_no_lag() -> None:
    behind = Bounds({0: 7}, {0: 7}, 5_000)
    ahead = replace(SOUND, rows=0, row=None, truth=None, is_beyond=True)
    assert told(ahead, behind) == [("extra", "elasticsearch", None)]
    assert told(replace(ahead, partition=99), behind) == [("extra", "elasticsearch", None)]


def test_lag_is_no_excuse_once_its_time_is_over() -> None:
    record = replace(SOUND, documents=[], row=ROW | {"ingested_ms": 4_999})
    [said] = record.findings(Bounds({0: 100}, {0: 7}, 5_000))
    assert (said.kind, said.reason) == ("missing", witnesses.LATE)


def test_values_are_shown_and_personal_ones_masked() -> None:
    record = replace(SOUND, documents=[DOCUMENT | {"client_ip": "192.0.2.9", "status_code": 500}])
    found = {s.field: s for s in replace(record, personal=frozenset({"client_ip"})).findings(BOUNDS)}
    assert (found["status_code"].expected, found["status_code"].found) == ("status_code of it", "500")
    assert (found["client_ip"].expected, found["client_ip"].found) != ("client_ip of it", "192.0.2.9")
    assert "192.0.2.9" not in str(found)
    assert (found["client_ip"].es_index, found["client_ip"].es_id) == (INDEX, "id-7")


def test_every_field_of_a_document_counts() -> None:
    for name in FIELDS:
        if name != "request_id":
            record = replace(SOUND, documents=[DOCUMENT | {name: "other"}])
            assert told(record) == [("differs", "elasticsearch", name)]
    assert set(OF_KAFKA) < set(FIELDS)
