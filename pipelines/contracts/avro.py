"""Avro schemas of ``schemas/`` and exactly one record per body: encode and decode without Spark.

``decode`` first walks the bytes strictly (``avro_walk``), because fastavro alone accepts left-over bytes, negative
lengths and integers wider than the schema allows; it names the field and the byte where a body breaks.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException
from fastavro.validation import ValidationError

from pipelines import settings
from pipelines.contracts import avro_walk
from pipelines.contracts.avro_walk import DecodeProblem
from pipelines.errors import ContractViolation, UsageError
from pipelines.records import Severity, Violation

__all__ = [
    "DecodeProblem",
    "Schema",
    "decode",
    "encode",
    "encoded_size",
    "load",
    "parse",
    "parse_once",
    "versions",
]

_NOT_A_SCHEMA = (
    *(ValueError, KeyError, TypeError, AttributeError, OverflowError),
    *(SchemaParseException, fastavro.schema.UnknownType),
)
"""What fastavro raises for one thing or another that is no schema; of JSON without its parts it asks no questions."""

SCHEMA_MISMATCH = "schema_mismatch"
"""Code of a violation found while encoding: the record does not fit its schema."""


@dataclass(frozen=True, slots=True)
class Schema:
    """One Avro schema, parsed once. ``text`` is as written (file or registry)."""

    text: str
    parsed: Any = field(repr=False, compare=False)


def parse(text: str) -> Schema:
    """Parse schema text. Raises UsageError when it is not an Avro schema."""
    try:
        return Schema(text, fastavro.parse_schema(json.loads(text)))
    except _NOT_A_SCHEMA as error:
        raise UsageError(f"not an Avro schema: {_named(error)}") from None


@cache
def parse_once(text: str) -> Schema:
    """``parse``, remembered for as long as the process lives."""
    return parse(text)


def versions(subject: str) -> list[int]:
    """Versions of a subject in ``schemas/``, ascending. Raises UsageError when there are none."""
    folder = settings.ROOT / "schemas" / subject
    found = sorted(int(m[1]) for p in folder.glob("v*.avsc") if (m := re.fullmatch(r"v(\d+)\.avsc", p.name)))
    if not found:
        raise UsageError(f"no schema for subject {subject!r}: expected {folder}/v1.avsc")
    return found


@cache
def load(subject: str, version: int | None = None) -> Schema:
    """Schema of a subject from ``schemas/<subject>/v<N>.avsc``, the newest unless ``version`` is given.

    Raises UsageError when the file is missing or no Avro schema.
    """
    chosen = versions(subject)[-1] if version is None else version
    path = settings.ROOT / "schemas" / subject / f"v{chosen}.avsc"
    if not path.is_file():
        raise UsageError(f"no schema {path}")
    return parse(path.read_text(encoding="utf-8"))


def encode(schema: Schema, record: Mapping[str, Any]) -> bytes:
    """One record as an Avro body. Raises ContractViolation naming every field that does not fit."""
    try:
        fastavro.validate(record, schema.parsed)
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema.parsed, dict(record), strict_allow_default=True)
    except ValidationError as error:
        raise ContractViolation([_mismatch(str(e)) for e in error.errors]) from None
    except UnicodeEncodeError as error:
        raise ContractViolation([_mismatch(f"a string is not valid Unicode: {error.reason}")]) from None
    except ValueError as error:
        raise ContractViolation([_mismatch(str(error))]) from None
    return out.getvalue()


def encoded_size(avro_type: str, default: Any) -> int:
    """Bytes of a field's default, as it stands in the JSON of a schema, in Avro. An enum has one."""
    if avro_type == "enum":
        return 1
    out = io.BytesIO()
    fastavro.schemaless_writer(out, avro_type, default.encode("latin-1") if avro_type == "bytes" else default)
    return len(out.getvalue())


def decode(writer: Schema, body: bytes, reader: Schema | None = None) -> dict[str, Any] | Violation:
    """Read exactly one record, or say why that is impossible (a DecodeProblem with field and byte).

    ``reader``: schema to resolve to (law 6); the writer's own when None.
    """
    problem = avro_walk.find_problem(writer.parsed, body)
    if problem is not None:
        return problem
    try:
        record = fastavro.schemaless_reader(io.BytesIO(body), writer.parsed, reader.parsed if reader else None)
    except SchemaResolutionError as error:
        message = f"the writer's schema does not resolve to the reader's: {error}"
        return Violation(DecodeProblem.INCOMPATIBLE_SCHEMA, None, message, Severity.CRITICAL)
    assert isinstance(record, dict), "only record schemas are registered"
    return record


def _mismatch(message: str) -> Violation:
    return Violation(SCHEMA_MISMATCH, None, message, Severity.CRITICAL)


def _named(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
