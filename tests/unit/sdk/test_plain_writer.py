"""The function made for a schema writes what fastavro writes, or nothing."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import avro
from pipelines.contracts.writer import LogSchema
from sdk.plain_writer import NOT_PLAIN, plain_writer

ENUM = {"type": "enum", "name": "e", "symbols": ["x", "y", "z"]}
TYPES: dict[str, Any] = {
    **{name: name for name in ("string", "bytes", "int", "long", "float", "double", "boolean")},
    **{f"null_{name}": ["null", name] for name in ("string", "bytes", "int", "long", "float", "double", "boolean")},
    **{f"{name}_null": [name, "null"] for name in ("string", "int", "double")},
    "enum": ENUM,
}
SCHEMA = avro.parse(
    json.dumps({"type": "record", "name": "r", "fields": [{"name": n, "type": t} for n, t in TYPES.items()]})
)
WRITE = plain_writer(LogSchema(SCHEMA.text).fields, b"head")

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text() | st.text(min_size=500, max_size=1_100).map(lambda text: 2 * text),
    "bytes": st.binary(),
    "int": st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 1_030),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(-20_000, 20_000) | st.integers(1_700_000_000_000, 2**41),
    "float": st.floats(width=32),
    "double": st.floats(),
    "boolean": st.booleans(),
    "enum": st.sampled_from(ENUM["symbols"]),
}
records = st.fixed_dictionaries(
    {n: st.none() | VALUES[n.replace("null", "").strip("_")] if "null" in n else VALUES[n] for n in TYPES}
)
ODD: list[Any] = [
    None,
    True,
    0,
    2**31,
    -(2**31) - 1,
    2**63,
    -(2**63) - 1,
    2**70,
    1.5,
    1e300,
    b"x",
    "",
    "\ud800",
    "no symbol",
    [],
    {},
]


def fastavros(record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA.parsed, record)
    return b"head" + out.getvalue()


@given(records)
def test_plain_records(record: dict[str, Any]) -> None:
    assert WRITE(record) == fastavros(record)


@given(records, st.sampled_from(list(TYPES)), st.sampled_from(ODD))
def test_odd_values_are_written_alike_or_refused(record: dict[str, Any], name: str, value: Any) -> None:
    try:
        written = WRITE(record | {name: value})
    except NOT_PLAIN:
        return
    assert written == fastavros(record | {name: value})


@given(records, st.sampled_from(list(TYPES)))
def test_fields_too_many_too_few_or_made_up(record: dict[str, Any], name: str) -> None:
    class Generous(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            return record[key]

    fewer = {n: v for n, v in record.items() if n != name}
    for wrong in (record | {"other": 1}, fewer, fewer | {"other": 1}, Generous(fewer), Generous(fewer | {"other": 1})):
        with pytest.raises(NOT_PLAIN):
            WRITE(wrong)
