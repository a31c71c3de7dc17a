"""Upkeep of the daily indices: hot, then read-only and merged, then deleted, by the day in their name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from pipelines.errors import UsageError
from pipelines.flows.maintain_tables import RetirementLog
from pipelines.maintenance.indices import Action, Ages, Index, due, past_hot
from pipelines.maintenance.retirement import DOCUMENTS, Count, Unit
from pipelines.maintenance.step import Step, Told


class Indices(Protocol):
    """The daily indices; pipelines.adapters.daily_indices has the real ones. They raise SinkUnavailable."""

    def all(self) -> list[Index]: ...
    def counts(self, names: Iterable[str]) -> list[Count]: ...
    def block(self, name: str) -> None: ...
    def unblock(self, day: date) -> str | None: ...
    def merge(self, name: str) -> None: ...
    def delete(self, name: str) -> None: ...
    def has_lifecycle(self) -> bool: ...
    def keep_policy(self, ages: Ages) -> bool: ...
    def without_policy(self) -> list[str]: ...
    def attach_policy(self, name: str) -> None: ...


@dataclass(frozen=True)
class MaintainIndices:
    """Where the cluster has ILM a policy does the steps, else this task does the same ones itself.

    Either way documents are counted before they go, so that `sdp status` goes on adding up.
    """

    indices: Indices
    log: RetirementLog
    ages: Ages

    def __call__(self, now: datetime, told: Told, *, dry_run: bool = False) -> None:
        """Safe to repeat after a kill anywhere: each step looks at what there is."""
        today = now.date()
        found = self.indices.all()
        if not dry_run:
            self._finish(found)
        if self.indices.has_lifecycle():
            self._by_policy(found, today, told, dry_run)
        else:
            self._by_hand(found, today, told, dry_run)

    def open(self, day: date, told: Told) -> None:
        """Let the index of a day be written to until the next run. Raises UsageError if there is none."""
        name = self.indices.unblock(day)
        if name is None:
            raise UsageError(f"there is no index of {day}: what is older than {self.ages.delete_days} days was deleted")
        told(Step("make writable", name, "until the next `sdp maintain indices`"))

    def _finish(self, found: Sequence[Index]) -> None:
        """What was counted and is gone by now, by a task that was killed or by the policy, is retired."""
        begun = {c.unit for c in self.log.begun(DOCUMENTS)}
        self.log.confirm(DOCUMENTS, begun - {Unit(index.name) for index in found})

    def _by_hand(self, found: Sequence[Index], today: date, told: Told, dry_run: bool) -> None:
        for index in past_hot(found, today, self.ages):
            for action in due(index, today, self.ages):
                detail = f"day {index.day}, {(today - index.day).days} days old"
                if not dry_run:
                    self._do(action, index.name)
                told(Step(action.value, index.name, detail))

    def _do(self, action: Action, name: str) -> None:
        match action:
            case Action.BLOCK:
                self.indices.block(name)
            case Action.MERGE:
                self.indices.merge(name)
            case Action.DELETE:
                self.indices.block(name)  # nothing comes in any more that would not be counted
                self.log.begin(DOCUMENTS, self.indices.counts([name]))
                self.indices.delete(name)
                self.log.confirm(DOCUMENTS, [Unit(name)])

    def _by_policy(self, found: Sequence[Index], today: date, told: Told, dry_run: bool) -> None:
        """Nobody tells when the policy deletes an index, so it is counted from when nothing writes to it any more."""
        if not dry_run and self.indices.keep_policy(self.ages):
            told(Step("keep policy", "ILM", f"warm from day {self.ages.hot_days}, deleted on {self.ages.delete_days}"))
        for name in self.indices.without_policy():
            if not dry_run:
                self.indices.attach_policy(name)
            told(Step("attach policy", name, "by the age of its day"))
        if not dry_run:
            self._count([index.name for index in past_hot(found, today, self.ages)])

    def _count(self, names: Sequence[str]) -> None:
        known = set(self.log.begun(DOCUMENTS))
        for name in names:
            counts = self.indices.counts([name])
            if {c for c in known if c.unit == Unit(name)} != set(counts):
                self.log.begin(DOCUMENTS, counts)
