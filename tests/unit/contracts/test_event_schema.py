"""Schemas of events: the same beginning everywhere, and nothing that a table has no column for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.contracts import avro
from pipelines.contracts.catalogue import flaws
from pipelines.contracts.event_schema import SUBJECTS
from pipelines.settings import ROOT

EVENT = "raw-events-value"
MAP = {"type": "map", "values": "string"}
ENUM = {"type": "enum", "name": "E", "symbols": ["A"]}
RECORD = {"type": "record", "name": "I", "fields": []}


def shipped(subject: str = EVENT) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "schemas" / subject / "v1.avsc").read_text(encoding="utf-8"))
    return found


def with_field(**field: Any) -> str:
    schema = shipped()
    schema["fields"] = [f for f in schema["fields"] if f["name"] != field["name"]] + [field]
    return json.dumps(schema)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_ships_is_right_and_maps_hold_texts(subject: str) -> None:
    assert flaws(subject, json.dumps(shipped(subject))) == []
    types = {field["name"]: field["type"] for field in shipped(subject)["fields"]}
    assert types["payload"] == types["metadata"] == MAP


@pytest.mark.parametrize(
    "avro_type", ["int", "bytes", MAP, ENUM, ["null", "string"], ["null", MAP], ["string", "null"]]
)
def test_types_that_a_column_can_hold(avro_type: Any) -> None:
    assert flaws(EVENT, with_field(name="more", type=avro_type)) == []


@pytest.mark.parametrize(
    "avro_type",
    [
        {"type": "array", "items": "string"},
        {"type": "map", "values": "int"},
        {"type": "map", "values": ["null", "string"]},
        RECORD,
        ["int", "string"],
        ["null", "int", "string"],
        ["null"],
        "UserActionEvent",
    ],
)
def test_types_that_it_can_not(avro_type: Any) -> None:
    [flaw] = flaws(EVENT, with_field(name="more", type=avro_type))
    assert flaw.startswith("field more: an event's field is a plain type")


def test_an_envelope_of_another_type_or_order() -> None:
    schema = shipped()
    schema["fields"][2]["type"] = "long"
    [flaw] = flaws(EVENT, json.dumps(schema))
    assert flaw.startswith("field event_timestamp: of every event it is ")
    schema = shipped()
    schema["fields"].reverse()
    assert flaws(EVENT, json.dumps(schema)) == [
        "field (all): an event begins with event_id, event_type, event_timestamp, source_system, payload, metadata, "
        "schema_version"
    ]
    schema = shipped()
    del schema["fields"][4]
    [flaw] = flaws(EVENT, json.dumps(schema))
    assert "an event begins with" in flaw


@pytest.mark.parametrize("text", ['"string"', '{"type": "map", "values": "string"}', '["null", "string"]'])
def test_what_is_no_record(text: str) -> None:
    assert flaws(EVENT, text) == ["field (all): an event is an Avro record"]


def test_other_subjects_are_free() -> None:
    assert flaws("orders-value", json.dumps(RECORD)) == []


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_shipped_schemas_parse(subject: str) -> None:
    assert avro.load(subject, 1).parsed["type"] == "record"
