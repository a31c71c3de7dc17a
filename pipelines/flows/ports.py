"""What the flows need from the outside world; ``pipelines.adapters`` has the real ones, tests have fakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pyspark.sql import DataFrame

from pipelines.badrows.plan import Plan
from pipelines.contracts.writer import Field, SchemaSet
from pipelines.records import Batch, LedgerEntry, OffsetRange

Refusals = Callable[[Batch, Mapping[str, int]], None]
"""Told how many rows of a batch were refused: code of the first critical violation → rows."""


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
    def evolve(self, table: str, fields: Sequence[Field]) -> None: ...
    def read(self, table: str) -> DataFrame: ...
    def append(self, table: str, frame: DataFrame, batch: Batch) -> None: ...
    def committed(self, table: str, batch: Batch) -> int: ...
    def holds(self, table: str, topic: str) -> bool: ...
    def delete_from(self, table: str, starts: dict[int, int], topic: str) -> None: ...


class RepairStore(TableStore, Protocol):
    """The Delta tables, as a replay changes them. An update is made once per (query, table, batch)."""

    def insert_missing(self, table: str, rows: DataFrame) -> None: ...
    def update(self, table: str, changes: DataFrame, columns: Sequence[str], batch: Batch) -> None: ...


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


class ReplayLog(Protocol):
    """Where a replay stands, so that what was begun can be finished."""

    def read(self) -> Plan | None: ...
    def write(self, plan: Plan) -> None: ...
    def remove(self) -> None: ...


class LeaseHolder(Protocol):
    """Keeps a second copy of the job out, and brings a request to stop from wherever it was made."""

    def held(self, on_stop: Callable[[], None]) -> AbstractContextManager[None]: ...


class DocumentStore(Protocol):
    """Elasticsearch."""

    def prepare(self, fields: Sequence[Field]) -> None: ...
    def write(self, docs: DataFrame, batch: Batch) -> None: ...
    def rejects(self, batch: Batch) -> DataFrame | None: ...
    def forget(self, batch: Batch) -> None: ...


class Steps(Protocol):
    """Told when a batch has reached a named step; logs it, and lets tests stop a job between any two writes."""

    def __call__(self, step: str, batch: Batch, /) -> None: ...
