"""``sdp reconcile`` and ``sdp complete``: prove that all sides hold the same records, and up to when."""

from __future__ import annotations

import threading
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli import reconcile_report, reconcile_summary
from pipelines.cli import repair as repair_command
from pipelines.cli.options import Env, Json, Set, err, load, on_interrupt, print_json, say, tell
from pipelines.cli.window import parse_when
from pipelines.errors import SdpError, UsageError
from pipelines.reconcile.advice import Mended, is_doubted
from pipelines.reconcile.hours import ceil_hour, floor_hour
from pipelines.reconcile.model import Run
from pipelines.reconcile.wording import Limits

if TYPE_CHECKING:
    from pipelines.flows.reconcile import Wanted
    from pipelines.flows.repair_report import Report as Repaired
    from pipelines.reconcile.hours import Window
    from pipelines.reconcile.report import Report
    from pipelines.settings import Settings

From = Annotated[
    str | None, typer.Option("--from", help="First hour, of the event: 2h, 7d before now, or an ISO time (UTC).")
]
To = Annotated[str | None, typer.Option("--to", help="End, left out itself; in the same words. Default: now.")]
Deep = Annotated[bool, typer.Option("--deep", help="Read every row and document, and compare all of it.")]
Sample = Annotated[
    int,
    typer.Option("--sample", min=0, max=100_000, help="Compare so many random records in Kafka, table and indices."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed draws the same sample.")]
RunId = Annotated[
    str | None,
    typer.Option("--run-id", help="Name of the run. One that is done is shown again, one that failed is repeated."),
]
Folder = Annotated[Path | None, typer.Option("--report", help="Folder for the report of the run (HTML and JSON).")]
AtOnce = Annotated[
    bool, typer.Option("--repair", help="If there are open findings, repair them at once, and report what is left.")
]

_ID = r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}"


def register(app: typer.Typer) -> None:
    """Add these commands to ``sdp``."""
    app.command("reconcile")(reconcile)
    app.command("complete")(complete)


def reconcile(
    since: From = None,
    until: To = None,
    deep: Deep = False,
    sample: Sample = 0,
    seed: Seed = 0,
    run_id: RunId = None,
    report: Folder = None,
    repair: AtOnce = False,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Compare Kafka, tables and indices, and name every record that is missing, doubled or different.

    Example: sdp reconcile --from 2026-01-31T00:00 --to 2026-02-01T00:00 --sample 100

    Without --from: the settled hours of the last day that no run has proven yet. Hours are those of the event, UTC,
    and taken as a whole. Findings are kept: `sdp repair latest`, or --repair at once, puts them right. Exit codes: 1
    there is an open finding (with --repair: one is left) or the offsets do not add up, 2 wrong use, 3 a server was away
    for longer than reconcile.retry_for_s: then nothing is said about the data.
    """
    from pipelines.flows.reconcile import Wanted  # pyspark takes a second to import; --help should not
    from pipelines.monitoring import logs

    wanted = Wanted(asked_window(since, until, datetime.now(UTC)), deep, sample, seed, checked_id(run_id))
    settings = load(env, overrides)
    folder = reconcile_report.made(report) if report else None
    logs.configure(pretty=True)
    run, reported = _compared(settings, wanted, folder)
    mended = None
    if repair and run.discrepant:
        mended = _mended(settings, run)
        run = replace(run, complete_until=_watermark(settings))
        if folder and reported:
            reconcile_report.write(folder, replace(reported, run=run, mended=_in_brief(mended)))
    page = folder / f"{run.run_id}.html" if folder else None
    _tell_result(run, mended, page, as_json=as_json)
    is_clean = mended.is_clean if mended else not run.discrepant
    if not (is_clean and run.adds_up) or is_doubted(run):
        raise typer.Exit(1)


def _compared(settings: Settings, wanted: Wanted, folder: Path | None) -> tuple[Run, Report | None]:
    """The run, and its report if there is a folder for it; a failed run has one, too."""
    from pipelines import bootstrap

    limits = Limits(settings.reconcile.investigate_share, settings.reconcile.escalate_share)
    stop = threading.Event()
    cut_off = "interrupted: nothing was kept of this run; run the same command again"
    with on_interrupt(cut_off), err.status("starting …") as status:
        flow = bootstrap.reconcile(settings, None, lambda step: status.update(f"{step} …"), stop)
        try:
            run = flow.run(wanted)
        except SdpError:
            if folder and flow.failed:
                status.update("writing the report …")
                _report_failed(settings, flow.failed, limits, folder)
            raise
    if folder is None:
        return run, None
    kept = "interrupted: the run is kept, but has no report; name it by --run-id to get one: " + run.run_id
    with on_interrupt(kept), err.status("writing the report …"):
        report = reconcile_report.gathered(bootstrap.reconciliations(settings), run, limits)
        reconcile_report.write(folder, report)
    return run, report


def _report_failed(settings: Settings, run: Run, limits: Limits, folder: Path) -> None:
    """Best effort: the error that made the run fail is the one that counts."""
    from pipelines import bootstrap

    report = reconcile_report.of_failed(lambda: bootstrap.reconciliations(settings), run, limits)
    try:
        tell(f"report: {reconcile_report.write(folder, report)}")
    except UsageError as error:
        tell(str(error), "red")


def _mended(settings: Settings, run: Run) -> Repaired:
    """Repair the run's findings at once, as ``sdp repair`` does."""
    tell(f"repairing {run.discrepant:,} records of run {run.run_id}")
    go_on = f"sdp repair {run.run_id}"
    with on_interrupt(f"interrupted: every chunk that was finished stays; `{go_on}` goes on"):
        found = repair_command.carried_out(settings, run.run_id)
    if found.stopped:
        tell(f"stopped as asked, after the running chunk; nothing is closed yet: `{go_on}` goes on")
    return found


def _watermark(settings: Settings) -> datetime | None:
    """As it is after a repair, which has compared the touched hours once more."""
    from pipelines import bootstrap

    return bootstrap.completeness(settings).until()


def _in_brief(found: Repaired) -> Mended:
    return Mended(found.repair_id, found.closed, found.left, found.stopped, tuple(found.again))


def _tell_result(run: Run, mended: Repaired | None, page: Path | None, *, as_json: bool) -> None:
    if as_json:
        more = {"repair": repair_command.as_data(mended) if mended else None, "report": page and str(page)}
        print_json(as_data(run) | more)
        return
    if mended:
        repair_command.show(mended)
    reconcile_summary.show(run, _in_brief(mended) if mended else None)
    if page:
        say(f"report: {page}")


def complete(
    until: Annotated[str | None, typer.Option("--until", help="Exit code 1 unless everything up to here is.")] = None,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Show the completeness watermark: the hour up to which every record is proven to be everywhere.

    Example: sdp complete --until 2026-01-31T12:00

    `sdp reconcile` moves it. Exit codes: 1 with --until while the watermark is below it, 3 infrastructure unavailable.
    """
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    wanted = ceil_hour(parse_when(until, datetime.now(UTC))) if until else None
    with err.status("reading the watermark …"):
        found = bootstrap.completeness(load(env, overrides)).until()
    is_reached = wanted is None or (found is not None and found >= wanted)
    if as_json:
        print_json({"complete_until": found, "wanted": wanted, "reached": is_reached})
    else:
        say(f"complete until {found:%Y-%m-%d %H:%M} UTC" if found else "nothing is proven complete: run sdp reconcile")
        if wanted is not None and not is_reached:
            say(f"not yet complete until {wanted:%Y-%m-%d %H:%M} UTC", "yellow")
    if not is_reached:
        raise typer.Exit(1)


def asked_window(since: str | None, until: str | None, now: datetime) -> Window | None:
    """Whole hours between both, or None if nobody says. Raises UsageError and typer.BadParameter."""
    if since is None:
        if until is not None:
            raise UsageError("--to takes --from: without it the settled hours that are not proven yet are looked at")
        return None
    start, end = floor_hour(parse_when(since, now)), ceil_hour(parse_when(until or "now", now))
    if start >= end:
        raise UsageError(f"--from {since} is not before --to {until}")
    return start, end


def checked_id(run_id: str | None) -> str | None:
    """The id of a run, if it may be one. Raises UsageError."""
    import re

    if run_id is not None and not re.fullmatch(_ID, run_id):
        raise UsageError(f"--run-id {run_id!r}: letters, digits and . _ : + -, at most 128")
    return run_id


def as_data(run: Run) -> dict[str, Any]:
    """A run as JSON."""
    return asdict(run) | {"share": run.share, "adds_up": run.adds_up}
