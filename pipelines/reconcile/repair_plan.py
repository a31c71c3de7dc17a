"""What a repair does about a finding: which side it writes, and whom it believes, most trusted first. No Spark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pipelines.reconcile.model import Finding, Kind, Side

JOB_OF = {Side.TABLE: "ingest", Side.INVALID: "ingest", Side.ELASTICSEARCH: "index"}
"""Whose rules decide what a side holds: those of that job's first try (law 7)."""


class Source(StrEnum):
    """Where the record is taken from. ``invalid``: the untouched value in one of the tables of bad rows."""

    KAFKA = "kafka"
    TABLE = "table"
    DOCUMENT = "document"
    INVALID = "invalid"


class Action(StrEnum):
    """What is done to a side. After each of the first three the table holds the record exactly once."""

    INSERT_ROW = "insert_row"
    REPLACE_ROW = "replace_row"
    KEEP_ONE_ROW = "keep_one_row"
    INSERT_INVALID_ROW = "insert_invalid_row"
    WRITE_DOCUMENT = "write_document"
    REMOVE_DOCUMENT = "remove_document"
    NOTHING = "nothing"


ROW_ACTIONS = (Action.REPLACE_ROW, Action.INSERT_ROW, Action.KEEP_ONE_ROW)
"""The first of a record decides where its row comes from."""


class Outcome(StrEnum):
    """What became of a step: ``planned`` in a dry run only; ``skipped``: not wanted, or no longer called for;
    ``refused``: the record is there, but that side does not take it; ``unrepairable``: nobody has it any more.
    """

    PLANNED = "planned"
    DONE = "done"
    SKIPPED = "skipped"
    REFUSED = "refused"
    UNREPAIRABLE = "unrepairable"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The coordinates of a record within its topic."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Step:
    """One change to one side. ``barred``: why it must not be done. ``fields``: those that differ.

    ``request_id``: None where nobody knows it, or where it is what differs.
    """

    place: Place
    kind: Kind
    side: Side
    action: Action
    hour: datetime
    sources: tuple[Source, ...] = ()
    request_id: str | None = None
    es_index: str | None = None
    es_id: str | None = None
    fields: tuple[str, ...] = ()
    barred: str | None = None

    @property
    def job(self) -> str:
        return JOB_OF[self.side]


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a step: a row of ``reconciliation_audit``."""

    step: Step
    outcome: Outcome
    source: Source | None = None
    message: str | None = None


_K, _T, _D, _I = Source.KAFKA, Source.TABLE, Source.DOCUMENT, Source.INVALID
_WRITE, _REMOVE = (Action.WRITE_DOCUMENT, (_T, _K, _I)), (Action.REMOVE_DOCUMENT, (_T, _K))
ACTIONS: dict[tuple[Kind, Side], tuple[tuple[Action, tuple[Source, ...]], ...]] = {
    (Kind.MISSING, Side.TABLE): ((Action.INSERT_ROW, (_K, _D, _I)),),
    (Kind.DIFFERS, Side.TABLE): ((Action.REPLACE_ROW, (_K, _D, _I)),),
    (Kind.MISPLACED, Side.TABLE): ((Action.REPLACE_ROW, (_K, _D, _I)),),
    (Kind.DOUBLED, Side.TABLE): ((Action.KEEP_ONE_ROW, (_K, _T, _D)),),
    (Kind.MISSING, Side.INVALID): ((Action.INSERT_INVALID_ROW, (_K,)),),
    (Kind.MISSING, Side.ELASTICSEARCH): (_WRITE,),
    (Kind.DIFFERS, Side.ELASTICSEARCH): ((Action.WRITE_DOCUMENT, (_K, _T, _I)),),
    (Kind.MISPLACED, Side.ELASTICSEARCH): (_WRITE, _REMOVE),
    (Kind.DOUBLED, Side.ELASTICSEARCH): (_WRITE, _REMOVE),
    (Kind.EXTRA, Side.ELASTICSEARCH): (_REMOVE,),
}
"""Removing needs sources too: a document that stands where the record belongs is no extra one."""

NOT_WRITABLE = {
    Side.KAFKA: "nobody writes into the past of a Kafka partition",
    Side.TABLE: "a repair removes no record from the table: look where it comes from",
    Side.INVALID: "of the table of bad rows only missing ones are brought back",
    Side.ELASTICSEARCH: "there is no repair for it",
}
NOT_WANTED = "documents are removed with --delete-extras only"
NAMELESS = "the finding does not say which document it is"


def steps_of(findings: Iterable[Finding], *, delete_extras: bool) -> list[Step]:
    """The steps of open findings, each once however many fields differ; in the order of records."""
    found: dict[tuple[object, ...], Step] = {}
    for finding in findings:
        for step in _steps(finding, delete_extras):
            key = (step.place, step.kind, step.side, step.action, step.es_index, step.es_id)
            before = found.get(key)
            found[key] = step if before is None else _with_fields(step, before.fields)
    steps = sorted(found.values(), key=lambda s: (s.place, s.side, s.action))
    doubtful = {s.place for s in steps if s.side is Side.TABLE}
    nameless = {s.place for s in steps if "request_id" in s.fields}
    steps = [replace(s, request_id=None) if s.place in nameless else s for s in steps]
    is_misled = {s: s.side is Side.ELASTICSEARCH and s.place in doubtful for s in steps}
    return [_without_faith_in_the_table(s) if is_misled[s] else s for s in steps]


def row_steps(steps: Iterable[Step]) -> list[Step]:
    """Those that write rows of the valid table."""
    return sorted(of(steps, *ROW_ACTIONS), key=lambda s: (s.place, ROW_ACTIONS.index(s.action)))


def of(steps: Iterable[Step], *actions: Action) -> list[Step]:
    """Those with one of the actions that nothing bars."""
    return [s for s in steps if s.action in actions and s.barred is None]


def barred(steps: Iterable[Step]) -> list[Change]:
    """What becomes of those that something bars."""
    out = {True: Outcome.SKIPPED, False: Outcome.UNREPAIRABLE}
    return [Change(s, out[s.barred == NOT_WANTED], message=s.barred) for s in steps if s.barred]


def windows(hours: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Event hours as windows without gaps, the end of each excluded."""
    found: list[tuple[datetime, datetime]] = []
    for at in sorted(set(hours)):
        end = at + timedelta(hours=1)
        if found and found[-1][1] == at:
            found[-1] = (found[-1][0], end)
        else:
            found.append((at, end))
    return found


