"""Every byte of a value is shown once, beside the field it belongs to; personal ones are hidden in both views."""

from __future__ import annotations

import io
import json
import struct

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.badrows.dissect import REST, dissect
from pipelines.contracts import avro, avro_walk
from tests.unit.badrows.test_steps import RECORD, V1, body, framed

WRITERS = {7: V1}
PERSONAL = frozenset({"client_ip", "user_agent"})
NOBODY: frozenset[str] = frozenset()


def test_a_sound_value_is_shown_field_by_field() -> None:
    found = dissect(framed(RECORD), WRITERS, NOBODY)
    assert found.problem is None
    assert found.fields() == {name: str(value) for name, value in RECORD.items()}
    assert [(p.name, p.start, p.end, p.hex) for p in found.pieces[:4]] == [
        ("(magic byte)", 0, 1, "00"),
        ("(schema id)", 1, 5, "00 00 00 07"),
        ("timestamp", 5, 11, body(RECORD)[:6].hex(" ")),
        ("request_id", 11, 15, "06 72 2d 31"),
    ]


@given(st.binary(max_size=120) | st.binary(max_size=60).map(lambda tail: framed(RECORD) + tail))
def test_every_byte_is_shown_exactly_once(raw: bytes) -> None:
    pieces = [p for p in dissect(raw, WRITERS, NOBODY).pieces if p.start is not None]
    assert b"".join(bytes.fromhex(p.hex) for p in pieces) == raw


def test_personal_fields_are_hidden_in_both_views() -> None:
    found = dissect(framed(RECORD), WRITERS, PERSONAL)
    hidden = {p.name: (p.hex, p.value) for p in found.pieces if p.name in PERSONAL}
    assert hidden == {"client_ip": (" ".join(["**"] * 10), "***"), "user_agent": (" ".join(["**"] * 6), "***")}
    assert found.fields()["request_id"] == "r-1"


@pytest.mark.parametrize("cut", range(5, len(framed(RECORD)) + 1))
def test_a_cut_off_value_shows_no_personal_byte(cut: int) -> None:
    """Nobody knows what bytes of no field hold: the address may be among them."""
    found = dissect(framed(RECORD)[:cut] + b"\xff", WRITERS, PERSONAL)
    shown = bytes.fromhex("".join(p.hex.replace("*", "").replace(" ", "") for p in found.pieces))
    assert b"192" not in shown
    assert b"curl" not in shown


def test_a_value_that_breaks_shows_what_comes_before() -> None:
    whole = framed(RECORD)
    cut = whole.index(b"/v6") + 4
    found = dissect(whole[:cut], WRITERS, NOBODY)
    assert found.fields() == {"timestamp": str(RECORD["timestamp"]), "request_id": "r-1", "api_endpoint": "(broken)"}
    assert found.pieces[-1].name == REST
    assert found.problem is not None
    assert "api_endpoint" in found.problem


def test_json_has_fields_without_a_place() -> None:
    found = dissect(b'{"client_ip": "192.0.2.7", "status_code": 200}', WRITERS, PERSONAL)
    assert found.fields() == {"client_ip": "***", "status_code": "200"}
    assert all("**" in p.hex for p in found.pieces if p.name == REST)


@pytest.mark.parametrize("raw", [None, b"", b"\x00", b"\x00\x00\x00\x00\x63abc"])
def test_a_value_without_a_known_header_says_so(raw: bytes | None) -> None:
    found = dissect(raw, WRITERS, PERSONAL)
    assert found.problem
    assert found.fields() == {}


@given(st.binary(max_size=100))
def test_spans_follow_each_other(raw: bytes) -> None:
    walked = avro_walk.walk(avro.parse(V1).parsed, raw)
    ends = [0, *(s.end for s in walked.spans)]
    assert [s.start for s in walked.spans] == ends[:-1]
    assert walked.end == ends[-1] <= len(raw)


ODD = {
    "type": "record",
    "name": "Log",
    "fields": [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "first", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "BLUE"]}},
        {"name": "second", "type": "Color"},
        {"name": "inner", "type": ["null", "Log"], "default": None},
    ],
}


def test_logical_types_and_named_types_are_shown_as_what_was_written() -> None:
    plain = json.loads(json.dumps(ODD), object_hook=lambda p: {k: v for k, v in p.items() if k != "logicalType"})
    out = io.BytesIO()
    values = {"at": 2**62, "id": "no uuid", "first": "RED", "second": "BLUE", "inner": None}
    fastavro.schemaless_writer(out, fastavro.parse_schema(plain), values)
    raw = b"\x00" + struct.pack(">I", 8) + out.getvalue()
    found = dissect(raw, {8: json.dumps(ODD)}, NOBODY)
    assert (found.problem, found.fields()) == (None, {name: str(value) for name, value in values.items()})
    cut = dissect(raw[:-2], {8: json.dumps(ODD)}, NOBODY)
    assert cut.fields() == {"at": str(2**62), "id": "no uuid", "first": "RED", "second": "(broken)"}


@pytest.mark.parametrize("text", ['"string"', "{"])
def test_a_registered_text_that_is_no_record_has_no_fields(text: str) -> None:
    found = dissect(b"\x00\x00\x00\x00\x08abc", {8: text}, PERSONAL)
    assert found.problem is not None
    assert found.problem.startswith("schema id 8 can't be read: not an Avro ")
    assert found.fields() == {}
