"""What the schema of a topic of events must be: every event begins alike, and its fields fit a table's columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SUBJECTS = (
    "raw-events-value",
    "raw-logs-value",
    "raw-metrics-value",
    "raw-system-events-value",
    "raw-transactions-value",
)
"""Subjects of events; a test of ``sdk.events`` holds them equal to the topics that it routes to."""

TEXTS = {"type": "map", "values": "string"}
"""A map of texts: the only type beside plain ones. Spark reads it as a map, whatever its keys are."""

ENVELOPE = {
    "event_id": "string",
    "event_type": "string",
    "event_timestamp": {"type": "long", "logicalType": "timestamp-micros"},
    "source_system": "string",
    "payload": TEXTS,
    "metadata": TEXTS,
    "schema_version": "string",
}
"""The first fields of every event, in this order."""

_PLAIN = {"boolean", "int", "long", "float", "double", "bytes", "string", "enum"}


def misfits(schema: Any) -> Iterator[tuple[str, str]]:
    """Field and reason for everything in a parsed schema that no event may have."""
    if not isinstance(schema, dict) or schema["type"] != "record":
        yield "(all)", "an event is an Avro record"
        return
    fields = {field["name"]: field["type"] for field in schema["fields"]}
    if list(fields)[: len(ENVELOPE)] != list(ENVELOPE):
        yield "(all)", f"an event begins with {', '.join(ENVELOPE)}"
    for name, wanted in ENVELOPE.items():
        if name in fields and fields[name] != wanted:
            yield name, f"of every event it is {wanted}, not {fields[name]}"
    for name in fields.keys() - ENVELOPE.keys():
        if not _fits_a_column(fields[name]):
            yield name, "an event's field is a plain type, an enum or a map of strings; each may be optional"


def _fits_a_column(avro_type: Any) -> bool:
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    values = [branch for branch in branches if branch != "null"]
    if len(values) != 1 or len(branches) > 2:
        return False
    kind = values[0]["type"] if isinstance(values[0], dict) else values[0]
    return kind in _PLAIN or values[0] == TEXTS
