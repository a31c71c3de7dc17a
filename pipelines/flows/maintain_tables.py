"""Upkeep of the tables: merge small files, retire old rows, delete files that no version needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from pipelines.errors import UsageError
from pipelines.maintenance.compaction import Partition, Policy, in_groups, worth_compacting
from pipelines.maintenance.retirement import Count, Unit, first_kept_day
from pipelines.maintenance.step import Step, Told
from pipelines.records import ES_INVALID, INVALID, VALID

OF_ROWS = (VALID, INVALID, ES_INVALID)
"""Tables that grow with the traffic: old days of them are retired."""

SAFE_VACUUM_HOURS = 168
"""Below this Delta itself refuses: a query that runs for longer may still read the files."""

PARTITIONS_AT_ONCE = 24
COUNTED = 1_000


class Merged(Protocol):
    """How many files took the place of how many."""

    @property
    def removed(self) -> int: ...
    @property
    def added(self) -> int: ...


class Files(Protocol):
    """The files under the tables; pipelines.adapters.table_files has the real ones."""

    def existing(self, tables: Sequence[str]) -> list[str]: ...
    def crowded(self, table: str, at_least: int) -> list[Partition]: ...
    def compact(self, table: str, partitions: Sequence[Partition]) -> Merged: ...
    def removable(self, table: str, hours: int) -> int:
        """How many files are not needed any more; not counted further than ``COUNTED``."""

    def vacuum(self, table: str, hours: int) -> None: ...
    def older(self, table: str, day: date, *, drop_open: bool) -> list[Count]: ...
    def drop_older(self, table: str, day: date, *, drop_open: bool) -> None: ...


class RetirementLog(Protocol):
    """``sdp.retirements``."""

    def begun(self, store: str) -> list[Count]: ...
    def begin(self, store: str, counts: Iterable[Count]) -> None: ...
    def confirm(self, store: str, units: Collection[Unit]) -> None: ...
    def forget(self, store: str, units: Collection[Unit]) -> None: ...


@dataclass(frozen=True)
class Optimize:
    """Merges the small files of settled partitions. Rows stay as they are, jobs may write meanwhile."""

    files: Files
    tables: Sequence[str]
    policy: Policy

    def __call__(self, now: datetime, told: Told, *, dry_run: bool = False) -> None:
        """One commit per ``PARTITIONS_AT_ONCE`` partitions: what is told is done, whatever happens afterwards."""
        for table in self.files.existing(self.tables):
            chosen = worth_compacting(self.files.crowded(table, self.policy.min_small_files), now, self.policy)
            for group in in_groups(chosen, PARTITIONS_AT_ONCE):
                told(self._merge(table, group, dry_run))

    def _merge(self, table: str, group: Sequence[Partition], dry_run: bool) -> Step:
        where = f"{len(group)} partitions" if group[0].date else "the table"
        if dry_run:
            return Step("merge files", table, f"{where}: {sum(p.small for p in group):,} small files")
        merged = self.files.compact(table, group)
        return Step("merge files", table, f"{where}: {merged.removed:,} files became {merged.added:,}")


@dataclass(frozen=True)
class Retire:
    """Removes rows of old days, after it has written down how many there were. Safe to repeat after a kill anywhere."""

    files: Files
    log: RetirementLog
    table_days: int
    drop_open: bool

    def __call__(self, now: datetime, told: Told, *, dry_run: bool = False) -> None:
        """Table by table; invalid rows that wait for somebody stay, unless ``drop_open``."""
        first_kept = first_kept_day(now.date(), self.table_days)
        for table in OF_ROWS:
            found = self.files.older(table, first_kept, drop_open=self.drop_open)
            if not dry_run:
                self._finish(table, {c.unit for c in found})
            if found:
                if not dry_run:
                    self._remove(table, first_kept, found)
                told(_retired(table, found))

    def _finish(self, table: str, held: Collection[Unit]) -> None:
        """A kill came between a removal and its confirmation, or before the removal: then it is counted anew."""
        begun = {c.unit for c in self.log.begun(table)}
        self.log.confirm(table, begun.difference(held))
        self.log.forget(table, begun.intersection(held))

    def _remove(self, table: str, first_kept: date, found: Sequence[Count]) -> None:
        self.log.begin(table, found)
        self.files.drop_older(table, first_kept, drop_open=self.drop_open)
        self.log.confirm(table, {c.unit for c in found})


@dataclass(frozen=True)
class Vacuum:
    """Deletes files that no version of the last ``hours`` needs."""

    files: Files
    tables: Sequence[str]
    hours: int

    def check(self, *, force: bool) -> None:
        """Raise UsageError for a time that is too short for a running query or job."""
        if self.hours < SAFE_VACUUM_HOURS and not force:
            raise UsageError(
                f"maintenance.vacuum_hours is {self.hours}: below {SAFE_VACUUM_HOURS} a query that runs, or a job that "
                f"is in the middle of a batch, may lose files it still reads. If nothing runs, add --force"
            )

    def __call__(self, now: datetime, told: Told, *, dry_run: bool = False) -> None:  # noqa: ARG002 Delta has its clock
        """Table by table; tells those only that have files to delete."""
        for table in self.files.existing(self.tables):
            number = self.files.removable(table, self.hours)
            if number:
                if not dry_run:
                    self.files.vacuum(table, self.hours)
                shown = f"{number:,} files and folders" + (", or more," if number >= COUNTED else "")
                told(Step("delete files", table, f"{shown} older than {self.hours} hours"))


def _retired(table: str, found: Sequence[Count]) -> Step:
    days = Counter[str]()
    for c in found:
        days[c.unit.name] += c.rows
    return Step(
        "retire rows", table, f"{sum(days.values()):,} rows of {len(days)} days from {min(days)} to {max(days)}"
    )
