"""Create a Hive database without starting Spark."""

from __future__ import annotations

import socket
import struct

_STRING, _STRUCT, _STOP = 11, 12, b"\0"


def create_database(uri: str, name: str, location: str) -> None:
    """Call ``create_database`` of the metastore at ``thrift://host:port``; fails on any answer but success."""
    database = _text(1, name) + _text(3, f"file:{location}") + _STOP
    call = struct.pack(">I", 0x80010001) + _bytes(b"create_database") + struct.pack(">i", 0)
    host, port = uri.removeprefix("thrift://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(call + struct.pack(">Bh", _STRUCT, 1) + database + _STOP)
        wanted = struct.pack(">I", 0x80010002) + _bytes(b"create_database") + struct.pack(">i", 0) + _STOP
        answer = connection.makefile("rb").read(len(wanted))
    assert answer == wanted, answer


def _text(field: int, value: str) -> bytes:
    return struct.pack(">Bh", _STRING, field) + _bytes(value.encode())


def _bytes(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value
