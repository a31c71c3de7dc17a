"""What the flows need from the outside world; ``pipelines.adapters`` has the real ones, tests have fakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pyspark.sql import DataFrame

from pipelines.contracts.writer import SchemaSet
from pipelines.records import Batch, LedgerEntry, OffsetRange


class SchemaSource(Protocol):
    """The registry, as decoding needs it."""

    def current(self) -> SchemaSet:
        """Every schema that a record produced before this call may carry. Raises RegistryUnavailable."""


class Journal(Protocol):
    """The checkpoint of the query."""

    uri: str

    def query_id(self) -> str | None: ...
    def topics(self) -> set[str]: ...
    def next_offsets(self, topic: str) -> dict[int, int]: ...
    def planned_offsets(self, topic: str) -> dict[int, int]: ...
    def ranges(self, batch_id: int, topic: str) -> list[OffsetRange]: ...
    def set_aside(self, label: str) -> str: ...


class TableStore(Protocol):
    """The Delta tables."""

    def create_missing(self) -> None: ...
    def read(self, table: str) -> DataFrame: ...
    def append(self, table: str, frame: DataFrame, batch: Batch) -> None: ...
    def committed(self, table: str, batch: Batch) -> int: ...
    def holds(self, table: str, topic: str) -> bool: ...
    def delete_from(self, table: str, starts: dict[int, int], topic: str) -> None: ...


class LedgerStore(Protocol):
    """``sdp.ingest_ledger``."""

    def append(self, batch: Batch, entries: Sequence[LedgerEntry]) -> None: ...
    def ranges(self, query_id: str, batch_id: int) -> list[OffsetRange]: ...
    def positions(self, query: str, topic: str) -> dict[int, int]: ...
    def starts_from(self, query: str, topic: str, earliest: dict[int, int]) -> dict[int, int]: ...
    def delete_from(self, query: str, topic: str, starts: dict[int, int]) -> None: ...


class Broker(Protocol):
    """Kafka, beside the stream itself."""

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition → (earliest, next) offset."""

    def recount(self, ranges: Sequence[OffsetRange]) -> dict[int, int]:
        """Partition → records that a second, independent read of the ranges gives."""


class LeaseHolder(Protocol):
    """Keeps a second copy of the job out, and brings a request to stop from wherever it was made."""

    def held(self, on_stop: Callable[[], None]) -> AbstractContextManager[None]: ...


class Steps(Protocol):
    """Told when a batch has reached a named step; logs it, and lets tests stop a job between any two writes."""

    def __call__(self, step: str, batch: Batch, /) -> None: ...
