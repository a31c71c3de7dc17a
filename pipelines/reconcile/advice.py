"""A run in words: what it proved and what to do next. Page, JSON and terminal say the same."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pipelines.reconcile.model import Kind, Run, RunState, Side, Verdict
from pipelines.reconcile.wording import counted, iso, outcome, percent, shown, utc

RUNBOOK = "docs/runbook.md"
REMOVED_ON_DEMAND = (Kind.EXTRA, Kind.DOUBLED, Kind.MISPLACED)


@dataclass(frozen=True, slots=True)
class Mended:
    """What a repair at once has made of the findings. ``again``: ids of the runs that compared the hours once more."""

    repair_id: str
    closed: int
    left: int
    stopped: bool = False
    again: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: why, and the command if there is one."""

    text: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """``name``: of the verdict, or ``failed`` or ``running``. ``page``: where the runbook goes on."""

    name: str
    headline: str
    steps: tuple[Step, ...]
    page: str


def advise(run: Run, mended: Mended | None = None) -> Advice:
    """What a person should know and do first; ``mended``: by a repair at once."""
    name = outcome(run)
    page = f"{RUNBOOK}#reconciliation-{name}"
    if name in (RunState.FAILED, RunState.RUNNING):
        return Advice(name, _unproven(run), _again(run), page)
    is_mended = mended is not None and not (mended.left or mended.stopped)
    cure = () if is_mended else _cure(run)
    return Advice(name, f"{_result(run)}{_mended(mended)}", (*_offsets(run), *cure), page)


def _unproven(run: Run) -> str:
    if run.state is RunState.RUNNING:
        return "The run has not ended. It proves nothing yet."
    return "The run failed and proves nothing: neither that records are missing nor that all are there."


def _result(run: Run) -> str:
    if not run.records and not run.discrepant:
        return "No record belongs to this window: there was nothing to compare."
    explained = sum(count for kind, _, count in run.kinds if kind == Kind.ACCOUNTED_AS_INVALID)
    also = f" {counted(explained)} refused by one job, which says why." if explained else ""
    also += "" if run.adds_up else " Offsets and ledger do not add up."
    also += " Indices hold documents that are nobody's: the notes name them." if is_doubted(run) else ""
    also += _unsettled(run)
    if not run.discrepant:
        return f"{_all(run.records)} the same on all sides.{also}"
    return f"{_wrong(run)}; {_lost(run)}.{_small(run)}{also}"


def is_doubted(run: Run) -> bool:
    """Whether something is wrong though no record is and offsets add up: documents that are nobody's."""
    return run.verdict is Verdict.WARNING and not run.discrepant and run.adds_up


def _small(run: Run) -> str:
    """Why a run that is ok ends with exit code 1."""
    if run.verdict is not Verdict.OK:
        return ""
    return " Too few for an alarm, but their hours are not proven while these findings are open."


def _unsettled(run: Run) -> str:
    if run.settled_until is None or utc(run.settled_until) >= utc(run.window_until):
        return ""
    since = shown(max(run.settled_until, run.window_from, key=utc))
    return f" Hours from {since} UTC on can still change: a later run proves them."


def _mended(mended: Mended | None) -> str:
    if mended is None:
        return ""
    if mended.stopped:
        return " A repair was begun and stopped before its end."
    return f" Repaired since: {counted(mended.closed, 'finding')} closed, {mended.left:,} left."


def _wrong(run: Run) -> str:
    if not run.records:
        return f"{counted(run.discrepant)} where none should be"
    verb = "is" if run.discrepant == 1 else "are"
    return f"{run.discrepant:,} of {counted(run.records)} ({percent(run.share)}) {verb} not the same on all sides"


def _lost(run: Run) -> str:
    if not run.lost:
        return "none is lost"
    if run.lost == run.discrepant == 1:
        return "it is lost without an explanation"
    return f"{run.lost:,} of them {'is' if run.lost == 1 else 'are'} lost without an explanation"


def _all(records: int) -> str:
    return "The one record is" if records == 1 else f"All {records:,} records are"


def _again(run: Run) -> tuple[Step, ...]:
    deep = " --deep" if run.deep else ""
    window = f"--from {iso(run.window_from)} --to {iso(run.window_until)}{deep}"
    if run.state is RunState.RUNNING:
        return (
            Step(
                "Wait until it ends. If nothing runs any more it was killed: start it again.", f"sdp reconcile {window}"
            ),
        )
    return (
        Step("See which server is away, and bring it back.", "sdp doctor"),
        Step("Then compare the same window again.", f"sdp reconcile {window}"),
    )


def _offsets(run: Run) -> tuple[Step, ...]:
    if run.adds_up:
        return ()
    return (
        Step(
            "Offsets that are in no batch, or in several: the table of offsets says which job and partition.",
            "sdp status",
        ),
    )


def _cure(run: Run) -> tuple[Step, ...]:
    if not run.discrepant:
        return ()
    repair = f"sdp repair {shlex.quote(run.run_id)}"
    steps = [
        Step("See what a repair would do; it changes nothing.", f"{repair} --dry-run"),
        Step("Repair. It ends by comparing the touched hours again.", repair),
    ]
    if any(kind in REMOVED_ON_DEMAND and side == Side.ELASTICSEARCH for kind, side, _ in run.kinds):
        steps.append(Step("Documents that should not be there go only if you say so.", f"{repair} --delete-extras"))
    return (*_before_repair(run.verdict), *steps)


def _before_repair(verdict: Verdict | None) -> tuple[Step, ...]:
    look = Step("Find the cause first: do both jobs go on, and do their sums add up?", "sdp status")
    if verdict is Verdict.INVESTIGATE:
        return (look,)
    if verdict is Verdict.ESCALATE:
        call = "Call who answers for the platform now: Kafka keeps for some days only what a repair needs."
        return (Step(call), look)
    return ()
