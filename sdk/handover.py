"""From the request to the producer: one bounded queue and one thread, so that no request waits for a producer.

A producer may validate, compress, write to its spool or block, as its policy says; here it does so in a thread of its
own. What it does not take is counted and said in the log once a minute, never raised. What it took is its own affair:
its metrics count what could not be delivered. (To hold on to a future of each record would cost memory for as long as
the cluster is away.)
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

log = logging.getLogger(__name__)

QUEUE_FULL = "queue_full"
"""Reason of a loss: the producer is slower than the requests."""
NOT_BUILT = "not_built"
"""Reason of a loss: what was captured could not be made a record."""
NO_THREAD = "no_thread"
"""Reason of a loss: the queue is full because the process could not start the thread that empties it."""

LOG_EVERY_S = 60.0
EXIT_DRAIN_S = 5.0
"""What a process that ends waits for the records that are still in the queue, in all."""
START_AGAIN_S = 1.0
"""Time between two tries of the records to start a thread that could not be started."""

GATHER_S = 0.01
"""What an idle thread lets gather once a record is there: to wake it for each would cost more than to hand it over."""

Record = Mapping[str, Any]
Build = Callable[[], Record]


class RecordSink(Protocol):
    """What takes records: ``Api6LogProducer``, or whatever stands for it in a test."""

    def send(self, record: Record, /) -> object:
        """Take one record, or raise. What it returns is not looked at: whether a record arrives, the producer knows."""
        ...


class Losses:
    """Counts what was lost, by reason, and says so in the log, at most once every ``every_s`` seconds."""

    def __init__(self, every_s: float = LOG_EVERY_S, now: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._now = every_s, now
        self._counts: Counter[str] = Counter()
        self._unsaid: Counter[str] = Counter()
        self._said_at = -every_s
        self.unlock()

    def unlock(self) -> None:
        """Forget who holds the lock: in the child of a fork nobody does."""
        self._lock = threading.RLock()  # a signal handler may log a request while its own thread counts one

    @property
    def counts(self) -> dict[str, int]:
        """Reason → records, since the start."""
        with self._lock:
            return dict(self._counts)

    def add(self, reason: str, error: BaseException | None = None) -> None:
        """Count one record; ``error`` is shown if it is this record's turn to be logged."""
        with self._lock:
            self._counts[reason] += 1
            self._unsaid[reason] += 1
            if self._now() - self._said_at < self._every_s:
                return
        self.say(error)

    def say(self, error: BaseException | None = None) -> None:
        """Log what has not been logged yet. Raises nothing: requests come here, and handlers of the service may."""
        with self._lock:
            unsaid, self._unsaid, self._said_at = self._unsaid, Counter(), self._now()
        if unsaid:
            reasons = ", ".join(f"{reason} {count}" for reason, count in unsaid.most_common())
            with suppress(Exception):
                log.warning("%d API6 log records were not sent: %s; the last: %s", unsaid.total(), reasons, error)


class Handover:
    """Takes records at once, builds them and gives them to ``sink`` in order, in a thread that the first one starts.

    ``limit``: records that may wait; a record that finds the queue full is lost (``queue_full``). Where no thread can
    be started, records wait for a later one's try. A child of ``fork`` starts empty, with a thread of its own.
    """

    def __init__(self, sink: RecordSink, limit: int, losses: Losses | None = None) -> None:
        self._sink, self._limit = sink, limit
        self.losses = losses or Losses()
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[Build | threading.Event | None]
        self._begin_empty()
        forked = weakref.WeakMethod(self._begin_empty)
        os.register_at_fork(after_in_child=lambda: _call(forked))
        at_exit = weakref.WeakMethod(self._at_exit)
        atexit.register(_call, at_exit)

    @property
    def waiting(self) -> int:
        """Records in the queue."""
        return self._queue.qsize()

    def offer(self, build: Build) -> None:
        """Take what makes a record; never waits, never raises."""
        if self._queue.qsize() >= self._limit:
            self.losses.add(QUEUE_FULL if self._thread else NO_THREAD)
        else:
            self._queue.put(build)
        if self._thread is None and time.monotonic() >= self._start_again_at:  # after ``put``: see ``_run``
            self._start()

    def drain(self, timeout_s: float = 30) -> bool:
        """Wait until the sink was given every record offered before; whether that was so in time."""
        if self._thread is None and self._queue.empty():
            return True
        reached = threading.Event()
        self._queue.put(reached)
        has_thread = self._thread is not None or self._start()
        return has_thread and reached.wait(timeout_s)

    def drain_at_end(self) -> bool:
        """Drain when a log handler is closed or the process ends: once that began, EXIT_DRAIN_S is for all calls."""
        return self.drain(EXIT_DRAIN_S if self._ends_at is None else max(0.0, self._ends_at - time.monotonic()))

    def close(self, timeout_s: float = 30) -> bool:
        """Drain, then end the thread; the sink stays open. A record offered later starts a new thread."""
        is_drained = self.drain(timeout_s)
        if self._thread is not None:
            self._queue.put(None)
        self.losses.say()
        return is_drained

    def is_own_thread(self) -> bool:
        """Whether the caller runs in the thread that feeds the sink."""
        return threading.current_thread() is self._thread

    def _begin_empty(self) -> None:
        self.losses.unlock()
        self._starting = threading.RLock()
        self._queue = SimpleQueue()
        self._thread = None
        self._start_again_at = 0.0
        self._ends_at: float | None = None

    def _start(self) -> bool:
        """Whether there is a thread now."""
        try:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="api6-log-handover", daemon=True)
                    thread.start()
                    self._thread, self._start_again_at = thread, 0.0
        except Exception as error:  # noqa: BLE001 - no thread or no memory is left: no matter of the request
            self._not_started(error)
            return False
        return True

    def _not_started(self, error: Exception) -> None:
        is_first, self._start_again_at = not self._start_again_at, time.monotonic() + START_AGAIN_S
        if is_first:
            with suppress(Exception):  # of the service's log handlers
                log.warning("API6 log records wait, as no thread can be started to send them: %s", error)

    def _run(self) -> None:
        with self._starting:  # until this is known as our own thread
            queue = self._queue
        try:
            self._serve(queue)
        finally:
            self._thread = None  # first: who saw the thread has put its record before, so it is found here
            if not queue.empty():
                self._start()

    def _serve(self, queue: SimpleQueue[Build | threading.Event | None]) -> None:
        while True:
            was_idle = queue.empty()
            item = queue.get()
            if item is None:
                return
            if isinstance(item, threading.Event):
                item.set()
                continue
            if was_idle:
                time.sleep(GATHER_S)
            self._give(item)

    def _give(self, build: Build) -> None:
        try:
            record = build()
        except BaseException as error:  # noqa: BLE001 - whatever is odd about one request, later records go on
            self.losses.add(NOT_BUILT, error)
            return
        try:
            self._sink.send(record)
        except BaseException as error:  # noqa: BLE001 - whatever a producer raises, requests and later records go on
            self.losses.add(type(error).__name__, error)

    def _at_exit(self) -> None:
        self._ends_at, waiting = time.monotonic() + EXIT_DRAIN_S, self.waiting
        if not self.drain_at_end():  # also if none waits: the thread may have the last one in its hand
            left = min(waiting, self.waiting)
            log.warning("the process ends with %d API6 log records that the producer did not take", left)
        self.losses.say()


def _call(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    bound = method()
    if bound is not None:
        bound()
