"""A Kafka cluster and its client in memory, to be told when to be away and what to refuse."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException

OnDelivery = Callable[[KafkaError | None, Any], None]


@dataclass(frozen=True)
class Stored:
    """A record as brokers keep it; what confluent_kafka.Message tells about it."""

    of_topic: str
    content: bytes
    key: bytes | None
    timestamp_ms: int
    headers: tuple[tuple[str, bytes | None], ...]
    number: int = -1

    def topic(self) -> str:
        return self.of_topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number

    def timestamp(self) -> tuple[int, int]:
        return 1, self.timestamp_ms


Entry = tuple[Stored, OnDelivery]


@dataclass
class Cluster:
    """``is_up``: whether clients get answers. ``refuses``: asked for each record, gives the code of an error or None.

    ``max_bytes``: a batch with a larger record is refused as a whole. ``room``: records that a client can hold.
    """

    is_up: bool = True
    refuses: Callable[[Stored], int | None] = lambda stored: None
    max_bytes: int = 10**9
    room: int = 10**9
    log: list[Stored] = field(default_factory=list)
    clients: list[FakeClient] = field(default_factory=list)

    def client(self) -> FakeClient:
        self.clients.append(FakeClient(self))
        return self.clients[-1]

    @property
    def values(self) -> list[bytes]:
        return [stored.content for stored in self.log]


class FakeClient:
    """Keeps records until the cluster is up, as librdkafka does without a message timeout; reports from ``poll``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._queue: deque[Entry] = deque()
        self._reports: deque[tuple[Entry, int | None]] = deque()
        self._lock = threading.Lock()
        self._polling = set[int]()
        self.is_broken = False

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        _partition: int,
        callback: OnDelivery,
        _on_delivery: None,
        timestamp: int,
        headers: Sequence[tuple[str, bytes | None]] | None,
        /,
    ) -> None:
        if self.is_broken:
            raise KafkaException(KafkaError(KafkaError._FATAL))
        if topic == "no topic":
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        if len(self._queue) >= self._cluster.room:
            raise BufferError
        stored = Stored(topic, value, key, timestamp, tuple(headers or ()))
        with self._lock:
            self._queue.append((stored, callback))

    def poll(self, timeout: float) -> int:
        """The real one aborts the process when it is called from within a report."""
        assert threading.get_ident() not in self._polling, "polled within a report"
        self._polling.add(threading.get_ident())
        try:
            return self._poll(timeout)
        finally:
            self._polling.discard(threading.get_ident())

    def _poll(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                self._send()
                reports, self._reports = self._reports, deque()
            for (stored, report), code in reports:
                report(None if code is None else KafkaError(code), stored)
            if reports or time.monotonic() >= deadline:
                return len(reports)
            time.sleep(0.001)

    def purge(self) -> None:
        with self._lock:
            self._give_back(KafkaError._PURGE_QUEUE)

    def break_down(self) -> None:
        """From now on the client is of no use: a fatal error."""
        with self._lock:
            self.is_broken = True
            self._give_back(KafkaError._FATAL)

    def _give_back(self, code: int) -> None:
        self._reports.extend((entry, code) for entry in self._queue)
        self._queue.clear()

    def _send(self) -> None:
        """Everything in the queue is one batch."""
        if not self._cluster.is_up:
            return
        batch, self._queue = self._queue, deque()
        is_too_large = any(len(stored.content) > self._cluster.max_bytes for stored, _ in batch)
        for stored, report in batch:
            code = KafkaError.MSG_SIZE_TOO_LARGE if is_too_large else self._cluster.refuses(stored)
            if code is None:
                stored = replace(stored, number=len(self._cluster.log))
                self._cluster.log.append(stored)
            self._reports.append(((stored, report), code))
