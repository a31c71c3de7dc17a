"""Exactly one record per body, and a precise reason for every other body."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import avro
from pipelines.contracts.avro import Schema, decode, encode, load, parse
from pipelines.errors import ContractViolation, UsageError
from pipelines.records import LOG_FIELDS, Violation

LOG = load("api6-logs-value")

RECORD: dict[str, Any] = {
    "timestamp": 1_700_000_000_000,
    "request_id": "r-1",
    "api_endpoint": "/a",
    "http_method": "GET",
    "status_code": 200,
    "response_time_ms": 12,
    "client_ip": "10.0.0.1",
    "user_agent": None,
    "payload_size": 7,
    "error_message": "é",
}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
int32 = st.integers(-(2**31), 2**31 - 1)
records = st.fixed_dictionaries(
    {
        "timestamp": st.integers(-(2**63), 2**63 - 1),
        "request_id": text,
        "api_endpoint": text,
        "http_method": text,
        "status_code": int32,
        "response_time_ms": int32,
        "client_ip": text,
        "user_agent": st.none() | text,
        "payload_size": int32,
        "error_message": st.none() | text,
    }
)


def problem_of(body: bytes, schema: Schema = LOG) -> Violation:
    found = decode(schema, body)
    assert isinstance(found, Violation), found
    return found


def test_newest_version_has_the_ten_fields() -> None:
    assert tuple(f["name"] for f in load("api6-logs-value", 1).parsed["fields"]) == LOG_FIELDS


@given(records)
def test_decode_undoes_encode(record: dict[str, Any]) -> None:
    assert decode(LOG, encode(LOG, record)) == record


@given(records, st.binary(min_size=1, max_size=20))
def test_left_over_bytes_are_a_problem(record: dict[str, Any], rest: bytes) -> None:
    assert problem_of(encode(LOG, record) + rest).code == "trailing_bytes"


@given(records, st.data())
def test_every_shorter_body_is_a_problem(record: dict[str, Any], data: st.DataObject) -> None:
    body = encode(LOG, record)
    assert problem_of(body[: data.draw(st.integers(0, len(body) - 1))]).code == "truncated_avro"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_problem(body: bytes) -> None:
    found = decode(LOG, body)
    assert isinstance(found, (dict, Violation))


@given(records, st.data())
def test_a_mutated_body_is_a_record_or_a_problem(record: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(encode(LOG, record))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(decode(LOG, bytes(body)), (dict, Violation))


STRING = parse('{"type": "record", "name": "R", "fields": [{"name": "s", "type": "string"}]}')
INT = parse('{"type": "record", "name": "R", "fields": [{"name": "i", "type": "int"}]}')
UNION = parse('{"type": "record", "name": "R", "fields": [{"name": "u", "type": ["null", "string"]}]}')
BLOCKS = parse(
    '{"type": "record", "name": "R", "fields": ['
    '{"name": "a", "type": {"type": "array", "items": "long"}}, {"name": "m", "type": {"type": "map", "values": "R"}}]}'
)


@pytest.mark.parametrize(
    ("schema", "body", "code", "field"),
    [
        (STRING, b"", "truncated_avro", "s"),
        (STRING, b"\x08abc", "truncated_avro", "s"),
        (STRING, b"\x01", "corrupt_avro", "s"),
        (STRING, b"\xfe\xff\xff\xff\x0fabc", "corrupt_avro", "s"),
        (STRING, b"\xff" * 11, "corrupt_avro", "s"),
        (STRING, b"\x04\xc3\x28", "invalid_utf8", "s"),
        (STRING, b"\x06\xed\xa0\x80", "invalid_utf8", "s"),
        (INT, b"\xff\xff\xff\xff\x7f", "corrupt_avro", "i"),
        (INT, b"\x80\x80\x80\x80\x80\x01", "corrupt_avro", "i"),
        (UNION, b"\x04", "corrupt_avro", "u"),
        (UNION, b"\x01", "corrupt_avro", "u"),
        (BLOCKS, b"\xfe\xff\xff\xff\x0f", "corrupt_avro", "a"),
        (BLOCKS, b"\x00\x02\x02k", "truncated_avro", "m"),
    ],
)
def test_problem_names_cause_and_field(schema: Schema, body: bytes, code: str, field: str) -> None:
    problem = problem_of(body, schema)
    assert (problem.code, problem.field) == (code, field)
    assert "byte 0" in problem.message or field == "m"


def test_nesting_is_walked() -> None:
    value = {"a": [1, 2], "m": {"k": {"a": [], "m": {}}}}
    assert decode(BLOCKS, encode(BLOCKS, value)) == value


def test_a_recursion_bomb_is_corrupt() -> None:
    assert problem_of(b"\x00\x02\x00" * 500, BLOCKS).code == "corrupt_avro"


def test_reader_schema_fills_its_default() -> None:
    reader = parse(LOG.text.replace("]}\n  ]", ']},\n    {"name": "region", "type": "string", "default": "eu"}\n  ]'))
    assert decode(LOG, encode(LOG, RECORD), reader) == RECORD | {"region": "eu"}


def test_reader_schema_that_does_not_resolve() -> None:
    found = decode(STRING, encode(STRING, {"s": "x"}), INT)
    assert isinstance(found, Violation)
    assert found.code == "incompatible_schema"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"status_code": "200"}, "status_code"),
        ({"status_code": 2**31}, "status_code"),
        ({"request_id": None}, "request_id"),
    ],
)
def test_encode_names_the_field_that_does_not_fit(change: dict[str, Any], name: str) -> None:
    with pytest.raises(ContractViolation, match=name):
        encode(LOG, RECORD | change)


def test_encode_refuses_missing_and_unknown_fields() -> None:
    with pytest.raises(ContractViolation):
        encode(LOG, {k: v for k, v in RECORD.items() if k != "client_ip"})
    with pytest.raises(ContractViolation):
        encode(LOG, RECORD | {"extra": 1})


def test_encode_refuses_half_a_character() -> None:
    with pytest.raises(ContractViolation, match="Unicode"):
        encode(LOG, RECORD | {"user_agent": "\ud800"})


def test_unknown_subject_and_broken_schema() -> None:
    with pytest.raises(UsageError, match=r"v1\.avsc"):
        load("no-such-subject")
    with pytest.raises(UsageError, match="not an Avro schema"):
        avro.parse('{"type": "nonsense"}')
