"""Hand-written Avro encoding of an API6 log, field by field: pools can be encoded once, and wrong bytes can be written.

A test holds it equal to fastavro for every record that fits the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict


class LogRecord(TypedDict):
    """The ten fields. ``timestamp``: Unix time in ms."""

    timestamp: int
    request_id: str
    api_endpoint: str
    http_method: str
    status_code: int
    response_time_ms: int
    client_ip: str
    user_agent: str | None
    payload_size: int
    error_message: str | None


def long_bytes(value: int) -> bytes:
    """An int or long: zig-zag, then as a varint."""
    return varint_bytes((value << 1) ^ (value >> 63))


def varint_bytes(rest: int) -> bytes:
    """An unsigned number in 7 bits a byte, low ones first."""
    out = bytearray()
    while rest > 0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def text_bytes(value: str | bytes) -> bytes:
    """A string: length in bytes, then UTF-8; bytes are written as they are."""
    raw = value if isinstance(value, bytes) else value.encode()
    return long_bytes(len(raw)) + raw


def optional_text_bytes(value: str | bytes | None) -> bytes:
    """The union of null and string."""
    return b"\x00" if value is None else b"\x02" + text_bytes(value)


def log_fields(record: LogRecord) -> dict[str, bytes]:
    """Each field encoded, in schema order."""
    return {
        "timestamp": long_bytes(record["timestamp"]),
        "request_id": text_bytes(record["request_id"]),
        "api_endpoint": text_bytes(record["api_endpoint"]),
        "http_method": text_bytes(record["http_method"]),
        "status_code": long_bytes(record["status_code"]),
        "response_time_ms": long_bytes(record["response_time_ms"]),
        "client_ip": text_bytes(record["client_ip"]),
        "user_agent": optional_text_bytes(record["user_agent"]),
        "payload_size": long_bytes(record["payload_size"]),
        "error_message": optional_text_bytes(record["error_message"]),
    }


def log_bytes(record: LogRecord, overwritten: Mapping[str, bytes] | None = None) -> bytes:
    """The Avro body; ``overwritten`` puts other bytes in the place of some fields."""
    return b"".join((log_fields(record) | dict(overwritten or {})).values())
