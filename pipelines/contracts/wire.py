"""Confluent wire format: magic byte 0, schema id (4 bytes, big-endian, unsigned), Avro body.

Source: docs.confluent.io, "Schema Registry › Wire format".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

from pipelines.records import Severity, Violation

MAGIC = 0
HEADER_LENGTH = 5
"""Bytes before the Avro body."""

_HEADER = struct.Struct(">BI")


class WireProblem(StrEnum):
    """Why the header of a value leads to no schema; the violation's code, as in the stream. At most one applies."""

    NULL_VALUE = "null_value"
    EMPTY_VALUE = "empty_value"
    JSON_INSTEAD_OF_AVRO = "json_instead_of_avro"
    WRONG_MAGIC_BYTE = "wrong_magic_byte"
    SHORT_HEADER = "short_header"
    UNKNOWN_SCHEMA_ID = "unknown_schema_id"
    """Found by those who know the subject's schemas, not by ``parse``."""


@dataclass(frozen=True, slots=True)
class Framed:
    """A value whose header could be read; ``body`` may still be anything."""

    schema_id: int
    body: bytes


def frame(schema_id: int, body: bytes) -> bytes:
    """Put the header before an Avro body. Raises struct.error unless 0 ≤ ``schema_id`` < 2³²."""
    return _HEADER.pack(MAGIC, schema_id) + body


def parse(value: bytes | None) -> Framed | Violation:
    """Split a Kafka value into schema id and body, or say why that is impossible (a WireProblem)."""
    if value is None:
        return _problem(WireProblem.NULL_VALUE, "the value is null")
    if not value:
        return _problem(WireProblem.EMPTY_VALUE, "the value has no bytes")
    if value[:1] in (b"{", b"["):
        return _problem(WireProblem.JSON_INSTEAD_OF_AVRO, "the value starts like plain JSON, expected magic byte 0x00")
    if value[0] != MAGIC:
        return _problem(WireProblem.WRONG_MAGIC_BYTE, f"the first byte is {value[0]:#04x}, expected 0x00")
    if len(value) < HEADER_LENGTH:
        return _problem(WireProblem.SHORT_HEADER, f"{len(value)} bytes, the header alone has {HEADER_LENGTH}")
    return Framed(_HEADER.unpack_from(value)[1], value[HEADER_LENGTH:])


def _problem(code: WireProblem, message: str) -> Violation:
    return Violation(code, None, message, Severity.CRITICAL)
