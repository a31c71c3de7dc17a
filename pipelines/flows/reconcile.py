"""Kafka, tables and indices hold the same records: the story of one reconciliation.

The order is what makes it right while both jobs write: first the ledger, which says up to where each of them has stored
everything; then the documents; then the table. What figures can't explain is a suspicion: the second level looks at it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce

from pyspark.sql import DataFrame

from pipelines.errors import SdpError
from pipelines.flows.reconcile_figures import Compared
from pipelines.flows.reconcile_first import FirstLevel
from pipelines.flows.reconcile_ports import History, Published
from pipelines.flows.reconcile_records import Records
from pipelines.flows.reconcile_suspects import Suspects
from pipelines.flows.trouble import Patience
from pipelines.reconcile.hours import (
    Window,
    complete_until,
    default_window,
    floor_hour,
    late_since,
    merged,
    never_looked_at,
)
from pipelines.reconcile.model import Counts, OpenFindings, Past, Run, RunState, Verdict
from pipelines.reconcile.verdict import doubted, verdict
from pipelines.reconcile.wording import counted
from pipelines.records import OffsetRange


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for. ``window``: the settled hours that are not proven yet, unless given."""

    window: Window | None = None
    deep: bool = False
    sample: int = 0
    seed: int = 0
    run_id: str | None = None


