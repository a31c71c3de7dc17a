"""The ports of the flows in memory. What they do, they write into one diary, so that a test can state an order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame
from pyspark.sql.streaming import StreamingQuery

from pipelines.errors import AlreadyRunning
from pipelines.records import Batch, LedgerEntry, OffsetRange

TOPIC = "logs"
NO_FRAME = cast(DataFrame, None)


def span(partition: int, start: int, until: int, topic: str = TOPIC) -> OffsetRange:
    return OffsetRange(topic, partition, start, until)


@dataclass
class FakeJournal:
    """A checkpoint. ``batches``: ranges by batch id; ``committed``: how many of them Spark counts as done."""

    uri: str = "/checkpoints/ingest"
    id: str | None = None
    batches: list[list[OffsetRange]] = field(default_factory=list)
    committed: int = 0
    initial: dict[int, int] = field(default_factory=dict)
    diary: list[str] = field(default_factory=list)

    def query_id(self) -> str | None:
        return self.id

    def topics(self) -> set[str]:
        return {r.topic for batch in self.batches[-1:] for r in batch}

    def next_offsets(self, topic: str) -> dict[int, int]:
        return self._ends(self.batches[: self.committed])

    def planned_offsets(self, topic: str) -> dict[int, int]:
        return self._ends(self.batches) if TOPIC in self.topics() else {}

    def ranges(self, batch_id: int, topic: str) -> list[OffsetRange]:
        return self.batches[batch_id]

    def set_aside(self, label: str) -> str:
        self.diary.append("checkpoint set aside")
        self.id, self.batches, self.committed, self.initial = None, [], 0, {}
        return f"{self.uri}.{label}"

    def _ends(self, batches: Sequence[Sequence[OffsetRange]]) -> dict[int, int]:
        return self.initial | {r.partition: r.until_offset for batch in batches for r in batch if r.topic == TOPIC}


@dataclass
class FakeLedger:
    """``confirmed``: partition → offset; ``known``: ranges by (query id, batch id)."""

    confirmed: dict[int, int] = field(default_factory=dict)
    known: dict[tuple[str, int], list[OffsetRange]] = field(default_factory=dict)
    batches: list[OffsetRange] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    diary: list[str] = field(default_factory=list)

    def append(self, batch: Batch, entries: Sequence[LedgerEntry]) -> None:
        self.known[batch.query_id, batch.batch_id] = sorted(e.range for e in entries)
        self.diary.append("ledger")

    def ranges(self, query_id: str, batch_id: int) -> list[OffsetRange]:
        self.asked.append(batch_id)
        return self.known.get((query_id, batch_id), [])

    def positions(self, query: str, topic: str) -> dict[int, int]:
        return dict(self.confirmed)

    def starts_from(self, query: str, topic: str, earliest: dict[int, int]) -> dict[int, int]:
        whole = [r for r in self.batches if r.from_offset >= earliest.get(r.partition, 0)]
        return {r.partition: r.from_offset for r in sorted(whole, reverse=True)}

    def delete_from(self, query: str, topic: str, starts: dict[int, int]) -> None:
        self.confirmed = {}
        self.diary.append(f"ledger of {query} deleted from {starts}")


@dataclass
class FakeTables:
    """Tables that only tell the diary what was asked of them. ``trouble``: raised by the next calls, one each."""

    diary: list[str] = field(default_factory=list)
    trouble: list[Exception] = field(default_factory=list)
    filled: set[str] = field(default_factory=set)

    def create_missing(self) -> None:
        if self.trouble:
            raise self.trouble.pop(0)
        self.diary.append("tables created")

    def evolve(self, table: str, fields: Sequence[Any]) -> None:
        self.diary.append(f"{table} has {len(fields)} fields")

    def read(self, table: str) -> NoReturn:
        raise NotImplementedError

    def append(self, table: str, frame: DataFrame, batch: Batch) -> None:
        self.diary.append(f"wrote {table}")

    def committed(self, table: str, batch: Batch) -> int:
        return 0

    def holds(self, table: str, topic: str) -> bool:
        return table in self.filled

    def delete_from(self, table: str, starts: dict[int, int], topic: str) -> None:
        self.diary.append(f"{table} deleted from {starts}")


@dataclass
class FakeBroker:
    """``marks``: partition → (earliest, next); ``second``: what a second read finds, by partition."""

    marks: dict[int, tuple[int, int]] = field(default_factory=dict)
    second: dict[int, int] = field(default_factory=dict)
    recounted: list[OffsetRange] = field(default_factory=list)

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        assert topic == TOPIC
        return dict(self.marks)

    def recount(self, ranges: Sequence[OffsetRange]) -> dict[int, int]:
        self.recounted += ranges
        return {r.partition: self.second[r.partition] for r in ranges if r.partition in self.second}


@dataclass
class FakeLease:
    """Held by us, or by the ``other`` one. ``ask_to_stop``: what a request from elsewhere calls."""

    other: str | None = None
    ask_to_stop: Callable[[], None] = lambda: None
    diary: list[str] = field(default_factory=list)

    @contextmanager
    def held(self, on_stop: Callable[[], None]) -> Iterator[None]:
        self.ask_to_stop = on_stop
        if self.other:
            raise AlreadyRunning("ingest", self.other, "/checkpoints/ingest.lease")
        self.diary.append("lease taken")
        try:
            yield
        finally:
            self.diary.append("lease given back")


class FakeQuery:
    """A query that ended already."""

    def __init__(self, failed: bool, diary: list[str]) -> None:
        self._failed, self._diary = failed, diary

    def awaitTermination(self) -> None:  # noqa: N802 pyspark's name
        if self._failed:
            raise StreamingQueryException("org.apache.spark.SparkException: Job aborted")

    def stop(self) -> None:
        self._diary.append("query stopped")


@dataclass
class FakeStream:
    """Hands every batch of ``topic`` that is not committed to the job at once.

    ``trouble``: per start, whether the source itself fails before the first batch.
    """

    journal: FakeJournal
    topic: list[list[OffsetRange]] = field(default_factory=list)
    trouble: list[bool] = field(default_factory=list)
    on_start: Callable[[], None] = lambda: None
    starts: list[Mapping[int, int] | None] = field(default_factory=list)
    tolerant: list[bool] = field(default_factory=list)
    diary: list[str] = field(default_factory=list)

    def start(
        self,
        checkpoint: str,
        handle: Callable[[DataFrame, int], None],
        starts: Mapping[int, int] | None = None,
        *,
        tolerate_loss: bool = False,
    ) -> StreamingQuery:
        assert checkpoint == self.journal.uri
        self.diary.append("drain")
        self.starts.append(starts)
        self.tolerant.append(tolerate_loss)
        self.on_start()
        failed = self.trouble.pop(0) if self.trouble else False
        return cast(StreamingQuery, FakeQuery(failed or self._failed(handle), self.diary))

    def _failed(self, handle: Callable[[DataFrame, int], None]) -> bool:
        self.journal.id = self.journal.id or "query-1"
        for batch_id in range(self.journal.committed, len(self.topic)):
            self.journal.batches = self.topic[: batch_id + 1]
            try:
                handle(NO_FRAME, batch_id)
            except BaseException:  # noqa: BLE001 as py4j does: whatever Python raises ends the query
                return True
            self.journal.committed = batch_id + 1
        return False


class FakeStop(threading.Event):
    """A stop event with a clock of its own: waiting takes no time, it only moves the clock.

    ``set_after``: somebody asks for the stop during the n-th wait.
    """

    def __init__(self, set_after: int | None = None) -> None:
        super().__init__()
        self.now, self.waits, self.set_after = 1_000.0, list[float](), set_after

    def monotonic(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        if self.is_set():
            return True
        assert timeout is not None
        self.waits.append(timeout)
        if len(self.waits) == self.set_after:
            self.set()
        else:
            self.now += timeout
        return self.is_set()


def fails(errors: Sequence[BaseException]) -> Callable[..., Any]:
    """A function that raises the errors one by one, then returns None."""
    left = list(errors)

    def call(*_: Any) -> None:
        if left:
            raise left.pop(0)

    return call
