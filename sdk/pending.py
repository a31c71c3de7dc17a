"""A record on its way, seen from its sender: the future of its delivery."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures._base import FINISHED, PENDING
from threading import Condition, Lock
from typing import Any

from sdk.delivery import Delivered
from sdk.segment import Item

_first_look = Lock()


class Pending(Future[Delivered]):
    """Resolves when the record is acknowledged. It can't be cancelled: what was accepted is delivered.

    ``item``: the record while it is in memory; ``number``: its place in the spool, if it has one; ``is_alone``: whether
    it is alone in its batch. A record that waits on disk costs memory only while its sender holds the future or has put
    a callback on it.

    The condition that every future has is made when somebody first looks at this one: it is a dozen objects, and most
    futures of a busy producer are never looked at before they are done. (Making it at once costs more than all the
    rest of ``put``, most of it in the garbage collector.)
    """

    _lazy: Condition | None = None
    _state = PENDING
    _place: tuple[str, int, int, int] | None = None
    _exception: BaseException | None = None
    number: int | None = None
    is_alone = False
    is_listened = False
    _resting: set[Pending] | None = None

    def __init__(self, item: Item) -> None:
        self.item: Item | None = item

    @property
    def _result(self) -> Delivered | None:  # type: ignore[override]
        return None if self._place is None else Delivered(*self._place)

    @property
    def _condition(self) -> Condition:  # type: ignore[override]
        with _first_look:
            if self._lazy is None:
                self._waiters: list[Any] = []
                self._done_callbacks: list[Callable[[Future[Delivered]], Any]] = []
                self._lazy = Condition()
            return self._lazy

    def acknowledge(self, topic: str, partition: int, offset: int, timestamp_ms: int) -> None:
        """Resolve; the Delivered is made when somebody asks for it. Once only, and never after an error."""
        self._place = topic, partition, offset, timestamp_ms
        self.item = None
        with _first_look:
            if self._lazy is None:
                self._state = FINISHED
                return
        with self._condition:
            self._state = FINISHED
            for waiter in self._waiters:
                waiter.add_result(self)
            self._condition.notify_all()
        self._invoke_callbacks()  # type: ignore[attr-defined]

    def cancel(self) -> bool:
        return False

    def add_done_callback(self, fn: Callable[[Future[Delivered]], Any]) -> None:
        self.is_listened = True
        resting = self._resting
        if resting is not None:
            resting.add(self)
            if self._resting is None:  # sent on in this moment
                resting.discard(self)
        super().add_done_callback(fn)

    def rest(self, listened: set[Pending]) -> None:
        """The record is on disk only. ``listened`` holds those that must not be forgotten."""
        self.item = None
        self._resting = listened

    def wake(self, item: Item, number: int) -> None:
        """The record is in memory again."""
        self.item, self.number, self._resting = item, number, None
        self.is_alone = False


def _after_fork() -> None:
    """In the child: a thread that is not here may have held the lock."""
    global _first_look
    _first_look = Lock()


os.register_at_fork(after_in_child=_after_fork)
