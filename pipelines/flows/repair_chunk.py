"""One chunk of a repair: findings → what is to be done → the records as they should be → the sides that lack them.

It is written in an order in which a kill anywhere does no harm: rows, bad rows, documents, removals, audit trail. Every
write is one that may be repeated: of a record it leaves exactly one, whatever was there before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.flows.ports import Steps
from pipelines.flows.repair_ports import DocumentMender, Records, RepairBook, RowStore, TruthSource
from pipelines.reconcile.repair_plan import (
    Action,
    Change,
    Outcome,
    Place,
    Source,
    Step,
    barred,
    of,
    row_steps,
    steps_of,
)
from pipelines.reconcile.repair_state import RepairState
from pipelines.records import INVALID, VALID, Batch

JOB = "repair"

RIGHTFUL = "it stands where the record belongs: by now it is no extra one"
ONLY_COPY = "the document in the right place could not be written, so this one stays"


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of a chunk, and the event hours that it has changed."""

    changes: list[Change]
    hours: set[datetime]


@dataclass
class RepairChunk:
    """Takes the records of some findings to the sides that lack them, or have them wrong."""

    truth: TruthSource
    tables: RowStore
    documents: DocumentMender
    book: RepairBook
    on_step: Steps

    def __call__(self, state: RepairState) -> Mended:
        """Repair the chunk that the state has begun. Safe to repeat after a kill at any point."""
        batch = Batch(JOB, state.repair_id, state.chunk, ())
        steps, records = self._looked_up(state)
        self.on_step("looked_up", batch)
        changes = barred(steps)
        changes += self._write_rows(steps, records)
        self.on_step("rows_written", batch)
        changes += self._write_bad_rows(steps, records)
        self.on_step("bad_rows_written", batch)
        written = self._write_documents(steps, records, batch)
        self.on_step("documents_written", batch)
        changes += written
        changes += self._remove_documents(steps, records, written)
        self.on_step("documents_removed", batch)
        self.book.append(changes, state, batch)
        self.on_step("audit_written", batch)
        return Mended(changes, _hours(changes, records))

    def forecast(self, state: RepairState) -> list[Change]:
        """What the chunk would come to, as far as nobody refuses it. Writes nothing."""
        steps, records = self._looked_up(state)
        found = barred(steps)
        for step in (s for s in steps if s.barred is None):
            known = records.of(step)
            if step.action is Action.REMOVE_DOCUMENT:
                found.append(self._rightful(step, records) or Change(step, Outcome.PLANNED))
            else:
                found.append(Change(step, Outcome.PLANNED, known.source) if known else _without(step, records))
        return found

    def _looked_up(self, state: RepairState) -> tuple[list[Step], Records]:
        steps = steps_of(self.book.findings(state), delete_extras=state.delete_extras)
        return steps, self.truth.of([s for s in steps if s.barred is None])

    def _write_rows(self, steps: Sequence[Step], records: Records) -> list[Change]:
        wanted = row_steps(steps)
        chosen = _chosen(wanted, records)
        if chosen:
            self.tables.replace(VALID, records.rows(chosen))
        return [_done(s, chosen) or _without(s, records) for s in wanted]

    def _write_bad_rows(self, steps: Sequence[Step], records: Records) -> list[Change]:
        wanted = of(steps, Action.INSERT_INVALID_ROW)
        chosen = _chosen(wanted, records)
        if chosen:
            self.tables.insert_missing(INVALID, records.bad_rows([s for s, _ in chosen.values()]))
        return [_done(s, chosen) or _without(s, records) for s in wanted]

    def _write_documents(self, steps: Sequence[Step], records: Records, batch: Batch) -> list[Change]:
        wanted = of(steps, Action.WRITE_DOCUMENT)
        chosen = _chosen(wanted, records)
        refused: dict[Place, str] = {}
        if chosen:
            self.documents.prepare(records.fields)
            refused = self.documents.overwrite(records.documents(chosen), batch)
        by_cluster = {
            s.place: Change(s, Outcome.REFUSED, chosen[s.place][1], refused[s.place])
            for s in wanted
            if s.place in refused
        }
        return [by_cluster.get(s.place) or _done(s, chosen) or _without(s, records) for s in wanted]

    def _remove_documents(self, steps: Sequence[Step], records: Records, written: Sequence[Change]) -> list[Change]:
        unwritten = {change.step.place for change in written if change.outcome is not Outcome.DONE}
        changes, doomed = list[Change](), list[Step]()
        for step in of(steps, Action.REMOVE_DOCUMENT):
            if rightful := self._rightful(step, records):
                changes.append(rightful)
            elif step.place in unwritten:
                changes.append(Change(step, Outcome.SKIPPED, message=ONLY_COPY))
            else:
                doomed.append(step)
        kept = self.documents.remove([(*_address(s), s.place) for s in doomed]) if doomed else {}
        for step in doomed:
            why = kept.get(_address(step))
            changes.append(Change(step, Outcome.SKIPPED if why else Outcome.DONE, message=why))
        return changes

    def _rightful(self, step: Step, records: Records) -> Change | None:
        """A document where its record belongs is left alone, whatever the finding said of it."""
        known = records.of(step)
        if known is None or _address(step) != (self.documents.index_of(known.day), known.request_id):
            return None
        return Change(step, Outcome.SKIPPED, known.source, RIGHTFUL)


def _chosen(steps: Sequence[Step], records: Records) -> dict[Place, tuple[Step, Source]]:
    """One source for each record; of several steps on one record the first that has one decides."""
    found: dict[Place, tuple[Step, Source]] = {}
    for step in steps:
        if step.place not in found and (known := records.of(step)):
            found[step.place] = step, known.source
    return found


def _done(step: Step, chosen: dict[Place, tuple[Step, Source]]) -> Change | None:
    if step.place not in chosen:
        return None
    fields = f"differed in {', '.join(step.fields)}" if step.fields else None
    return Change(step, Outcome.DONE, chosen[step.place][1], fields)


def _without(step: Step, records: Records) -> Change:
    is_there, why = records.why_not(step)
    return Change(step, Outcome.REFUSED if is_there else Outcome.UNREPAIRABLE, message=why)


def _address(step: Step) -> tuple[str, str]:
    assert step.es_index is not None
    assert step.es_id is not None
    return step.es_index, step.es_id


def _hours(changes: Sequence[Change], records: Records) -> set[datetime]:
    """Those of the findings, and those where the records really belong."""
    steps = [c.step for c in changes if c.outcome is Outcome.DONE]
    known = [k for s in steps if s.sources and (k := records.of(s))]
    return {s.hour for s in steps} | {k.hour for k in known}
