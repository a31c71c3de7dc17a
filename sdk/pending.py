"""A record on its way: what is sent, and for its sender the future of its delivery."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures._base import FINISHED, PENDING
from threading import Condition, Lock
from typing import Any

from confluent_kafka import KafkaError, Message

from sdk.delivery import Delivered
from sdk.segment import Headers, Item

_first_look = Lock()

Reported = Callable[["Pending", KafkaError | None, Message], None]


class Pending(Future[Delivered]):
    """Resolves when the record is acknowledged. It can't be cancelled: what was accepted is delivered.

    ``value`` and ``key`` are None while the record is not in memory; ``number``: its place in the spool, if it has one;
    ``is_alone``: whether it is alone in its batch. A record that waits on disk costs memory only while its sender holds
    the future or has put a callback on it.

    A busy producer has thousands of these, and the garbage collector walks them all: so one object is record, future
    and what the Kafka client calls back, what is rarely set stands in the class, and the condition that every future
    has, a dozen objects, is made when somebody first looks at this one.
    """

    _lazy: Condition | None = None
    _state = PENDING
    _place: tuple[int, int, int] | None = None
    _exception: BaseException | None = None
    number: int | None = None
    is_alone = False
    is_listened = False
    _resting: set[Pending] | None = None
    reported: Reported | None = None

    def __init__(
        self, topic: str, key: bytes | None, value: bytes, timestamp_ms: int, headers: Headers, accepted_ms: int
    ) -> None:
        self.topic = topic
        self.key = key
        self.value: bytes | None = value
        self.timestamp_ms = timestamp_ms
        self.headers = headers
        self.accepted_ms = accepted_ms

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        """The Kafka client's last word on the record."""
        assert self.reported is not None
        self.reported(self, error, message)

    @property
    def item(self) -> Item | None:
        """The record while it is in memory; it may be acknowledged, and leave it, in this moment."""
        key, value = self.key, self.value  # in this order: the value is the first to go
        if value is None:
            return None
        return Item(self.topic, key, value, self.timestamp_ms, self.headers, self.accepted_ms)

    @property
    def _result(self) -> Delivered | None:  # type: ignore[override]
        return None if self._place is None else Delivered(self.topic, *self._place)

    @property
    def _condition(self) -> Condition:  # type: ignore[override]
        with _first_look:
            if self._lazy is None:
                self._waiters: list[Any] = []
                self._done_callbacks: list[Callable[[Future[Delivered]], Any]] = []
                self._lazy = Condition()
                if self._place is not None:
                    self._state = FINISHED
            return self._lazy

    def acknowledge(self, partition: int, offset: int, timestamp_ms: int) -> None:
        """Resolve; the Delivered is made when somebody asks for it. Once only, and never after an error.

        Needs no lock where nobody looks: here the place is set, then the condition looked for; who looks makes the
        condition, then looks for the place. One of the two sees the other.
        """
        self._place = partition, offset, timestamp_ms
        self.value = self.key = self.reported = None
        if self._lazy is not None:
            self._finish(self._lazy)

    def _finish(self, condition: Condition) -> None:
        with condition:
            if self._state == FINISHED:  # whoever looked has seen the place
                return
            self._state = FINISHED
            for waiter in self._waiters:
                waiter.add_result(self)
            condition.notify_all()
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
        self.value = self.key = self.reported = None
        self._resting = listened

    def wake(self, item: Item, number: int) -> None:
        """The record is in memory again."""
        self.topic, self.key, self.value, self.timestamp_ms, self.headers, self.accepted_ms = item
        self.number, self._resting = number, None
        self.is_alone = False


def _after_fork() -> None:
    """In the child: a thread that is not here may have held the lock."""
    global _first_look
    _first_look = Lock()


os.register_at_fork(after_in_child=_after_fork)
