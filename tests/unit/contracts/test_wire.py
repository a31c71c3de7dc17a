"""The Confluent header: every value is framed, or has exactly one reason why not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.wire import Framed, frame, parse
from pipelines.records import Severity, Violation


@given(st.integers(0, 2**32 - 1), st.binary())
def test_parse_undoes_frame(schema_id: int, body: bytes) -> None:
    assert parse(frame(schema_id, body)) == Framed(schema_id, body)


@given(st.binary())
def test_every_value_is_framed_or_has_a_reason(value: bytes) -> None:
    parsed = parse(value)
    assert isinstance(parsed, Violation) or frame(parsed.schema_id, parsed.body) == value


def test_header_is_big_endian() -> None:
    assert frame(0x01020304, b"x") == b"\x00\x01\x02\x03\x04x"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "null_value"),
        (b"", "empty_value"),
        (b"\x00", "short_header"),
        (b"\x00\x00\x00\x01", "short_header"),
        (b"\x01\x00\x00\x00\x01abc", "wrong_magic_byte"),
        (b"{}", "json_instead_of_avro"),
        (b'{"timestamp": 1}', "json_instead_of_avro"),
    ],
)
def test_problem_is_named(value: bytes | None, code: str) -> None:
    problem = parse(value)
    assert isinstance(problem, Violation)
    assert (problem.code, problem.field, problem.severity) == (code, None, Severity.CRITICAL)
