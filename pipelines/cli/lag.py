"""``sdp lag``: how far the jobs are behind, for the hourly check."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.options import Env, Json, Set, err, load, out, print_json, say

if TYPE_CHECKING:
    from pipelines.maintenance.lag import JobLag

MaxRecords = Annotated[
    int | None, typer.Option("--max-records", min=0, help="Most records of a job that may wait; else lag.max_records.")
]
MaxAge = Annotated[
    float | None, typer.Option("--max-age-s", min=0, help="Longest that one may wait, seconds; else lag.max_age_s.")
]


def register(app: typer.Typer) -> None:
    """Add this command to ``sdp``."""
    app.command("lag")(lag)


def lag(
    max_records: MaxRecords = None,
    max_age_s: MaxAge = None,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Show how many records wait for each job, and since when the oldest of them does.

    Example: sdp lag --max-records 50000

    Positions come from the ledger, so only what is confirmed counts as read. Exit code 1 if a job is above a limit, or
    Kafka deleted what nobody had read; 3 if a server is away.
    """
    from pipelines import bootstrap_maintenance  # pyspark takes a second to import; --help should not

    given = {"lag.max_records": max_records, "lag.max_age_s": max_age_s}
    chosen = [f"{key}={value}" for key, value in given.items() if value is not None]
    with err.status("reading ledger and offsets …"):
        jobs = bootstrap_maintenance.lag(load(env, [*(overrides or []), *chosen]))(datetime.now(UTC))
    problems = [text for job in jobs for text in job.problems]
    print_json(as_data(jobs)) if as_json else show(jobs)
    if problems:
        raise typer.Exit(1)


def as_data(jobs: list[JobLag]) -> dict[str, Any]:
    """Each job as JSON. ``oldest_s``, ``age_s``: null if nothing waits, or without a timestamp."""
    return {
        job.job: {
            "records": job.records,
            "oldest_s": job.oldest_s,
            "max_records": job.limits.max_records,
            "max_age_s": job.limits.max_age_s,
            "problems": job.problems,
            "partitions": [
                {
                    "partition": p.partition,
                    "position": p.position,
                    "kafka_from": p.earliest,
                    "kafka_until": p.latest,
                    "records": p.records,
                    "age_s": job.age_s(p),
                    "gone": p.gone,
                }
                for p in job.partitions
            ],
        }
        for job in jobs
    }


def show(jobs: list[JobLag]) -> None:
    """Print one table for both jobs and the verdict."""
    table = Table(title="Records that wait, and seconds since the oldest was produced", title_justify="left")
    table.add_column("partition", justify="right")
    for job in jobs:
        table.add_column(job.job, justify="right")
        table.add_column("age", justify="right")
    for row in zip(*(job.partitions for job in jobs), strict=True):
        cells = (text for job, p in zip(jobs, row, strict=True) for text in (f"{p.records:,}", _age(job.age_s(p))))
        table.add_row(str(row[0].partition), *cells)
    table.add_section()
    table.add_row("all", *(text for job in jobs for text in (f"{job.records:,}", _age(job.oldest_s))), style="bold")
    out.print(table)
    problems = [text for job in jobs for text in job.problems]
    for text in problems:
        say(text, style="bold red")
    if not problems:
        limits = jobs[0].limits
        say(f"both jobs are within {limits.max_records:,} records and {limits.max_age_s:,.0f} s", style="bold green")


def _age(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:,.0f} s"
