"""``sdp repair``: put right what a reconciliation has found, and prove it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.options import Env, Json, Set, load, on_interrupt, print_json, print_table, say, spelt_out, tell
from pipelines.cli.progress import reporter
from pipelines.cli.replay import finite, login

if TYPE_CHECKING:
    from pipelines.flows.repair import Repair
    from pipelines.flows.repair_report import Pace, Report
    from pipelines.reconcile.repair_plan import Change
    from pipelines.settings import Settings

CUT_OFF = (
    "interrupted: every chunk that was finished stays. One that was cut off is finished by the next `sdp repair`; run "
    "the same command again to go on"
)
STOPPED = "stopped as asked, after the running chunk; nothing is closed yet: run the same command again to go on"

Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run of sdp reconcile, or latest.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done; write nothing.")]
DeleteExtras = Annotated[
    bool, typer.Option("--delete-extras", help="Remove documents that should not be there: extra, doubled, misplaced.")
]
Rate = Annotated[
    float | None,
    typer.Option(min=0, callback=finite, help="Records a second at most; 0: no limit. Default: repair.rate."),
]
Who = Annotated[str | None, typer.Option("--as", help="Name for the audit trail; default: your login.")]


def register(app: typer.Typer) -> None:
    """Add this command to ``sdp``."""
    app.command("repair")(repair)


def repair(
    run: Run,
    dry_run: DryRun = False,
    delete_extras: DeleteExtras = False,
    rate: Rate = None,
    who: Who = None,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Take the records that a reconciliation has named to the sides that lack them or have them wrong.

    Example: sdp repair latest --dry-run

    Records come from Kafka while it has them, else from the table, the document or the raw value. Then the touched
    hours are reconciled again, and what is clean is closed. Repeating it doubles nothing: a record is its Kafka
    coordinates. Every change is in sdp.reconciliation_audit. Ctrl-C ends it after the running chunk. Exit codes: 1
    something is left that could not be repaired, 2 wrong use, 3 a server is away.
    """
    from pipelines.monitoring import logs

    logs.configure()
    with on_interrupt(CUT_OFF):
        report = carried_out(load(env, overrides), run, who, rate, delete_extras=delete_extras, dry_run=dry_run)
    if as_json:
        print_json(as_data(report, dry_run))
    else:
        show(report, dry_run)
    if report.stopped:
        tell(STOPPED)
    if not (dry_run or report.is_clean):
        raise typer.Exit(1)


def carried_out(
    settings: Settings,
    run: str,
    who: str | None = None,
    rate: float | None = None,
    *,
    delete_extras: bool = False,
    dry_run: bool = False,
) -> Report:
    """Repair a run, with progress on standard error; a signal ends it after the running chunk."""
    from pipelines import bootstrap_repair  # pyspark takes a second to import; --help should not
    from pipelines.flows.repair_report import Pace

    flow = bootstrap_repair.repair(settings, on_phase=tell)
    pace = Pace(settings.repair.rate if rate is None else rate, settings.repair.chunk)
    return _run(flow, run, who or login(), pace, delete_extras, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class _Progress:
    """A report as the progress bar wants it."""

    acknowledged: int
    failed: int


def _run(flow: Repair, run: str, who: str, pace: Pace, delete_extras: bool, *, dry_run: bool) -> Report:
    from pipelines import bootstrap
    from pipelines.reconcile.repair_plan import Outcome

    def told(_: str) -> None:
        tell("stopping after the running chunk")

    findings = flow.findings(run)
    with bootstrap.stopping_on_signals(flow.stop, told), reporter(findings, "findings") as on_progress:

        def told_so_far(report: Report) -> None:
            failed = report.count(Outcome.REFUSED, Outcome.UNREPAIRABLE)
            on_progress(_Progress(min(report.findings, report.count(*Outcome)), failed))

        if dry_run:
            return flow.forecast(run, pace, delete_extras=delete_extras, on_progress=told_so_far)
        return flow.run(run, who, pace, delete_extras=delete_extras, on_progress=told_so_far)


def as_data(report: Report, dry_run: bool = False) -> dict[str, Any]:
    """A repair as JSON."""
    deeds = [
        {
            "kind": deed.kind,
            "side": deed.side,
            "action": deed.action,
            "source": deed.source or None,
            "outcome": deed.outcome,
            "changes": number,
            "samples": [_sample(change) for change in report.samples.get(deed, ())],
        }
        for deed, number in report.deeds.most_common()
    ]
    return {
        "run_id": report.run_id,
        "repair_id": None if dry_run else report.repair_id,
        "dry_run": dry_run,
        "findings": report.findings,
        "deeds": deeds,
        "went_on": report.went_on,
        "stopped": report.stopped,
        "again": report.again,
        "closed": report.closed,
        "left": report.left,
    }


def _sample(change: Change) -> dict[str, Any]:
    step = change.step
    return {
        "partition": step.place.partition,
        "offset": step.place.offset,
        "request_id": step.request_id,
        "es_index": step.es_index,
        "es_id": step.es_id,
        "message": change.message,
    }


def show(report: Report, dry_run: bool = False) -> None:
    """What was done about which findings, and what is left."""
    if not report.findings and not report.went_on:
        say(f"run {report.run_id} has no open finding: nothing to repair")
        return
    what = f"dry run of a repair of run {report.run_id}" if dry_run else f"repair {report.repair_id} of {report.run_id}"
    say(f"{what}: {report.findings:,} open findings")
    if report.went_on:
        say("this repair was cut off before and went on; for what was found since then, run the command once more")
    print_table(_table(report))
    if dry_run or report.stopped:
        return
    if report.again:
        say(f"reconciled again: {', '.join(report.again)}")
    say(f"{report.closed:,} findings closed, {report.left:,} left", style="red" if report.left else "green")


def _table(report: Report) -> Table:
    table = Table(title_justify="left")
    for heading in ("what", "side", "action", "from", "outcome", "changes"):
        table.add_column(heading, no_wrap=True)
    table.add_column("for example", overflow="fold")  # an id is broken, never cut: people copy it
    for deed, number in report.deeds.most_common():
        samples = "\n".join(_line(change) for change in report.samples.get(deed, ()))
        table.add_row(deed.kind, deed.side, deed.action, deed.source, deed.outcome, f"{number:,}", Text(samples))
    return table


def _line(change: Change) -> str:
    step = change.step
    place = f"{step.place.partition}@{step.place.offset}"
    document = f"{step.es_index}/{step.es_id}" if step.es_index else step.request_id or ""
    return spelt_out(" ".join(filter(None, (place, document, change.message))))
