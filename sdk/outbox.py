"""The engine under every producer of ours: records go in, and reach Kafka whatever happens to the network.

What holds:

* **Nothing accepted is lost** while the process lives and the spool has room; what happens when it has none is the
  caller's choice (``spool.when_full``), and never silent. What is in the spool outlives the process: every record with
  ``spool.write_ahead``; else what was put while the breaker is open, and, from the moment it opens or ``close`` gives
  up, what the Kafka client held.
* **Doubles**: none as long as the process lives and the client keeps its records (``message.timeout.ms`` 0, profile
  ``reliable``): brokers drop what librdkafka sends again. A record that was under way when the process ended, when the
  client failed for good, or when a smaller ``message.timeout.ms`` ran out, may be sent twice; the stream drops the
  second one by its ``request_id``.
* **Order**: records of one key keep the order of ``put``, also through the spool. Exceptions: a record that the client
  gave up is sent again after others that it had taken later, and a batch that is refused as too large is sent by parts.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, cast

from confluent_kafka import KafkaException, Producer

from pipelines.errors import ForkedProducer, InvalidSetting, ProducerClosed, SpoolFull, SpoolUnavailable
from pipelines.settings import Settings
from sdk.breaker import BreakerState
from sdk.carrier import Client
from sdk.delivery import Delivered
from sdk.dispatch import Dispatch, Way
from sdk.meter import Meter
from sdk.pending import Pending
from sdk.profiles import BATCH_SIZE, Option, client_options
from sdk.spool import Spool

log = logging.getLogger(__name__)

TICK_S = 0.05
"""How long the courier waits for reports before it looks after everything else."""

POLL_EVERY = 200
"""Records after which a sender takes the reports itself: a busy one would hardly let the courier have its turn."""

BUSY_S = 0.01
"""How long the courier leaves the reports to senders after one of them took some."""

AT_EXIT_S = 10.0
_PURGE_S = 5.0

_all: weakref.WeakSet[KafkaOutbox] = weakref.WeakSet()


class KafkaOutbox:
    """An Outbox on confluent-kafka. Safe to use from many threads; for asyncio there is ``put_async``.

    ``name``: folder of its spool, and label of its metrics. ``own``: client options that ``settings.producer.options``
    may still change. One process at a time holds a spool: raises SpoolInUse. A forked child can't use its parent's
    outbox (ForkedProducer): make one after the fork.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        own: Mapping[str, Option] | None = None,
        connect: Callable[[], Client] | None = None,
    ) -> None:
        options = client_options(settings.kafka, settings.producer, own or {})
        self.name, self.meter = name, Meter()
        self._spooling = settings.producer.spool
        self._syncs_each = self._spooling.fsync == "record"
        self.spool = Spool(settings.spool_path / name, self._spooling)
        self.meter.recovered = self.spool.records
        batch_size = int(options.get("batch.size", BATCH_SIZE))
        connect = connect or partial(_client, options)
        try:
            self.dispatch = Dispatch(
                settings.kafka.bootstrap, settings.producer, self.spool, self.meter, connect, batch_size
            )
        except BaseException:
            self.spool.abandon()
            raise
        self._refusal: type[ProducerClosed | ForkedProducer] | None = None
        self._syncer = ThreadPoolExecutor(1, f"sync {name}")  # one is enough: those that wait share a write
        self._stop = threading.Event()
        self._synced_at = time.monotonic()
        self._is_busy = False
        self._courier = threading.Thread(target=self._run, name=f"outbox {name}", daemon=True)
        self._courier.start()
        _all.add(self)
        atexit.register(self._at_exit)

    def __repr__(self) -> str:
        return f"KafkaOutbox({self.name!r}, way={self.dispatch.way.name.lower()}, spooled={self.spool.records})"

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more records."""
        return self._refusal is not None

    @property
    def is_forked(self) -> bool:
        """Whether it belongs to the parent of this process."""
        return self._refusal is ForkedProducer

    def put(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        *,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Future[Delivered]:
        """Accept a record; see Outbox.put.

        Raises SpoolFull when there is no room and the policy is ``raise``, or ``block`` and its time is over;
        SpoolUnavailable when the disk does not work; ProducerClosed; ForkedProducer. ``timestamp_ms``: default now.
        Callbacks on the future may run in this thread or another; they may put records, but must not wait for futures.
        """
        pending = _pending(topic, key, value, timestamp_ms, headers)
        if not self._accept(pending, may_wait=True):
            self._wait_for_room(pending)
        self._accepted(pending)
        return pending

    async def put_async(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        *,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Delivered:
        """The same for asyncio, until the record is acknowledged; stops neither the event loop nor its executor."""
        pending = _pending(topic, key, value, timestamp_ms, headers)
        if not self._accept(pending, may_wait=True):
            await self._room_comes(pending)
        if self._syncs_each and pending.number is not None:
            await asyncio.get_running_loop().run_in_executor(self._syncer, self._accepted, pending)
        else:
            self._accepted(pending)
        return await asyncio.wrap_future(pending)

    def close(self, timeout_s: float = 30) -> None:
        """Deliver what was accepted, for at most ``timeout_s`` seconds; keep the rest in the spool.

        The futures of what is kept fail with StillSpooled. A second call does nothing. Raises SpoolUnavailable, after
        all of that, if what was kept may not survive a loss of power.
        """
        if self._refusal is not None:  # in a forked child the lock may be held for ever
            return
        with self.dispatch.lock:
            if self._refusal is not None:
                return
            self._refusal = ProducerClosed
        atexit.unregister(self._at_exit)
        deadline = time.monotonic() + timeout_s
        while not self._is_drained() and time.monotonic() < deadline:
            self.dispatch.carrier.poll(TICK_S)
        self._stop.set()
        self._courier.join()
        try:
            self._take_back()
            with self.dispatch.lock:
                self.dispatch.leave()
                self.spool.close()
        finally:
            self.dispatch.resolve()
            _all.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_drained(self) -> bool:
        with self.dispatch.lock:
            return self.dispatch.is_drained

    def _accept(self, pending: Pending, *, may_wait: bool) -> bool:
        """Whether the record was taken; False when there is no room and it may wait for some."""
        if self._refusal is not None:
            raise self._refusal
        try:
            with self.dispatch.lock:
                if self._refusal is not None:
                    raise self._refusal
                return self.dispatch.accept(pending)
        except SpoolFull:
            if not may_wait or self._spooling.when_full != "block":
                raise
            return False

    def _wait_for_room(self, pending: Pending) -> None:
        deadline = time.monotonic() + self._spooling.block_timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            self.dispatch.carrier.poll(min(left_s, TICK_S))
            if self._accept(pending, may_wait=True):
                return
        self._accept_at_last(pending)

    async def _room_comes(self, pending: Pending) -> None:
        """The same on the event loop; the courier takes the reports that make room."""
        deadline = time.monotonic() + self._spooling.block_timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, TICK_S))
            if self._accept(pending, may_wait=True):
                return
        self._accept_at_last(pending)

    def _accept_at_last(self, pending: Pending) -> None:
        if not self._accept(pending, may_wait=False):
            raise SpoolFull(str(self.spool.folder), "Kafka takes too little, the client has no room for a record")

    def _accepted(self, pending: Pending) -> None:
        if self._syncs_each and pending.number is not None:
            self.spool.sync(pending.number)
        if self.meter.sent % POLL_EVERY == 0:
            self._is_busy = True
            self.dispatch.carrier.catch_up()
        if self.dispatch.unresolved:
            self.dispatch.resolve()

    def _run(self) -> None:
        """The courier: takes reports, watches the cluster, sends what waits."""
        while not self._stop.is_set():
            is_spooling = self.dispatch.way is Way.SPOOLING
            is_feeding = is_spooling and self.dispatch.breaker.state is BreakerState.CLOSED
            is_busy, self._is_busy = self._is_busy, False
            try:
                if is_busy and not is_spooling:
                    self._stop.wait(BUSY_S)
                else:
                    self.dispatch.carrier.poll(TICK_S / 10 if is_feeding else TICK_S)
                self._tick(time.monotonic())
            except SpoolUnavailable as error:
                log.error("%s: %s", self.name, error)
                self._stop.wait(1)

    def _tick(self, now: float) -> None:
        try:
            with self.dispatch.lock:
                self.dispatch.step(now)
            if self._spooling.fsync == "interval" and now - self._synced_at >= self._spooling.fsync_interval_ms / 1000:
                self._synced_at = now
                self.spool.sync()
        finally:
            self.dispatch.resolve()

    def _take_back(self) -> None:
        """Get back from the client what it could not deliver."""
        deadline = time.monotonic() + _PURGE_S
        if len(self.dispatch.carrier):
            with self.dispatch.lock:
                self.dispatch.divert()
            self.dispatch.carrier.purge()
        while len(self.dispatch.carrier) and time.monotonic() < deadline:
            self.dispatch.carrier.poll(TICK_S)

    def _at_exit(self) -> None:
        """A service that ends without ``close``: send the rest, unless Kafka is away."""
        self.close(AT_EXIT_S if self.dispatch.breaker.state is BreakerState.CLOSED else 0)

    def _forked(self) -> None:
        """In the child: the lock may be held by a thread that is not here, so nothing that needs it is called."""
        self._refusal = ForkedProducer
        self.spool.abandon()
        self.dispatch.carrier.leak()
        atexit.unregister(self._at_exit)


def _client(options: Mapping[str, Option]) -> Client:
    try:
        return cast(Client, Producer(dict(options)))
    except KafkaException as error:
        raise InvalidSetting(f"producer.options: {error.args[0].str()}") from None


def _pending(
    topic: str, key: bytes | None, value: bytes, timestamp_ms: int | None, headers: Sequence[tuple[str, bytes]]
) -> Pending:
    now_ms = time.time_ns() // 1_000_000
    return Pending(topic, key, value, now_ms if timestamp_ms is None else timestamp_ms, tuple(headers), now_ms)


def _after_fork() -> None:
    for outbox in list(_all):
        outbox._forked()


os.register_at_fork(after_in_child=_after_fork)