def _steps(finding: Finding, delete_extras: bool) -> list[Step]:
    actions = ACTIONS.get((finding.kind, finding.side), ((Action.NOTHING, ()),))
    return [
        Step(
            place=Place(finding.kafka_partition, finding.kafka_offset),
            kind=finding.kind,
            side=finding.side,
            action=action,
            hour=finding.hour,
            sources=sources,
            request_id=finding.request_id,
            es_index=finding.es_index,
            es_id=finding.es_id,
            fields=(finding.field,) if finding.field else (),
            barred=_barred(finding, action, delete_extras),
        )
        for action, sources in actions
    ]


def _barred(finding: Finding, action: Action, delete_extras: bool) -> str | None:
    if action is Action.NOTHING:
        return NOT_WRITABLE[finding.side]
    if action is not Action.REMOVE_DOCUMENT:
        return None
    if not (finding.es_index and finding.es_id):
        return NAMELESS
    return None if delete_extras else NOT_WANTED


def _with_fields(step: Step, fields: tuple[str, ...]) -> Step:
    return replace(step, fields=tuple(sorted({*fields, *step.fields})))


def _without_faith_in_the_table(step: Step) -> Step:
    """Its row is wrong itself, so it is asked after Kafka."""
    return replace(step, sources=tuple(sorted(step.sources, key=lambda s: s is Source.TABLE and _K in step.sources)))
