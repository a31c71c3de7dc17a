"""``sdp stack`` and ``sdp doctor``: the local servers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines.cli.options import Env, Interrupted, Json, Set, err, load, local, out, print_json
from pipelines.settings import Settings
from stack import dist, doctor, lifecycle

UNAVAILABLE = 3

group = typer.Typer(
    help="Start and stop the local servers: Kafka, Elasticsearch, registry, metastore.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add these commands to ``sdp``."""
    app.add_typer(group, name="stack")
    app.command("doctor")(diagnose)


@group.command()
def up(env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Start every server that isn't running and wait until all of them answer.

    Example: sdp stack up --set stack.brokers=3 --set stack.ports.kafka=19092

    Data and ports are kept between runs: a port that isn't set stays what it was, one set to 0 is any free one. A
    node that died is started again beside the others. Two stacks run side by side when SDP_HOME and the ports differ.
    """
    settings = local(env, overrides)
    found = lifecycle.up(settings, _Board().show) if as_json or not err.is_terminal else _up_live(settings)
    print_json(found) if as_json else _print_addresses(found)


@group.command()
def down(
    env: Env = None,
    overrides: Set = None,
    purge: Annotated[bool, typer.Option("--purge", help="Also remove everything the servers and jobs stored.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before removing.")] = False,
    as_json: Json = False,
) -> None:
    """Stop every server of this home; data stay unless --purge is given.

    Example: sdp stack down --purge --yes

    Exit code 130 if --purge is not confirmed; then nothing is stopped or removed.
    """
    settings = local(env, overrides)
    folders = lifecycle.purgeable(settings) if purge else []
    if folders and not yes:
        _confirm(folders)
    stopped = lifecycle.down(settings, purge=purge)
    if as_json:
        print_json({"stopped": stopped, "removed": [str(folder) for folder in folders]})
    else:
        out.print(
            "stopped " + ", ".join(stopped) if stopped else "nothing was running", highlight=False, soft_wrap=True
        )


@group.command()
def status(env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Show where each server is and whether it answers; exit code 3 if one doesn't.

    Example: sdp stack status --json
    """
    found = lifecycle.status(local(env, overrides))
    print_json(found) if as_json else _print_status(found)
    if not all(server["running"] for server in found["servers"].values()):
        raise typer.Exit(UNAVAILABLE)


@group.command()
def fetch(
    sets: Annotated[list[str] | None, typer.Argument(help=f"Any of {', '.join(dist.known_sets())}.")] = None,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Download the pinned jars and servers, once. Without names: all that jobs and stack need.

    Example: sdp stack fetch spark yarn
    """
    settings = load(env, overrides)
    wanted = sets or list(dist.STACK_SETS)
    dist.fetch(settings, wanted)
    folders = {name: str(dist.folder(settings, name)) for name in wanted}
    if as_json:
        print_json(folders)
    else:
        for name, folder in folders.items():
            out.print(f"{name}: {folder}", highlight=False, soft_wrap=True, markup=False)


def diagnose(env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Check this machine and the servers, and say what to do about each finding; exit code 3 for a problem.

    Example: sdp doctor --json

    An address that a variable or --set puts in the place of the local stack's is tried too.
    """
    findings = doctor.examine(load(env, overrides))
    if as_json:
        print_json({"findings": [finding.as_dict() for finding in findings]})
    else:
        _print_findings(findings)
    if any(finding.level is doctor.Level.PROBLEM for finding in findings):
        raise typer.Exit(UNAVAILABLE)


def _confirm(folders: Sequence[Path]) -> None:
    err.print("This removes:", *folders, sep="\n  ", markup=False, highlight=False)
    try:
        typer.confirm("Go on?", abort=True, err=True)
    except typer.Abort:  # also Ctrl-C, and nobody there to answer
        raise Interrupted("nothing was stopped or removed; --yes removes without asking") from None


class _Board:
    """What each server is doing, one line per server; shared by the threads that start them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._doing: dict[str, str] = {}

    def show(self, server: str, doing: str) -> None:
        """Print as text."""
        with self._lock:
            err.print(f"{server}: {doing}", markup=False, highlight=False, soft_wrap=True)

    def remember(self, server: str, doing: str) -> None:
        with self._lock:
            self._doing[server] = doing

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for server, doing in sorted(self._doing.items()):
                table.add_row(server, doing)
        return table


def _up_live(settings: Settings) -> dict[str, Any]:
    dist.fetch(settings, dist.STACK_SETS, err)  # before the live board: a terminal takes one live display at a time
    board = _Board()
    with Live(board, console=err, refresh_per_second=4):
        return lifecycle.up(settings, board.remember)


def _print_addresses(found: dict[str, Any]) -> None:
    for name, address in found.items():
        out.print(f"{name:14} {address}", highlight=False, soft_wrap=True, markup=False)


def _print_status(found: dict[str, Any]) -> None:
    for name, server in found["servers"].items():
        state = "running" if server["running"] else f"not ready: {server['reason']} (log: {server['log']})"
        out.print(f"{name:14} {server['address']}  {state}", highlight=False, soft_wrap=True, markup=False)
    out.print(f"{'warehouse':14} {found['warehouse']}", highlight=False, soft_wrap=True, markup=False)


def _print_findings(findings: list[doctor.Finding]) -> None:
    style = {doctor.Level.OK: "green", doctor.Level.WARNING: "yellow", doctor.Level.PROBLEM: "red"}
    table = Table("", "checked", "found", "what to do", box=None)
    for finding in findings:
        cells = map(Text, (finding.what, finding.found, finding.advice))  # as they are: not [markup], no :emoji:
        table.add_row(Text(finding.level, style[finding.level]), *cells)
    out.print(table)
