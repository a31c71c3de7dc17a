"""Just enough of the thrift binary protocol to ask a Hive metastore for its databases."""

from __future__ import annotations

import socket
import struct

_VERSION = 0x80010000
_CALL, _REPLY = 1, 2
_STOP, _LIST = 0, 15


class ThriftError(Exception):
    """The other side doesn't speak thrift, or answered with an exception."""


def get_all_databases(host: str, port: int, timeout_s: float = 5.0) -> list[str]:
    """Names of all databases. Raises OSError if nobody listens, ThriftError for a wrong answer."""
    with socket.create_connection((host, port), timeout=timeout_s) as connection, connection.makefile("rb") as answer:
        method = b"get_all_databases"
        connection.sendall(struct.pack(f">Ii{len(method)}siB", _VERSION | _CALL, len(method), method, 0, _STOP))

        def read(layout: str) -> tuple[int, ...]:
            data = answer.read(struct.calcsize(layout))
            if len(data) < struct.calcsize(layout):
                raise ThriftError("the connection was closed in the middle of an answer")
            return struct.unpack(layout, data)

        def text() -> str:
            (length,) = read(">i")
            return answer.read(length).decode("utf-8", "replace")

        (kind,) = read(">I")
        name, _ = text(), read(">i")
        field, number = *read(">B"), 0
        if field != _STOP:
            (number,) = read(">h")
        if kind != _VERSION | _REPLY or field != _LIST or number != 0:
            raise ThriftError(f"{name or 'the server'} answered with an error")
        _, count = read(">Bi")
        return [text() for _ in range(count)]
