"""Stands for what ``sdp reconcile`` calls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pipelines.errors import MetastoreUnavailable
from pipelines.flows.reconcile import Wanted
from pipelines.reconcile.model import Finding, Run
from tests.unit.reconcile.examples_report import CLEAN, DAY, FAILED, HOUR, MISSING, past


@dataclass
class World:
    """Stands for flow and book of ``sdp reconcile``. ``run``: what comes of it; ``raised``: instead, if given."""

    run_found: Run = CLEAN
    raised: Exception | None = None
    books_away: bool = False
    failed: Run | None = None
    asked: list[Wanted] = field(default_factory=list)
    since: list[datetime] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    watermark: datetime | None = DAY + 24 * HOUR

    def run(self, wanted: Wanted) -> Run:
        self.asked.append(wanted)
        if self.raised:
            self.failed = FAILED
            raise self.raised
        return self.run_found

    def book(self, *_: Any) -> World:
        if self.books_away:
            raise MetastoreUnavailable("the metastore", "thrift://here:9083", "refused")
        return self

    def runs(self, since: datetime) -> list[Run]:
        self.since.append(since)
        return [past(2), past(-1)]

    def sample(self, run_id: str, limit: int) -> list[Finding]:
        self.limits.append(limit)
        return [replace(MISSING, run_id=run_id)] if self.run_found.discrepant else []

    def reasons(self, _: str, limit: int = 20) -> list[tuple[str, int]]:
        return [("no index has it", limit)] if self.run_found.discrepant else []

    def until(self) -> datetime | None:
        return self.watermark
