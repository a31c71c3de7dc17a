"""The life of a job: take the lease, check where it stands, drain on schedule, retry what may pass, stop cleanly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame
from pyspark.sql.streaming import StreamingQuery
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from pipelines.errors import SdpError
from pipelines.flows.ports import Journal, LeaseHolder, LedgerStore, Steps, TableStore
from pipelines.flows.position import Position
from pipelines.flows.trouble import TROUBLE, may_pass, named
from pipelines.records import Batch, OffsetRange

T = TypeVar("T")

LONGEST_PAUSE_S = 60.0


class Stream(Protocol):
    """The source: starts a drain in the background."""

    def start(
        self,
        checkpoint: str,
        handle: Callable[[DataFrame, int], None],
        starts: Mapping[int, int] | None = None,
        *,
        tolerate_loss: bool = False,
    ) -> StreamingQuery: ...


class StopRequested(Exception):
    """Somebody asked the job to stop: the next batch is not begun, or ``trouble`` is not waited for any longer."""

    def __init__(self, trouble: SdpError | None = None) -> None:
        super().__init__(str(trouble or ""))
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: ``asked`` by somebody or by itself, and the ``trouble`` that it was waiting out just then.

    With trouble, a batch may have been begun and cut off; it is not confirmed, and the next run repeats it.
    """

    asked: bool
    trouble: SdpError | None = None


@dataclass
class Job:
    """One streaming job. ``work`` takes one batch to its sinks and may be repeated at any time.

    ``shown``: shows the job's metrics while it runs; asked with ``once``.
    """

    name: str
    topic: str
    work: Callable[[DataFrame, Batch, Sequence[OffsetRange]], None]
    stream: Stream
    journal: Journal
    ledger: LedgerStore
    tables: TableStore
    position: Position
    lease: LeaseHolder
    on_step: Steps
    on_retry: Callable[[BaseException | None, float], None]
    trigger_s: float
    retry_for_s: float
    shown: Callable[[bool], AbstractContextManager[None]] = lambda _: nullcontext()
    stop: threading.Event = field(default_factory=threading.Event)
    _failure: BaseException | None = field(default=None, init=False)
    _last_error: BaseException | None = field(default=None, init=False)
    _failing_since: float | None = field(default=None, init=False)
    _accepted: Sequence[OffsetRange] = field(default=(), init=False)
    _may_be_replay: bool = field(default=True, init=False)
    _recovering: bool = field(default=False, init=False)

    def run(self, *, once: bool = False, recover: str | None = None, accept_loss: bool = False) -> Ended:
        """Drain now, then every ``trigger_s`` until ``stop`` is set; ``once`` drains a single time.

        ``recover``: ``ledger`` or ``earliest``, see Position.recover. Raises CheckpointLost, AlreadyRunning,
        OffsetsLost, NotConserved, UsageError where ``shown`` can't, and Unavailable once ``retry_for_s`` is over or a
        stop cuts a recovery off.
        """
        self._recovering = recover is not None
        with self.lease.held(self.stop.set), self.shown(once):
            try:
                self._live(once, recover, accept_loss)
            except StopRequested as stopped:
                return Ended(asked=True, trouble=stopped.trouble)
        return Ended(asked=self.stop.is_set())

    def _live(self, once: bool, recover: str | None, accept_loss: bool) -> None:
        self._retrying(self.tables.create_missing)
        starts = self._retrying(lambda: self._begin(recover, accept_loss))
        self._accepted = self._retrying(lambda: self.position.losses(starts, accept=accept_loss))
        while not self.stop.is_set():
            began = time.monotonic()
            self._retrying(lambda: self._drain(starts))
            self._accepted = ()
            if once:
                return
            self.stop.wait(max(0.0, self.trigger_s - (time.monotonic() - began)))

    def _begin(self, recover: str | None, accept_loss: bool) -> dict[int, int] | None:
        return self.position.recover(recover, accept_loss=accept_loss) if recover else self.position.check()

    def _drain(self, starts: Mapping[int, int] | None) -> None:
        """Run one query from the checkpoint to the end of the topic as it is now."""
        self._failure, self._may_be_replay = None, True
        fresh = starts if self.journal.query_id() is None else None
        query = self.stream.start(self.journal.uri, self._handle, fresh, tolerate_loss=bool(self._accepted))
        try:
            query.awaitTermination()
        except StreamingQueryException:
            if isinstance(self._failure, StopRequested):
                return
            if self._failure is None or isinstance(self._failure, Py4JJavaError):  # the source is read within a batch
                self.position.losses(starts, accept=bool(self._accepted))
            if self._failure is not None:
                raise self._failure from None
            raise
        finally:
            query.stop()

    def _handle(self, records: DataFrame, batch_id: int) -> None:
        try:
            self._one_batch(records, batch_id)
        except BaseException as error:
            self._failure = error
            raise

    def _one_batch(self, records: DataFrame, batch_id: int) -> None:
        self._recovering = False  # the new query has offsets of its own, so a plain start goes on from here
        if self.stop.is_set():
            raise StopRequested
        query_id = self.journal.query_id()
        assert query_id is not None, "Spark writes the id before the first batch"
        ranges = tuple(r for r in self.journal.ranges(batch_id, self.topic) if len(r))
        batch = Batch(self.name, query_id, batch_id, ranges)
        self.on_step("started", batch)
        if ranges and not (self._may_be_replay and self.position.is_confirmed(batch)):
            self.work(records, batch, self._accepted)
        self._may_be_replay = False
        self._failing_since = None
        self.on_step("done", batch)

    def _retrying(self, call: Callable[[], T]) -> T:
        """Try again while trouble may pass. Raises StopRequested if somebody asked for a stop meanwhile.

        A recovery that was cut off is the exception: a plain start would refuse, so it ends with its trouble.
        """
        retrying = Retrying(
            retry=retry_if_exception(may_pass),
            stop=self._gives_up,
            wait=wait_exponential_jitter(multiplier=1.0, max=LONGEST_PAUSE_S),
            sleep=self._pause,
            before_sleep=self._note_retry,
            reraise=True,
        )
        try:
            result = retrying(call)
        except TROUBLE as error:
            if not may_pass(error):
                raise
            trouble = named(error, self.journal.uri)
            if self.stop.is_set() and not (self._recovering or self._accepted):
                raise StopRequested(trouble) from error
            if trouble is error:
                raise
            raise trouble from error
        self._failing_since = None
        return result

    def _gives_up(self, _: RetryCallState) -> bool:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        return self.stop.is_set() or now - self._failing_since > self.retry_for_s

    def _note_retry(self, state: RetryCallState) -> None:
        self._last_error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self.on_retry(self._last_error, pause)

    def _pause(self, seconds: float) -> None:
        """Wait for the next try. A stop ends the wait, and there is no next try: it might take minutes to fail."""
        if self.stop.wait(seconds) and self._last_error is not None:
            raise self._last_error
