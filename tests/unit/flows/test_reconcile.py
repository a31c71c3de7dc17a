"""A reconciliation told with fakes: how far back it asks, and up to where it says that everything is proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from pipelines.flows.reconcile import Reconcile, Wanted
from pipelines.flows.reconcile_figures import INDEX, INGEST, Compared, Said
from pipelines.flows.trouble import Patience
from pipelines.reconcile.figures import Figures
from pipelines.reconcile.hours import Window
from pipelines.reconcile.ledger import Job
from pipelines.reconcile.model import OpenFindings, Past, Run, Verdict

NOW = datetime(2026, 3, 12, 12, 30, tzinfo=UTC)
NOON = NOW - timedelta(minutes=30)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class FakeFirst:
    """All sides hold the same. ``since``: how far back it was asked."""

    since: datetime | None = None

    def ledger(self, window: Window, since: datetime, now: datetime) -> Said:
        self.since = since
        return Said("logs", {INGEST: Job(), INDEX: Job()}, {}, ())

    def settled(self, said: Said, now: datetime, grace: timedelta) -> datetime:
        return NOON

    def compare(self, said: Said, windows: list[Window]) -> Compared:
        return Compared("logs", said, windows, Figures(), Figures(), {}, {}, ())


@dataclass
class FakeHistory:
    before: Past
    open: Mapping[datetime, OpenFindings] = field(default_factory=dict)
    saved: list[Run] = field(default_factory=list)

    def prepare(self) -> None: ...

    def past(self, run_id: str | None) -> Past:
        return self.before

    def close_unseen(self, *_: Any, **__: Any) -> None: ...

    def open_hours(self) -> Mapping[datetime, OpenFindings]:
        return self.open

    def save(self, run: Run, *, is_new: bool = True) -> None:
        self.saved.append(run)


def reconciling(history: FakeHistory, first: FakeFirst | None = None) -> Reconcile:
    return Reconcile(
        topic="logs",
        first=cast(Any, first or FakeFirst()),
        records=cast(Any, None),
        history=cast(Any, history),
        patience=lambda: Patience("a test", 0),
        publish=lambda *_: None,
        grace=timedelta(minutes=15),
        investigate=0.001,
        escalate=0.01,
        now=lambda: NOW,
    )


def test_late_records_are_looked_for_from_the_last_run_on() -> None:
    first, last = FakeFirst(), NOW - 5 * DAY
    past = Past(((last - 2 * DAY, last),), last=last, settled=last - HOUR, complete_until=last)
    reconciling(FakeHistory(past), first).run(Wanted())
    assert first.since == last - HOUR - 7 * DAY


def test_an_open_finding_that_holds_the_watermark_is_named_by_a_run_that_is_fine() -> None:
    six = NOON - 6 * HOUR
    past = Past(((NOON - DAY, NOON - HOUR),), last=NOW - HOUR, complete_until=six, had_findings=True)
    open_hours = {six: OpenFindings(3, "run-7"), six + HOUR: OpenFindings(1, "run-8")}
    run = reconciling(FakeHistory(past, open_hours)).run(Wanted())
    assert (run.verdict, run.complete_until) == (Verdict.OK, six)
    [note] = [note for note in run.notes if "watermark" in note]
    assert "held at 2026-03-12 06:00 by open findings of that hour (3)" in note
    assert note.endswith("1 later hour has some, too; run: sdp repair run-7")
    run = reconciling(FakeHistory(past)).run(Wanted())
    assert (run.complete_until, [note for note in run.notes if "watermark" in note]) == (NOON, [])


@pytest.mark.parametrize("days", [1, 40, 2_000])
def test_a_look_at_old_hours_leaves_the_watermark_where_it_was(days: int) -> None:
    past = Past(((NOON - HOUR, NOON),), last=NOW - HOUR, complete_until=NOON)
    start = NOON - timedelta(days=days)
    run = reconciling(FakeHistory(past)).run(Wanted((start, start + 2 * HOUR)))
    assert (run.verdict, run.complete_until) == (Verdict.OK, NOON)
    assert not [note for note in run.notes if "watermark" in note]
