from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stack import thrift

CALL = bytes.fromhex("80010001 00000011") + b"get_all_databases" + bytes.fromhex("00000000 00")
REPLY = bytes.fromhex("80010002 00000011") + b"get_all_databases" + bytes.fromhex("00000000")
TWO_NAMES = bytes.fromhex("0f 0000 0b 00000002") + b"\0\0\0\7default" + b"\0\0\0\3sdp" + b"\0"


@contextmanager
def server(answer: bytes, received: list[bytes]) -> Iterator[int]:
    with socket.create_server(("localhost", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(1024))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_databases_are_asked_for_and_read() -> None:
    received: list[bytes] = []
    with server(REPLY + TWO_NAMES, received) as port:
        assert thrift.get_all_databases("localhost", port) == ["default", "sdp"]
    assert received == [CALL]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        REPLY[:10],
        REPLY + b"\0",  # a reply without a result
        REPLY + struct.pack(">Bh", 12, 1),  # the declared exception
        bytes.fromhex("80010003") + REPLY[4:] + struct.pack(">Bh", 11, 1),  # an undeclared one
    ],
    ids=["nothing", "http", "cut", "no result", "exception", "application exception"],
)
def test_a_wrong_answer_is_an_error(answer: bytes) -> None:
    with server(answer, []) as port, pytest.raises(thrift.ThriftError):
        thrift.get_all_databases("localhost", port)


def test_nobody_there() -> None:
    with socket.create_server(("localhost", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        thrift.get_all_databases("localhost", port)
