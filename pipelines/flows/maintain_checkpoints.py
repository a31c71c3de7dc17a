"""Upkeep of what jobs leave behind: checkpoints that were set aside, rooms of submissions, old rows of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from pipelines.maintenance.leftovers import old_checkpoints, old_rooms
from pipelines.maintenance.retirement import first_kept_day
from pipelines.maintenance.step import Step, Told
from pipelines.records import LEDGER


class Folder(Protocol):
    """The folder of the checkpoints, on whatever file system."""

    def names(self, uri: str) -> list[str]: ...
    def delete(self, uri: str) -> None: ...


class Rooms(Protocol):
    """Folders of spark-submit.sh on this machine."""

    def touched_at(self) -> Mapping[str, datetime]: ...
    def delete(self, name: str) -> None: ...


class OldLedger(Protocol):
    """The ledger, as the one who cleans it sees it."""

    def foldable(self, day: date) -> int: ...
    def fold_ledger(self, day: date) -> None: ...


@dataclass(frozen=True)
class CleanCheckpoints:
    """``leftover_days``: age of what is removed. ``ledger_days``: age from which on batches are rolled up."""

    folder: Folder
    checkpoints: str
    rooms: Rooms
    ledger: OldLedger
    leftover_days: int
    ledger_days: int

    def __call__(self, now: datetime, told: Told, *, dry_run: bool = False) -> None:
        """A living checkpoint is never touched: Spark itself keeps only the last 100 batches of it."""
        for name in old_checkpoints(self.folder.names(self.checkpoints), now, self.leftover_days):
            if not dry_run:
                self.folder.delete(f"{self.checkpoints}/{name}")
            told(Step("delete checkpoint", name, f"set aside more than {self.leftover_days} days ago"))
        for name in old_rooms(self.rooms.touched_at(), now, self.leftover_days):
            if not dry_run:
                self.rooms.delete(name)
            told(Step("delete submission", name, f"not touched for {self.leftover_days} days"))
        self._roll_up(first_kept_day(now.date(), self.ledger_days), told, dry_run)

    def _roll_up(self, day: date, told: Told, dry_run: bool) -> None:
        rows = self.ledger.foldable(day)
        if rows:
            if not dry_run:
                self.ledger.fold_ledger(day)
            told(Step("roll up", LEDGER, f"{rows:,} rows fewer before {day}, sums and positions stay"))
