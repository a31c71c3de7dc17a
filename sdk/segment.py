"""One file of the spool: records one behind the other, each with length, checksum and state.

A record is ``length u32 · crc u32 · state u8 · body``, little-endian. The checksum covers length and body; the state is
one byte that is overwritten in place, so that a record leaves the spool by a single write. A file ends where a record's
length or checksum does not fit: a write that a crash cut short, or damage if intact records follow.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_HEAD = struct.Struct("<IIB")
_LENGTH = struct.Struct("<I")
_BODY = struct.Struct("<QqHiH")
_SIZES = struct.Struct("<Hi")
_STATE_AT = 8
_NONE = -1
_SEED = 0x53445053
"""Start of the checksum, so that a stretch of zeros is no record."""

_MAY_BEGIN = re.compile(rb"(?=(?!\0\0\0\0).{8}[\0-\2])", re.DOTALL)
"""Places where a record may begin: a length, a checksum, a state."""

Headers = tuple[tuple[str, bytes | None], ...]


class State(IntEnum):
    """What became of a record in the spool."""

    WAITING = 0
    ACKNOWLEDGED = 1
    GIVEN_UP = 2


class Item(NamedTuple):
    """A record as it is given to Kafka. ``accepted_ms``: when ``put`` took it, Unix time in milliseconds."""

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int
    headers: Headers
    accepted_ms: int


@dataclass(frozen=True, slots=True)
class Found:
    """One intact record of a file. ``at``: its first byte; ``size``: all its bytes."""

    at: int
    size: int
    state: int
    body: memoryview

    @property
    def end(self) -> int:
        return self.at + self.size


def pack(item: Item) -> bytes:
    """The bytes of a waiting record. Raises struct.error for a topic or header name above 65,535 bytes."""
    topic = item.topic.encode()
    key_length = _NONE if item.key is None else len(item.key)
    parts = [
        _BODY.pack(item.accepted_ms, item.timestamp_ms, len(topic), key_length, len(item.headers)),
        topic,
        item.key or b"",
    ]
    for name, value in item.headers:
        raw = name.encode()
        parts += [_SIZES.pack(len(raw), _NONE if value is None else len(value)), raw, value or b""]
    parts.append(item.value)
    body = b"".join(parts)
    return _HEAD.pack(len(body), _checksum(body), State.WAITING) + body


def unpack(body: memoryview) -> Item:
    """The record of an intact body."""
    accepted_ms, timestamp_ms, topic_length, key_length, header_count = _BODY.unpack_from(body)
    at = _BODY.size
    topic, at = _bytes(body, at, topic_length)
    key, at = _bytes(body, at, key_length)
    headers = []
    for _ in range(header_count):
        name_length, value_length = _SIZES.unpack_from(body, at)
        name, at = _bytes(body, at + _SIZES.size, name_length)
        value, at = _bytes(body, at, value_length)
        headers.append(((name or b"").decode(), value))
    return Item((topic or b"").decode(), key, bytes(body[at:]), timestamp_ms, tuple(headers), accepted_ms)


def accepted_ms(body: memoryview) -> int:
    """When the record of an intact body was accepted."""
    found: int = _BODY.unpack_from(body)[0]
    return found


def scan(data: bytes | memoryview, at: int = 0) -> Iterator[Found]:
    """Intact records from byte ``at`` on, up to the first that is not."""
    view = memoryview(data)
    while at + _HEAD.size <= len(view):
        length, checksum, state = _HEAD.unpack_from(view, at)
        body = view[at + _HEAD.size : at + _HEAD.size + length]
        if length < _BODY.size or len(body) < length or _checksum(body) != checksum:
            return
        found = Found(at, _HEAD.size + length, state, body)
        yield found
        at = found.end


def has_record(data: bytes, at: int) -> bool:
    """Whether an intact record begins anywhere behind byte ``at``."""
    return any(True for place in _MAY_BEGIN.finditer(data, at + 1) for _ in scan(data, place.start()))


class Segment:
    """A file of the spool. ``first``: number of its first record; ``live``: records in it that are not settled."""

    def __init__(self, folder: Path, first: int) -> None:
        self.path = folder / f"{first:020d}.spool"
        self.first = first
        self.count = self.live = self.live_bytes = self.end = 0
        self.is_damaged = False
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)

    @classmethod
    def recover(cls, path: Path, *, is_last: bool) -> Segment:
        """Open a file that an earlier process left. At the end of the last one, what was cut short is removed."""
        segment = cls(path.parent, int(path.stem))
        try:
            segment._take(path.read_bytes(), is_last)
        except OSError:
            segment.close()
            raise
        return segment

    def _take(self, data: bytes, is_last: bool) -> None:
        for found in scan(data):
            self.count += 1
            self.end = found.end
            if found.state == State.WAITING:
                self.live += 1
                self.live_bytes += found.size
        if self.end < len(data):
            self.is_damaged = not is_last or has_record(data, self.end)
            if not self.is_damaged:
                os.ftruncate(self._fd, self.end)

    def append(self, data: bytes) -> int:
        """Write one packed record and return where it is. Raises OSError, and then the file is as it was before."""
        at, view = self.end, memoryview(data)
        try:
            while view:
                view = view[os.pwrite(self._fd, view, at + len(data) - len(view)) :]
        except OSError:
            os.ftruncate(self._fd, at)
            raise
        self.end += len(data)
        self.count += 1
        self.live += 1
        self.live_bytes += len(data)
        return at

    def settle(self, at: int, size: int, state: State) -> None:
        """Take the waiting record at ``at`` out of the spool. Raises OSError; it is out for this process even then."""
        self.live -= 1
        self.live_bytes -= size
        os.pwrite(self._fd, bytes([state]), at + _STATE_AT)

    def lose(self, end: int, count: int, size: int) -> None:
        """So many waiting records, of ``size`` bytes in all, can't be read: nothing behind ``end`` counts any more."""
        self.is_damaged = True
        self.end = end
        self.live -= count
        self.live_bytes -= size

    def read(self, at: int, at_least: int) -> bytes:
        """Bytes from ``at`` on that hold at least one whole record, if there is one."""
        head = os.pread(self._fd, max(at_least, _HEAD.size), at)
        if len(head) >= _HEAD.size:
            needed = _HEAD.size + _LENGTH.unpack_from(head)[0]
            if needed > len(head):
                head += os.pread(self._fd, min(needed, self.end - at) - len(head), at + len(head))
        return head[: self.end - at]

    def sync(self) -> None:
        """Make what was written survive a loss of power."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Delete the file; a damaged one stays under another name for whoever wants to look at it."""
        self.close()
        if self.is_damaged:
            kept = self.path.with_suffix(".damaged")
            if kept.exists():  # numbers begin anew in an empty spool
                kept = self.path.with_suffix(f".{time.time_ns()}.damaged")
            self.path.replace(kept)
        else:
            self.path.unlink()


def _bytes(body: memoryview, at: int, length: int) -> tuple[bytes | None, int]:
    return (None, at) if length == _NONE else (bytes(body[at : at + length]), at + length)


def _checksum(body: bytes | memoryview) -> int:
    return crc32(body, crc32(_LENGTH.pack(len(body)), _SEED))
