"""What a reconciliation needs from the outside world."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from pipelines.reconcile.figures import Figures, Foreign, Place
from pipelines.reconcile.hours import Window
from pipelines.reconcile.model import Counts, OpenFindings, Past, Run
from pipelines.records import OffsetRange


class FoundDocuments(Protocol):
    """Figures of documents. ``strays``: index → documents in it that belong into another one.

    ``foreign``: documents there that are not of the topic, or lack their coordinates.
    """

    @property
    def figures(self) -> Figures: ...
    @property
    def strays(self) -> Mapping[str, int]: ...
    @property
    def foreign(self) -> Sequence[Foreign]: ...


class DocumentFigures(Protocol):
    """Elasticsearch, asked for figures."""

    @property
    def index_prefix(self) -> str: ...
    def refresh(self) -> None: ...
    def indices(self) -> list[str]: ...
    def hours(self, topic: str, windows: Sequence[Window]) -> FoundDocuments: ...

    def blocks(
        self, topic: str, places: Collection[Place], size: int, without: Collection[str]
    ) -> tuple[Figures, set[Place]]: ...

    def stray(self, index: str) -> dict[str, Any]: ...
    def stray_blocks(self, topic: str, strays: Collection[str], size: int) -> set[tuple[int, int]]: ...


class DocumentReader(Protocol):
    """Elasticsearch, read document by document."""

    def read(self, indices: Collection[str], query: Mapping[str, Any], schema: StructType) -> DataFrame: ...


class RecordReader(Protocol):
    """Kafka, read again. ``read``: at most one range per partition, in the columns of Spark's Kafka source."""

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]: ...
    def read(self, ranges: Sequence[OffsetRange]) -> DataFrame: ...


class Offsets(Protocol):
    """Kafka's offsets."""

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]: ...
    def first_since(self, topic: str, at: datetime) -> dict[int, int]: ...


class History(Protocol):
    """Runs and findings."""

    def prepare(self) -> None: ...
    def past(self, run_id: str | None) -> Past: ...
    def save(self, run: Run, *, is_new: bool = True) -> None: ...
    def counts(self, run_id: str) -> Counts: ...
    def open_hours(self) -> Mapping[datetime, OpenFindings]: ...
    def merge(self, found: DataFrame, run_id: str, at: datetime) -> None: ...

    def close_unseen(
        self, windows: Sequence[Window], refused: Sequence[OffsetRange], run_id: str, at: datetime, *, deep: bool
    ) -> None: ...


Published = Callable[[Run, bool], None]
"""Shows a run that is over, as a table property and as metrics. The flag: whether the watermark has moved."""
