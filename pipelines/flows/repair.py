"""The findings of a run are put right, chunk after chunk, and then it is proven: in which order, and after a kill.

The journal knows a chunk before its first write and forgets it after the last one. A repair takes its findings from the
table as it was when it began, so that what is found or closed meanwhile moves nothing. What becomes of the records of
a chunk: ``repair_chunk``.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pipelines.errors import UsageError
from pipelines.flows.ports import LeaseHolder
from pipelines.flows.repair_chunk import RepairChunk
from pipelines.flows.repair_ports import ReconcileAgain, RepairBook, RepairLog
from pipelines.flows.repair_report import Pace, Report
from pipelines.flows.trouble import Patience
from pipelines.reconcile.repair_plan import windows
from pipelines.reconcile.repair_state import RepairState

OnProgress = Callable[[Report], None]


@dataclass
class Repair:
    """Repairs the findings of runs, one repair at a time. ``again``: reconciles one window."""

    topic: str
    book: RepairBook
    log: RepairLog
    lease: LeaseHolder
    chunk: RepairChunk
    again: ReconcileAgain
    patience: Patience
    on_phase: Callable[[str], None] = lambda _: None

    @property
    def stop(self) -> threading.Event:
        """Set it, and the repair ends after the running chunk."""
        return self.patience.stop

    def findings(self, asked: str) -> int:
        """Open findings of a run. Raises UsageError if there is no such run."""
        return self.patience(lambda: self.book.count(self._new(asked, "", False)))

    def forecast(
        self, asked: str, pace: Pace, *, delete_extras: bool = False, on_progress: OnProgress = lambda _: None
    ) -> Report:
        """Say what a repair would do and where it would take the records from. Writes nothing. Raises UsageError."""
        state = self.patience(partial(self._new, asked, "", delete_extras))
        report = self._report(state)
        while not self.stop.is_set():
            begun = self.patience(partial(self._begun, state, pace))
            if begun is None:
                return report
            report.add(self.patience(partial(self.chunk.forecast, begun)))
            on_progress(report)
            state = begun.done(set())
        report.stopped = True
        return report

    def run(
        self,
        asked: str,
        who: str,
        pace: Pace,
        *,
        delete_extras: bool = False,
        on_progress: OnProgress = lambda _: None,
    ) -> Report:
        """Repair until no finding is left or ``stop`` is set, look at the touched hours again, close what is clean.

        Raises AlreadyRunning, UsageError, and Unavailable once trouble lasts longer than ``retry_for_s``.
        """
        with self.lease.held(self.stop.set):
            self.patience(self.chunk.documents.tidy)
            fresh = self.patience(partial(self._new, asked, who, delete_extras))
            state = self._where_it_stands(fresh)
            report = self._report(state)
            report.went_on = state.repair_id != fresh.repair_id
            state = self._chunks(state, pace, report, on_progress)
            if not report.stopped:
                self._prove(state, report)
            return report

    def _new(self, asked: str, who: str, delete_extras: bool) -> RepairState:
        version = self.book.version()
        run_id, deep = self.book.meant(asked)
        return RepairState(uuid.uuid4().hex, self.topic, asked, run_id, deep, version, who, delete_extras)

    def _report(self, state: RepairState) -> Report:
        return Report(state.repair_id, state.run_id, self.patience(partial(self.book.count, state)))

    def _where_it_stands(self, fresh: RepairState) -> RepairState:
        """The same command if it was cut off, else a new repair; then the cut off chunk of another one ends first."""
        before = self.log.read()
        if before is None:
            return fresh
        if before.is_same_command(fresh):
            return before
        if before.upto is not None:
            if before.topic != self.topic:
                raise UsageError(
                    f"a repair of topic {before.topic} was cut off within a chunk: finish it first, by sdp repair "
                    f"{before.asked} --set kafka.topic={before.topic}"
                )
            self.patience(partial(self.chunk, before))
        self.log.remove()
        return fresh

    def _chunks(self, state: RepairState, pace: Pace, report: Report, on_progress: OnProgress) -> RepairState:
        while not self.stop.is_set():
            began = time.monotonic()
            if state.upto is None:
                begun = self.patience(partial(self._begun, state, pace))
                if begun is None:
                    return state
                state = begun
                self.log.write(state)
            mended = self.patience(partial(self.chunk, state))
            state = state.done(mended.hours)
            self.log.write(state)
            report.add(mended.changes)
            on_progress(report)
            if pace.rate:
                places = {change.step.place for change in mended.changes}
                self.stop.wait(max(0.0, len(places) / pace.rate - (time.monotonic() - began)))
        report.stopped = True
        return state

    def _begun(self, state: RepairState, pace: Pace) -> RepairState | None:
        upto = self.book.end_of_next(state, pace.records)
        return None if upto is None else state.begun(upto)

    def _prove(self, state: RepairState, report: Report) -> None:
        """Reconcile the touched hours, close what is clean, and forget the repair."""
        for since, until in windows(datetime.fromtimestamp(hour, UTC) for hour in state.hours):
            self.on_phase(f"reconciling {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} again")
            report.again.append(self.again(since, until, state.deep))
        report.closed, report.left = self.patience(partial(self.book.close, state, report.again))
        self.log.remove()
