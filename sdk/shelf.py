"""Records that wait on disk, and the futures of those whose senders still look."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from weakref import WeakValueDictionary

from pipelines.errors import RecordDropped, RecordUnreadable, SpoolFull, SpoolUnavailable
from pipelines.settings import SpoolSettings
from sdk.pending import Pending
from sdk.segment import State
from sdk.spool import Spool

log = logging.getLogger(__name__)

WARN_EVERY_S = 60.0
"""Between two warnings that copies are given up."""


class Shelf:
    """The spool with its policy.

    ``on_dropped``: told of each record that drop_oldest gives up; ``on_failed``: of each that can't be read any more,
    with the reason's name. Both with its future, if its sender looks. The outbox guards the shelf with its lock.
    """

    def __init__(
        self,
        spool: Spool,
        settings: SpoolSettings,
        on_dropped: Callable[[Pending | None, Exception], None],
        on_failed: Callable[[Pending | None, str, Exception], None],
    ) -> None:
        self.spool, self._settings, self._on_dropped, self._on_failed = spool, settings, on_dropped, on_failed
        self._listened: set[Pending] = set()
        self._futures: WeakValueDictionary[int, Pending] = WeakValueDictionary()
        self._returned: dict[int, str] = {}
        """Number and topic of what the client gave back: lent until ``rewind``, but nobody has it."""
        self._warned_at = float("-inf")
        spool.on_lost = self._lost

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
                is_hopeless = self._settings.when_full != "drop_oldest" or not self.spool.can_ever_hold(item)
                if is_hopeless or not self._drop_oldest():
                    raise

    def copy(self, pending: Pending) -> bool:
        """Make sure that a record which the client has is in the spool too; False, and logged, if it can't be.

        Nothing is dropped for a copy: it may never be needed.
        """
        item = pending.item
        if item is None or (pending.number is not None and self.spool.holds(pending.number)):
            return True
        try:
            pending.number = self.spool.append(item, lent=True)
        except SpoolUnavailable as error:
            pending.number = None
            log.error("what the Kafka client holds is lost with this process, it can't be copied to disk: %s", error)
            return False
        return True

    def keep(self, pending: Pending) -> bool:
        """Make sure that a record which the client gave up is in the spool; False, and logged, if it can't be."""
        if pending.number is not None and self.spool.holds(pending.number):
            return True
        try:
            self.store(pending, lent=not self.spool.unread)
        except SpoolUnavailable as error:
            pending.number = None
            log.error("a record that is not delivered can't be kept on disk: %s", error)
            return False
        return True

    def withdraw(self, pending: Pending) -> None:
        """The record's place in the spool is given up, the record is not."""
        self.settle(pending, State.GIVEN_UP)
        pending.number = None

    def wait(self, pending: Pending) -> None:
        """The record waits on disk only; its future is remembered as long as somebody looks."""
        assert pending.number is not None
        if pending.value is not None and self.spool.holds(pending.number):
            self._returned[pending.number] = pending.topic
        self._futures[pending.number] = pending
        pending.rest(self._listened)
        if pending.is_listened:  # asked afterwards, so that a callback put on it in this moment is not missed
            self._listened.add(pending)

    def lend(self, limit: int) -> Iterator[Pending]:
        """The next records, in memory again."""
        for number, item in self.spool.lend(limit):
            pending = self._futures.pop(number, None) or Pending(*item)
            pending.wake(item, number)
            self._listened.discard(pending)
            yield pending

    def rewind(self) -> None:
        """What the client gave back waits again, in its old order."""
        self._returned.clear()
        self.spool.rewind()

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
        dropped = self._drop_returned() or self.spool.drop_oldest()
        if dropped is None:
            return False
        number, topic = dropped
        if topic is None:  # the client still has it
            self._warn_of_copies()
        else:
            self._on_dropped(self._forget(number), RecordDropped(topic))
        return True

    def _drop_returned(self) -> tuple[int, str] | None:
        """These are older than all that wait in the spool."""
        for number, topic in self._returned.items():
            del self._returned[number]
            self.spool.give_up(number)
            return number, topic
        return None

    def _warn_of_copies(self) -> None:
        now = time.monotonic()
        if now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            text = "spool %s is full: copies of what the Kafka client holds are given up, it is lost with this process"
            log.warning(text, self.spool.folder)

    def _lost(self, count: int) -> None:
        """So many waiting records can't be read any more; all others that waited are lent now."""
        numbers = [number for number in list(self._futures) if not self.spool.holds(number)]
        for pending in [*map(self._forget, numbers), *[None] * (count - len(numbers))]:
            self._on_failed(pending, "unreadable", RecordUnreadable(str(self.spool.folder)))

    def _forget(self, number: int) -> Pending | None:
        pending = self._futures.pop(number, None)
        if pending is not None:
            self._listened.discard(pending)
        return pending
