"""``sdp reconcile`` and ``sdp complete``: prove that all sides hold the same records, and up to when."""

from __future__ import annotations

import threading
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.options import Env, Json, Set, err, load, on_interrupt, out, print_json, say
from pipelines.cli.window import parse_when
from pipelines.errors import UsageError
from pipelines.reconcile.hours import ceil_hour, floor_hour
from pipelines.reconcile.model import Run, Verdict

if TYPE_CHECKING:
    from pipelines.reconcile.hours import Window

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
Report = Annotated[Path | None, typer.Option("--report", help="Folder for the report of the run (HTML and JSON).")]

_ID = r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}"
_STYLES = {Verdict.OK: "bold green", Verdict.WARNING: "bold yellow"}


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
    report: Report = None,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Compare Kafka, tables and indices, and name every record that is missing, doubled or different.

    Example: sdp reconcile --from 2026-01-31T00:00 --to 2026-02-01T00:00 --sample 100

    Without --from: the settled hours of the last day that no run has proven yet. Hours are those of the event, UTC,
    and taken as a whole. Findings are kept: `sdp repair latest` puts them right. Exit codes: 1 there is an open finding
    or the offsets do not add up, 2 wrong use, 3 a server was away for longer than reconcile.retry_for_s: then nothing
    is said about the data.
    """
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not
    from pipelines.flows.reconcile import Wanted, adds_up
    from pipelines.monitoring import logs

    wanted = Wanted(asked_window(since, until, datetime.now(UTC)), deep, sample, seed, checked_id(run_id))
    logs.configure(pretty=True)
    stop = threading.Event()
    cut_off = "interrupted: nothing was kept of this run; run the same command again"
    with on_interrupt(cut_off), err.status("starting …") as status:
        flow = bootstrap.reconcile(load(env, overrides), None, lambda step: status.update(f"{step} …"), stop)
        run = flow.run(wanted)
    print_json(as_data(run)) if as_json else show(run)
    if report is not None:
        raise UsageError("--report is not there yet")
    if run.discrepant or not adds_up(run):
        raise typer.Exit(1)


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
    return asdict(run) | {"share": run.share}


def show(run: Run) -> None:
    """The run on one screen."""
    word = run.verdict or Verdict.OK
    say(
        f"{word.upper()}: {run.discrepant:,} of {run.records:,} records are not the same everywhere ({run.share:.4%})",
        _STYLES.get(word, "bold red"),
    )
    say(f"run {run.run_id}, {run.window_from:%Y-%m-%d %H:%M} to {run.window_until:%Y-%m-%d %H:%M} UTC")
    if run.kinds:
        table = Table("kind", "side", "findings")
        for kind, side, findings in run.kinds:
            table.add_row(kind, side, f"{findings:,}")
        out.print(table)
    for note in run.notes:
        say(f"note: {note}")
    until = run.complete_until
    say(f"complete until {until:%Y-%m-%d %H:%M} UTC" if until else "nothing is proven complete yet")
