"""What a repair needs from the outside world, beside ``ports``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pyspark.sql import DataFrame

from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import Field
from pipelines.reconcile.model import Finding
from pipelines.reconcile.repair_documents import StoredDocument
from pipelines.reconcile.repair_plan import Change, Place, Source, Step
from pipelines.reconcile.repair_state import RepairState
from pipelines.records import Batch


@dataclass(frozen=True, slots=True)
class Known:
    """What one source says of a record: where it belongs. ``day``: yyyy.MM.dd of its event; ``hour``: UTC."""

    source: Source
    request_id: str
    day: str
    hour: datetime


class Records(Protocol):
    """The records of one chunk as they should be."""

    def of(self, step: Step) -> Known | None:
        """The most trusted source of the step that has the record."""

    def why_not(self, step: Step) -> tuple[bool, str]:
        """Of a record without a source: whether some source has it and it is refused, and why."""

    @property
    def fields(self) -> Sequence[Field]:
        """Of the schemas that they were read by."""

    def rows(self, chosen: Mapping[Place, tuple[Step, Source]]) -> DataFrame:
        """Rows of the valid table, one per place: as this step's job made it, from this source."""

    def documents(self, chosen: Mapping[Place, tuple[Step, Source]]) -> DataFrame:
        """The same as documents."""

    def bad_rows(self, steps: Sequence[Step]) -> DataFrame:
        """Rows of the invalid table, one per step."""


class TruthSource(Protocol):
    """Finds out how records should be, from all that still has them."""

    def of(self, steps: Sequence[Step]) -> Records: ...


class RowStore(Protocol):
    """The Delta tables, as a repair changes them."""

    def replace(self, table: str, rows: DataFrame) -> None: ...
    def insert_missing(self, table: str, rows: DataFrame) -> None: ...


class DocumentFinder(Protocol):
    """Elasticsearch as a source of records."""

    def at(self, topic: str, places: Sequence[Place]) -> list[StoredDocument]: ...


class DocumentMender(Protocol):
    """Elasticsearch, as a repair changes it."""

    def prepare(self, fields: Sequence[Field]) -> None: ...

    def overwrite(self, docs: DataFrame, batch: Batch) -> dict[Place, str]:
        """Write documents over whatever stands there of the same record; why one was refused."""

    def remove(self, doomed: Sequence[tuple[str, str, Place]]) -> dict[tuple[str, str], str | None]:
        """Delete documents by index and id, if they are of that record; why one was not. None: it is gone."""

    def index_of(self, day: str) -> str: ...
    def tidy(self) -> None: ...


class RepairBook(Protocol):
    """Findings as a repair takes them, its audit trail, and the end of what is clean again."""

    def meant(self, asked: str) -> tuple[str, bool]:
        """The run that is meant by an id or ``latest``, and whether it looked at more than figures.

        Raises UsageError if there is none.
        """

    def version(self) -> int:
        """Of the table of findings, now."""

    def count(self, state: RepairState) -> int: ...
    def end_of_next(self, state: RepairState, records: int) -> int | None: ...
    def findings(self, state: RepairState) -> list[Finding]: ...
    def append(self, changes: Sequence[Change], state: RepairState, batch: Batch) -> None: ...

    def close(self, state: RepairState, again: Sequence[str]) -> tuple[int, int]:
        """Close what the runs ``again`` found clean; how many findings are closed, how many are open."""


class RepairLog(Protocol):
    """Where a repair stands, so that what was begun can be finished."""

    def read(self) -> RepairState | None: ...
    def write(self, state: RepairState) -> None: ...
    def remove(self) -> None: ...


class KnownRules(Protocol):
    """``sdp.rule_sets``."""

    def by_fingerprint(self) -> Mapping[str, RuleSet]: ...


class ReconcileAgain(Protocol):
    """Compares one window anew and keeps findings; the id of the run. Raises Unavailable after waiting long enough."""

    def __call__(self, since: datetime, until: datetime, deep: bool, /) -> str: ...
