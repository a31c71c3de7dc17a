"""``sdp airflow``: a real Airflow with the DAGs of this repository, beside the local stack."""

from __future__ import annotations

import signal
import time
from typing import Annotated, Any

import typer

from pipelines.cli.options import Env, Interrupted, Set, local, on_interrupt, say, tell
from stack import airflow, dist

CHECK_S = 1.0


def register(app: typer.Typer) -> None:
    """Add this command to ``sdp``."""
    app.command("airflow")(serve)


def serve(
    command: Annotated[
        list[str] | None, typer.Argument(help="After --: a command of Airflow itself, instead of a start.")
    ] = None,
    env: Env = None,
    overrides: Set = None,
) -> None:
    """Start Airflow with the DAGs loaded and show where; Ctrl-C or SIGTERM stops all of it.

    Example: sdp airflow --set stack.airflow_port=18080

    Beside a running one: sdp airflow -- backfill create --dag-id api6_reconciliation --from-date 2026-03-01 --to-date
    2026-03-03. Runs, connections and variables are kept in the home; `sdp stack down --purge` removes them.
    """
    settings = local(env, overrides)
    dist.fetch(settings, [airflow.DIST_SET])
    if command:
        raise typer.Exit(airflow.run_command(settings, command))
    stopped = "Airflow is stopped: tasks that ran were told to stop, and are tried again after the next start"
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        tell("starting Airflow, about 20 s; its logs are in " + str(settings.stack_path / "logs"))
        with on_interrupt(stopped), airflow.running(settings) as found:
            say(f"Airflow   {found.url}")
            say(f"user      {airflow.USER}")
            say(f"password  {found.password}   (also in {found.password_file})")
            tell("DAGs are paused until you switch them on. Ctrl-C stops Airflow; the servers of the stack go on")
            while True:
                time.sleep(CHECK_S)
                airflow.check(settings)
    except Interrupted as interrupt:
        tell(str(interrupt))
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
