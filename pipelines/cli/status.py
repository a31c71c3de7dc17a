"""``sdp status``: where both jobs stand and whether everything adds up."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.table import Table

from pipelines.cli.options import Env, Json, Set, err, load, out, print_json, say
from pipelines.errors import Unavailable
from pipelines.flows.status import JobState, Refusals, Status
from pipelines.monitoring.logs import WARN_SHARE

NUMBERS = ("first", "until", "lag", "valid", "invalid", "gaps", "lost", "held_valid", "held_invalid")
HEADINGS = ("from", "until", "lag", "valid", "invalid", "gaps", "lost", "found valid", "found invalid")
STATES = ("open", "replayed", "unrecoverable")
RETIRED = ("retired_valid", "retired_invalid")
SHOWN_REASONS = 5
RECENT_HOURS = 24


def register(app: typer.Typer) -> None:
    """Add this command to ``sdp``."""
    app.command("status")(status)


def status(env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Show, per job and partition: last batch, lag, ledger sums, and what tables and indices really hold.

    Example: sdp status --json

    Exit code 1 if something does not add up, 3 if a server is away.
    """
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    with err.status("reading ledger, tables and indices …"):
        found = bootstrap.status(load(env, overrides))
        jobs, away = job_states(found)
        recent, last = found.refusals(datetime.now(UTC) - timedelta(hours=RECENT_HOURS))
        until = found.complete_until()
    more = {"refused": refused_data(recent, last), "complete_until": until}
    print_json(as_data(jobs, away) | more) if as_json else show(jobs, away)
    if not as_json:
        show_refused(recent, last)
        say(f"proven complete until {until:%Y-%m-%d %H:%M} UTC" if until else "nothing is proven complete yet")
    if any(job.problems for job in jobs):
        raise typer.Exit(1)
    if away:
        raise typer.Exit(away.exit_code)


def job_states(found: Status) -> tuple[list[JobState], Unavailable | None]:
    """Both jobs, or the first one and why the second can't be seen."""
    ingest = found.ingest()
    try:
        return [ingest, found.index()], None
    except Unavailable as error:
        return [ingest], error


def refused_data(recent: Refusals, last: Refusals | None) -> dict[str, Any]:
    """Both as JSON; ``last_batch`` is null if the last batch is older than that."""
    window = {"hours": RECENT_HOURS, **_refused_data(recent)}
    return window | {"last_batch": None if last is None else _refused_data(last)}


def _refused_data(found: Refusals) -> dict[str, Any]:
    return {"rows": found.rows, "judged": found.judged, "share": found.share, "reasons": dict(found.reasons)}


def show_refused(recent: Refusals, last: Refusals | None) -> None:
    """One line; a warning where more is refused than should be, in the window or in the last batch alone."""
    if last is None or not recent.rows:
        return
    top = ", ".join(f"{code} {rows:,}" for code, rows in list(recent.reasons.items())[:SHOWN_REASONS])
    line = (
        f"refused in the last {RECENT_HOURS} hours: {recent.rows:,} records, {recent.share:.2%} of those read; {top}; "
        f"in the last batch: {last.rows:,}, {last.share:.2%}"
    )
    style = None
    if max(recent.share, last.share) > WARN_SHARE:
        style = "yellow"
        line = f"WARNING, more than {WARN_SHARE:.0%} is refused. {line}. `sdp badrows list` shows where and when"
    say(line, style)


def show(jobs: list[JobState], away: Unavailable | None = None) -> None:
    """Print one table per job and the verdict."""
    for job in jobs:
        out.print(_table(job))
        _print_verdict(job)
    if away:
        out.print(f"index: {away}", style="red", markup=False, soft_wrap=True)


def as_data(jobs: list[JobState], away: Unavailable | None = None) -> dict[str, Any]:
    """The same as one JSON object."""
    return {
        **{
            job.job: {
                "last_batch": job.last_batch,
                "last_committed_at": job.last_committed_at,
                "lag": job.total("lag"),
                **{name: job.total(name) for name in (*NUMBERS[3:], *STATES, *RETIRED)},
                "adds_up": not job.problems,
                "problems": job.problems,
                "partitions": [{**asdict(p), "lag": p.lag} for p in job.partitions],
            }
            for job in jobs
        },
        "unavailable": str(away) if away else None,
    }


def _table(job: JobState) -> Table:
    last = (
        "no batch yet"
        if job.last_batch is None
        else f"last batch {job.last_batch} at {job.last_committed_at:%F %T} UTC"
    )
    table = Table(title=f"{job.job}: {last}", title_justify="left")
    for heading in ("partition", *HEADINGS):
        table.add_column(heading, justify="right")
    for p in job.partitions:
        table.add_row(str(p.partition), *(f"{getattr(p, name):,}" for name in NUMBERS))
    table.add_section()
    table.add_row("all", "", "", *(f"{job.total(name):,}" for name in NUMBERS[2:]), style="bold")
    return table


def _print_verdict(job: JobState) -> None:
    if job.problems:
        out.print(f"{job.job}: DOES NOT ADD UP", style="bold red")
        for text in job.problems:
            out.print(f"  {text}", markup=False, soft_wrap=True)
        return
    read = job.total("until") - job.total("first")
    parts = " + ".join(f"{job.total(name):,} {name}" for name in ("valid", "invalid", "gaps", "lost"))
    out.print(
        f"{job.job}: {read:,} offsets read = {parts}, and the rows found are the same: it adds up",
        style="bold green",
        soft_wrap=True,
    )
    retired = job.total("retired_valid") + job.total("retired_invalid")
    if retired:
        out.print(f"{job.job}: {retired:,} of them are retired: too old to be kept", soft_wrap=True)
    if job.total("open") != job.total("held_invalid"):
        states = ", ".join(f"{job.total(name):,} {name}" for name in STATES)
        out.print(f"{job.job}: invalid rows by state: {states}; a replayed one is a valid row as well", soft_wrap=True)
