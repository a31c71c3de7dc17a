"""``sdp maintain``: the upkeep of tables, indices and checkpoints, one task per call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import Env, Json, Set, err, load, on_interrupt, print_json, say
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.bootstrap_maintenance import Maintenance
    from pipelines.maintenance.step import Step, Told

CUT_OFF = "interrupted: the steps that were printed are done; run the same command again to go on"

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, change nothing.")]
Force = Annotated[
    bool, typer.Option("--force", help="Accept a maintenance.vacuum_hours below 168: no query or job may run.")
]
Open = Annotated[
    list[str] | None,
    typer.Option("--open", metavar="DAY", help="Only this: make the index of a day (YYYY-MM-DD) writable. Repeatable."),
]

group = typer.Typer(help="Upkeep of tables, indices and checkpoints.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group to ``sdp``."""
    app.add_typer(group, name="maintain")


@group.command()
def optimize(dry_run: DryRun = False, env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Merge the small files of settled partitions, in all tables. No row changes; jobs may run.

    Example: sdp maintain optimize --dry-run

    A partition is settled maintenance.settle_hours after its end. Exit codes: 2 another copy runs, 3 a server is away.
    """
    with _shown("optimize", dry_run, as_json) as tell:
        _wired(env, overrides).optimize(datetime.now(UTC), tell, dry_run=dry_run)


@group.command()
def vacuum(
    dry_run: DryRun = False, force: Force = False, env: Env = None, overrides: Set = None, as_json: Json = False
) -> None:
    """Retire rows older than maintenance.table_days, then delete files that no table needs any more.

    Example: sdp maintain vacuum --dry-run

    Of invalid rows those that are open stay, unless maintenance.drop_open is set. What is retired is written to
    sdp.retirements first, so `sdp status` still adds up. Exit codes: 2 wrong use, or a replay or another copy runs; 3 a
    server is away.
    """
    with _shown("vacuum", dry_run, as_json) as tell:
        _wired(env, overrides).vacuum(datetime.now(UTC), tell, dry_run=dry_run, force=force)


@group.command()
def indices(
    dry_run: DryRun = False,
    open_days: Open = None,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Make old daily indices read-only and merge them, and delete the oldest; by ILM where the cluster has it.

    Example: sdp maintain indices --dry-run

    The day in the name counts: read-only and merged from maintenance.hot_days on, deleted on maintenance.delete_days.
    With --open, nothing but that: the index of the day can be written to until the next run. Exit codes: 2 wrong use or
    another copy runs, 3 a server is away.
    """
    days = [_day(text) for text in open_days or ()]
    if days and dry_run:
        raise UsageError("--open and --dry-run do not go together")
    with _shown("indices", dry_run, as_json) as tell:
        wired = _wired(env, overrides)
        for day in days:
            wired.open_index(day, tell)
        if not days:
            wired.indices(datetime.now(UTC), tell, dry_run=dry_run)


@group.command()
def checkpoints(dry_run: DryRun = False, env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Delete checkpoints that a recovery set aside long ago, and roll up the oldest rows of the ledger.

    Example: sdp maintain checkpoints --dry-run

    A living checkpoint is never touched. Rows of the ledger older than maintenance.ledger_days become one per job and
    Kafka partition; sums and positions stay. Exit codes: 1 those rows do not add up, 2 another copy runs, 3 a server is
    away.
    """
    with _shown("checkpoints", dry_run, as_json) as tell:
        _wired(env, overrides).checkpoints(datetime.now(UTC), tell, dry_run=dry_run)


@contextmanager
def _shown(task: str, dry_run: bool, as_json: bool) -> Iterator[Told]:
    """Gives what prints each step once it is done; as JSON all of them at the end, those before an error as well."""
    steps: list[Step] = []
    waiting = err.status(f"{task} …")

    def tell(step: Step) -> None:
        steps.append(step)
        if not as_json:
            waiting.stop()  # both write to one terminal
            say(f"{'would ' if dry_run else ''}{step.action}: {step.target}: {step.detail}")
            waiting.start()

    try:
        with on_interrupt(CUT_OFF), waiting:
            yield tell
    finally:
        if as_json:
            print_json({"task": task, "dry_run": dry_run, "steps": [asdict(step) for step in steps]})
    if not (steps or as_json):
        say(f"{task}: nothing to do", style="bold green")


def _wired(env: str | None, overrides: list[str] | None) -> Maintenance:
    from pipelines import bootstrap_maintenance  # pyspark takes a second to import; --help should not

    return bootstrap_maintenance.maintenance(load(env, overrides))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--open takes a day such as 2026-01-31, not {text!r}") from None