@dataclass
class Reconcile:
    """Reconciles one topic. ``investigate``, ``escalate``: shares of the verdict."""

    topic: str
    first: FirstLevel
    records: Records
    history: History
    patience: Callable[[], Patience]
    publish: Published
    grace: timedelta
    investigate: float
    escalate: float
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    on_step: Callable[[str], None] = lambda _: None
    failed: Run | None = field(default=None, init=False)
    """The run that raised, if one did."""
    _seconds: dict[str, float] = field(default_factory=dict, init=False)

    def run(self, wanted: Wanted) -> Run:
        """Compare, keep findings and run, and publish. A run that is done already is shown again, not repeated.

        Tries again while infrastructure is away; then the run is kept as failed, if that is possible, and Unavailable
        raised: such a run says nothing about the data.
        """
        run_id, began = wanted.run_id or _new_id(self.now()), self.now()
        patience = self.patience()
        try:
            return patience(lambda: self._run(wanted, run_id, began))
        except SdpError as error:
            self._keep_failed(wanted, run_id, began, error)
            raise

    def _run(self, wanted: Wanted, run_id: str, began: datetime) -> Run:
        self._seconds = {}
        with self._step("history"):
            self.history.prepare()
            past = self.history.past(wanted.run_id)
        if past.before is not None and past.before.state is RunState.DONE:
            return past.before
        proven = complete_until(past.proven, (), past.complete_until)
        hint = wanted.window or default_window(began, floor_hour(began - self.grace), proven)
        with self._step("ledger"):
            said = self.first.ledger(hint, late_since(began, past.last, past.settled), began)
        settled = self.first.settled(said, began, self.grace)
        window = wanted.window or default_window(began, settled, proven)
        windows = merged([window, *said.reopened(window, past.proven, past.last or began)])
        with self._step("figures"):
            figures = self.first.compare(said, windows)
        notes = [*said.notes(), *figures.notes]
        with self._step("records"):
            found, points = self._look(wanted, figures, window, began, notes)
        run = Run(
            run_id=run_id,
            topic=self.topic,
            started_at=began,
            finished_at=None,
            window_from=window[0],
            window_until=window[1],
            state=RunState.DONE,
            verdict=None,
            deep=wanted.deep,
            sampled=points,
            seed=wanted.seed if points else None,
            offsets=tuple(said.checks),
            settled_until=settled,
            hours=tuple(figures.hours()),
        )
        with self._step("findings"):
            run = self._judged(run, found, windows, said.refused() if past.had_findings else None, notes)
        if figures.foreign:
            run = replace(run, verdict=doubted(run.verdict))
        return self._kept(run, past, notes)

    def _look(
        self, wanted: Wanted, figures: Compared, window: Window, began: datetime, notes: list[str]
    ) -> tuple[DataFrame | None, int]:
        """Findings, or None where there is nothing to look at; and how many records are a sample."""
        suspects = figures.suspects(began - self.grace, deep=wanted.deep)
        found = self.records.find(suspects, notes) if suspects is not None else None
        if not wanted.sample:
            return found, 0
        points = self.records.drawn(window, wanted.sample, wanted.seed)
        if not points:
            return found, 0
        bounds = figures.bounds(began - self.grace)
        sampled = self.records.find(Suspects([window], bounds, points=points, gone=figures.gone), notes)
        both = [f for f in (found, sampled) if f is not None]
        return (reduce(DataFrame.unionByName, both) if both else None), len(points)

    def _judged(
        self,
        run: Run,
        found: DataFrame | None,
        windows: list[Window],
        refused: list[OffsetRange] | None,
        notes: list[str],
    ) -> Run:
        """Keep the findings, and count them.

        ``refused``: where invalid rows were looked for; None if there is no earlier finding to close.
        """
        records = sum(max(h.ledger_ingest, h.table if h.ledger_ingest == 0 else 0) for h in run.hours)
        if found is not None:
            self.history.merge(found, run.run_id, run.started_at)
        if refused is not None:
            self.history.close_unseen(windows, refused, run.run_id, run.started_at, deep=run.deep)
        seen = self.history.counts(run.run_id) if found is not None else Counts()
        hours = tuple(replace(h, discrepant=seen.by_hour.get(h.hour, 0)) for h in run.hours)
        word = verdict(records, seen.discrepant, seen.lost, investigate=self.investigate, escalate=self.escalate)
        if word is Verdict.OK and not run.adds_up:
            notes.append("offsets and ledger do not add up: see the offsets of the run")
            word = Verdict.WARNING
        return replace(
            run,
            records=records,
            discrepant=seen.discrepant,
            lost=seen.lost,
            verdict=word,
            kinds=tuple(seen.kinds),
            hours=hours,
        )

    def _kept(self, run: Run, past: Past, notes: list[str]) -> Run:
        now_proven = merged([*past.proven, *proven_window(run)])
        gap = never_looked_at(now_proven, past.complete_until)
        if gap is not None:
            start, end = gap
            notes.append(
                f"the completeness watermark stops at {start:%F %H:%M}: the hours up to {end:%F %H:%M} were never "
                f"reconciled; run: sdp reconcile --from {start:%FT%H:%M} --to {end:%FT%H:%M}"
            )
        with self._step("watermark"):
            open_hours = self.history.open_hours() if past.had_findings or run.kinds else {}
            until = complete_until(now_proven, open_hours, past.complete_until)
            if until is not None and until in open_hours:
                notes.append(_held_by(until, open_hours))
            run = replace(run, complete_until=until, notes=tuple(notes))
            self.publish(run, run.complete_until != past.complete_until or past.last is None)
        run = replace(run, finished_at=self.now(), seconds=dict(self._seconds))
        self.on_step("saving")
        self.history.save(run, is_new=past.before is None)
        return run

    def _keep_failed(self, wanted: Wanted, run_id: str, began: datetime, error: SdpError) -> None:
        """Best effort: what is away may be what it would be kept in."""
        start, end = wanted.window or default_window(began, floor_hour(began - self.grace), None)
        done, failed = self.now(), RunState.FAILED
        self.failed = Run(run_id, self.topic, began, done, start, end, failed, None, failure=str(error))
        try:
            self.history.save(self.failed, is_new=wanted.run_id is None)
        except Exception:  # noqa: BLE001 the first error is the one that counts
            return

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self.on_step(name)
        start = time.monotonic()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - start


def proven_window(run: Run) -> list[Window]:
    """What a run has looked at when it was settled; nothing if the offsets do not add up."""
    if run.settled_until is None or not run.adds_up:
        return []
    found = (run.window_from, min(run.window_until, run.settled_until))
    return [found] if found[0] < found[1] else []


def _held_by(until: datetime, open_hours: Mapping[datetime, OpenFindings]) -> str:
    """Why the watermark does not go on, though later hours are proven."""
    first, behind = open_hours[until], sum(hour > until for hour in open_hours)
    others = f"{counted(behind, 'later hour')} {'has' if behind == 1 else 'have'} some, too; " if behind else ""
    return (
        f"the completeness watermark is held at {until:%F %H:%M} by open findings of that hour ({first.findings:,}); "
        f"{others}run: sdp repair {first.last_run_id}"
    )


def _new_id(now: datetime) -> str:
    return f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
