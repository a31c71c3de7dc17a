"""Records that wait on disk, and the futures of those whose senders still look."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from weakref import WeakValueDictionary

from pipelines.errors import RecordDropped, SpoolFull, SpoolUnavailable
from pipelines.settings import SpoolSettings
from sdk.pending import Pending
from sdk.segment import State
from sdk.spool import Spool

log = logging.getLogger(__name__)


class Shelf:
    """The spool with its policy. ``on_dropped``: told of each record that drop_oldest gives up, if its sender looks.

    The outbox guards it with its lock.
    """

    def __init__(
        self, spool: Spool, settings: SpoolSettings, on_dropped: Callable[[Pending | None, Exception], None]
    ) -> None:
        self.spool, self._settings, self._on_dropped = spool, settings, on_dropped
        self._listened: set[Pending] = set()
        self._futures: WeakValueDictionary[int, Pending] = WeakValueDictionary()

    def store(self, pending: Pending, *, lent: bool = False) -> None:
        """Append a record; under drop_oldest older ones make room. Raises SpoolFull, SpoolUnavailable."""
        item = pending.item
        if item is None:
            return  # acknowledged in this moment
        while True:
            try:
                pending.number = self.spool.append(item, lent=lent)
                return
            except SpoolFull:
                if self._settings.when_full != "drop_oldest" or not self._drop_oldest():
                    raise

    def keep(self, pending: Pending) -> bool:
        """Make sure that a record which the client has, or had, is in the spool; False, and logged, if it can't be."""
        if pending.number is not None and self.spool.holds(pending.number):
            return True
        try:
            self.store(pending, lent=not self.spool.unread)
        except SpoolUnavailable as error:
            pending.number = None
            log.error("a record that is not delivered can't be kept on disk: %s", error)
            return False
        return True

    def wait(self, pending: Pending) -> None:
        """The record waits on disk only; its future is remembered as long as somebody looks."""
        assert pending.number is not None
        self._futures[pending.number] = pending
        pending.rest(self._listened)
        if pending.is_listened:  # asked afterwards, so that a callback put on it in this moment is not missed
            self._listened.add(pending)

    def lend(self, limit: int) -> Iterator[Pending]:
        """The next records, in memory again."""
        for number, item in self.spool.lend(limit):
            pending = self._futures.pop(number, None) or Pending(item)
            pending.wake(item, number)
            self._listened.discard(pending)
            yield pending

    def settle(self, pending: Pending, state: State = State.ACKNOWLEDGED) -> None:
        """The record leaves the spool, if it is there."""
        if pending.number is not None:
            self.spool.settle(pending.number, state)

    def leave(self) -> list[Pending]:
        """Futures of all records that wait; they are forgotten."""
        found = list(self._futures.values())
        self._futures.clear()
        self._listened.clear()
        return found

    def _drop_oldest(self) -> bool:
        dropped = self.spool.drop_oldest()
        if dropped is None:
            return False
        number, topic = dropped
        if topic is not None:  # else the client still has it: only the copy is given up
            pending = self._futures.pop(number, None)
            if pending is not None:
                self._listened.discard(pending)
            self._on_dropped(pending, RecordDropped(topic))
        return True
