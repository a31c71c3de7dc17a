"""A first-in, first-out store of records on disk that survives its process.

Records are numbered in the order they were appended. Each waits, is *lent* to whoever sends it, and is settled once: it
leaves the spool when Kafka has acknowledged it or when it is given up. What was lent but not settled waits again after
``rewind``, in its old order, or when the folder is opened anew.

Not thread-safe, except ``sync``: the outbox guards it with its own lock.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import SpoolFull, SpoolInUse, SpoolUnavailable
from pipelines.settings import SpoolSettings
from sdk.segment import Found, Item, Segment, State, accepted_ms, pack, scan, unpack

log = logging.getLogger(__name__)

READ_BYTES = 1 << 20
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_START: tuple[Segment | None, int, int] = (None, 0, 0)
_NAME = re.compile(r"\d{20}\.spool")


class _Lent(NamedTuple):
    segment: Segment
    at: int
    size: int
    accepted_ms: int


class Spool:
    """The spool in one folder; raises SpoolInUse when another process holds it.

    ``records``, ``bytes``: what is not settled, lent records included. ``on_lost``: told how many records that waited
    can't be read any more, and no longer count. Every method raises SpoolUnavailable when the disk does not work.
    """

    def __init__(self, folder: Path, settings: SpoolSettings) -> None:
        self.folder, self._settings = folder, settings
        self.on_lost: Callable[[int], None] = lambda _: None
        self._lent: dict[int, _Lent] = {}
        self._unmarked: set[int] = set()
        self._segments: deque[Segment] = deque()
        self._sync_lock = threading.Lock()
        self._synced = 0
        with self._disk():
            folder.mkdir(parents=True, exist_ok=True)
            self._lock_fd = _claim(folder)
            try:
                self._segments.extend(_recovered(folder))
            except BaseException:
                self.abandon()
                raise
        self.records = sum(s.live for s in self._segments)
        self.bytes = sum(s.live_bytes for s in self._segments)
        self._next = self._segments[-1].first + self._segments[-1].count if self._segments else 0
        self._cursor = _START
        self._writes_to: Segment | None = None
        self._clear()

    @property
    def unread(self) -> int:
        """Records that wait for ``lend``."""
        return self.records - len(self._lent)

    def oldest_ms(self) -> int | None:
        """When the oldest record that is not settled was accepted, Unix time in milliseconds."""
        for lent in self._lent.values():
            return lent.accepted_ms
        with self._disk():
            for _, _, found in self._ahead(1):
                return accepted_ms(found.body)
        return None

    def append(self, item: Item, *, lent: bool = False) -> int:
        """Add a record and return its number.

        ``lent``: somebody sends it already; only when nothing is unread. Raises SpoolFull when it is beyond the limits
        or when the disk is full; nothing of it is kept then.
        """
        data = pack(item)
        if len(data) > self._settings.max_bytes:
            raise SpoolFull(str(self.folder), f"a record of {len(data)} bytes is larger than all of it may be")
        if self.records >= self._settings.max_records or self.bytes + len(data) > self._settings.max_bytes:
            raise SpoolFull(str(self.folder), f"at its limits: {self.records} records, {self.bytes} bytes wait")
        assert not (lent and self.unread), "a record that is lent would overtake those that wait"
        with self._disk():
            segment = self._writable(len(data))
            at = segment.append(data)
        number = self._next
        self._next += 1
        self.records += 1
        self.bytes += len(data)
        if lent:
            self._lent[number] = _Lent(segment, at, len(data), item.accepted_ms)
            self._cursor = (segment, segment.end, self._next)
        return number

    def sync(self, number: int | None = None) -> None:
        """Make records up to ``number``, or all, survive a loss of power. Callers that wait share one write."""
        with self._sync_lock, self._disk():
            segment, until = self._writes_to, self._next
            if segment is not None and (self._synced < until if number is None else self._synced <= number):
                segment.sync()
                self._synced = until

    def can_ever_hold(self, item: Item) -> bool:
        """Whether the record would fit if nothing else were here."""
        return len(pack(item)) <= self._settings.max_bytes

    def lend(self, limit: int) -> list[tuple[int, Item]]:
        """The next records, at most ``limit``, with their numbers; of a failing disk those that it still gave."""
        out = []
        try:
            with self._disk():
                for segment, number, found in self._ahead(limit):
                    self._lent[number] = _Lent(segment, found.at, found.size, accepted_ms(found.body))
                    self._cursor = (segment, found.end, number + 1)
                    out.append((number, unpack(found.body)))
        except SpoolUnavailable:
            if not out:  # else the next call meets the error
                raise
            return out
        if len(out) < limit and self.unread > 0:
            self._lose_unreadable()
        self._clear()
        return out

    def settle(self, number: int, state: State = State.ACKNOWLEDGED) -> None:
        """A lent record leaves the spool. A number that is not lent is ignored."""
        lent = self._lent.pop(number, None)
        if lent is None:
            return
        self.records -= 1
        self.bytes -= lent.size
        try:
            lent.segment.settle(lent.at, lent.size, state)
        except OSError as error:
            self._unmarked.add(number)
            log.warning("spool %s: record %d may be sent again after a restart: %s", self.folder, number, error)
        if lent.segment.live == 0:
            self._clear()

    def rewind(self) -> None:
        """What is lent and not settled waits again."""
        self._lent.clear()
        self._cursor = _START

    def holds(self, number: int) -> bool:
        """Whether a record that was lent is still in the spool."""
        return number in self._lent

    def unlend(self, number: int) -> None:
        """A lent record and those lent after it wait again, as if they had not been lent."""
        back = self._lent[number]
        self._cursor = (back.segment, back.at, number)
        self._lent = {n: lent for n, lent in self._lent.items() if n < number}

    def drop_oldest(self) -> tuple[int, str | None] | None:
        """Give up the oldest record that waits; returns its number and topic, None when there is none.

        When all are lent, the oldest of them leaves the spool and stays with its borrower; its topic is not told then.
        """
        for number, item in self.lend(1):
            self.give_up(number)
            return number, item.topic
        for number in self._lent:
            self.give_up(number)
            return number, None
        return None

    def give_up(self, number: int) -> None:
        """A lent record leaves the spool to make room."""
        self.settle(number, State.GIVEN_UP)
        if self._writes_to is not None and self._writes_to.live == 0:  # its bytes may be what the disk lacks
            with self._sync_lock:  # somebody may be making it survive a loss of power
                self._writes_to = None
                self._clear()

    def close(self) -> None:
        """Release the folder, whatever the disk says; records stay. Files without any are removed."""
        try:
            if self._settings.fsync != "never":
                self.sync()
        finally:
            with self._sync_lock:
                self.rewind()
                self._writes_to = None
                self._clear()
                self.abandon()

    def abandon(self) -> None:
        """Close the files and nothing else: what a forked child does with the parent's spool."""
        for segment in self._segments:
            segment.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _ahead(self, limit: int) -> Iterator[tuple[Segment, int, Found]]:
        """Waiting records from the cursor on; changes nothing."""
        start, at, number = self._cursor
        for segment in list(self._segments):
            if start is not None and segment.first < start.first:
                continue
            if segment is not start:
                at, number = 0, segment.first
            while at < segment.end and limit > 0:
                data = segment.read(at, READ_BYTES)
                base, before = at, number
                for found in scan(data):
                    if found.state == State.WAITING and number not in self._unmarked:
                        yield segment, number, Found(base + found.at, found.size, found.state, found.body)
                        limit -= 1
                    at, number = base + found.end, number + 1
                    if limit <= 0:
                        return
                if number == before:  # can't be read any more: a disk that forgets
                    break

    def _lose_unreadable(self) -> None:
        """All that can be read is lent: what else waits leaves the spool, and its file is kept aside."""
        lost = self.unread
        for segment in self._segments:
            lent = [each for each in self._lent.values() if each.segment is segment]
            count = segment.live - len(lent)
            if count > 0:
                size = segment.live_bytes - sum(each.size for each in lent)
                segment.lose(max((each.at + each.size for each in lent), default=0), count, size)
                self.records -= count
                self.bytes -= size
                text = "spool %s: %s is damaged behind byte %d: %d records that waited there are lost"
                log.error(text, self.folder, segment.path.name, segment.end, count)
        self.on_lost(lost - self.unread)

    def _writable(self, size: int) -> Segment:
        current = self._writes_to
        is_full = current is not None and current.count and current.end + size > self._settings.segment_bytes
        if current is None or is_full or current.is_damaged:
            with self._sync_lock:
                if current is not None and self._settings.fsync != "never":
                    current.sync()
                    self._synced = self._next
                segment = Segment(self.folder, self._next)
                self._sync_folder()
                self._segments.append(segment)
                self._writes_to = segment
                self._clear()
            return segment
        return current

    def _sync_folder(self) -> None:
        if self._settings.fsync != "never":
            fd = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _clear(self) -> None:
        """Remove files in which nothing waits."""
        for segment in [s for s in self._segments if s.live == 0 and s is not self._writes_to]:
            self._segments.remove(segment)
            try:
                segment.remove()
            except OSError as error:
                log.warning("spool %s: can't remove %s: %s", self.folder, segment.path.name, error)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = SpoolFull if error.errno in _NO_ROOM else SpoolUnavailable
            raise kind(str(self.folder), error.strerror or str(error)) from error


def _claim(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()}".encode(), 0)
    except BlockingIOError:
        holder = os.read(fd, 100).decode(errors="replace") or "another process"
        os.close(fd)
        raise SpoolInUse(str(folder), holder) from None
    except OSError:
        os.close(fd)
        raise
    return fd


def _recovered(folder: Path) -> Iterator[Segment]:
    paths = sorted(p for p in folder.iterdir() if _NAME.fullmatch(p.name))
    for path in paths:
        size = path.stat().st_size
        segment = Segment.recover(path, is_last=path is paths[-1])
        left_over = size - segment.end
        if segment.is_damaged:
            text = "spool %s: %s is damaged behind byte %d: the %d bytes there are not sent, it is kept as *.damaged"
            log.error(text, folder, path.name, segment.end, left_over)
        elif left_over:
            log.warning("spool %s: %s ended within a record, %d bytes are cut off", folder, path.name, left_over)
        yield segment
