"""Every byte of a value is shown once, beside the field it belongs to; personal ones are hidden in both views."""

from __future__ import annotations

import io
import json
import struct

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.badrows.dissect import REST, dissect, masked, readable
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


RENAMED = V1.replace('"client_ip"', '"ip", "aliases": ["client_ip"]')
AGAIN = V1.replace('"client_ip"', '"addr", "aliases": ["ip"]')
NESTED = """{"type": "record", "name": "Log", "fields": [
    {"name": "status_code", "type": {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "string"}]}},
    {"name": "api_endpoint", "type": {"type": "map", "values": "string"}},
    {"name": "http_method", "type": "string"}]}"""


@pytest.mark.parametrize(("text", "name"), [(RENAMED, "ip"), (AGAIN, "addr")])
def test_a_personal_column_is_hidden_under_every_name_that_a_version_gives_it(text: str, name: str) -> None:
    renamed = {name if field == "client_ip" else field: value for field, value in RECORD.items()}
    found = dissect(framed(renamed, 8, text), {7: V1, 8: RENAMED, 9: AGAIN} | {8: text, 10: RENAMED}, PERSONAL)
    assert (found.problem, found.fields()[name], found.fields()["request_id"]) == (None, "***", "r-1")
    assert [set(p.hex.split()) for p in found.pieces if p.name == name] == [{"**"}]


def test_nested_values_of_a_version_are_hidden() -> None:
    body = bytes.fromhex("02 78 02 02 61 02 62 00 06 47 45 54")
    raw = b"\x00\x00\x00\x00\x08" + body
    hidden = dissect(raw, {7: V1, 8: NESTED}, PERSONAL)
    assert hidden.fields() == {"status_code": "***", "api_endpoint": "***", "http_method": "GET"}


def test_json_shows_flat_fields_that_a_version_has_and_nothing_else() -> None:
    raw = b'{"request_id": "r-1", "remote": "192.0.2.7", "api_endpoint": ["192.0.2.7"], "status_code": {"x": 1}}'
    hidden = {"request_id": "r-1", "remote": "***", "api_endpoint": "***", "status_code": "***"}
    assert dissect(raw, WRITERS, PERSONAL).fields() == hidden
    assert dissect(raw, WRITERS, NOBODY).fields()["remote"] == "192.0.2.7"


def test_a_message_and_the_pieces_count_bytes_alike() -> None:
    whole = framed(RECORD)
    found = dissect(whole[: whole.index(b"/v6") + 4], WRITERS, NOBODY)
    assert [p.start for p in found.pieces if p.name == "api_endpoint"] == [15]
    assert found.problem == "field api_endpoint, byte 15: claims 10 bytes, 4 are left"
    assert dissect(whole + b"!", WRITERS, NOBODY).problem == (
        f"1 bytes are left after the record, which ends at byte {len(whole)}"
    )


def test_keys_and_headers_are_text_or_hex_or_a_length() -> None:
    values = [None, b"k", b"\xff\x00", b"a\x1b"]
    assert [readable(v) for v in values] == [None, "k", "ff 00", "61 1b"]
    assert [masked(v) for v in values] == [None, "*** (1 bytes)", "*** (2 bytes)", "*** (2 bytes)"]


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
