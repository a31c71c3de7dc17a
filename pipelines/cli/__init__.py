"""API6 log platform: Kafka to Delta tables and Elasticsearch, with proof that nothing is lost.

Start with: sdp demo. By hand: sdp stack up, sdp init, sdp produce, sdp run ingest --once, sdp status.

Exit codes: 0 fine · 1 it found something wrong with the data · 2 wrong use · 3 infrastructure unavailable ·
130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from pipelines.cli import (
    airflow,
    badrows,
    demo,
    lag,
    maintain,
    options,
    produce,
    quality,
    reconcile,
    repair,
    rules,
    run,
    schemas,
    stack,
    status,
    submit,
    topics,
)
from pipelines.errors import SdpError
from pipelines.monitoring import logs

INTERRUPTED = 130
NOTHING_LOST = "interrupted: nothing is lost, run the same command again to go on"


class Commands(TyperGroup):
    """Every command. Ctrl-C ends one with a line that says what was kept; typer by itself would end it in silence."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with options.on_interrupt(NOTHING_LOST):
                return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            options.tell(str(interrupt) or NOTHING_LOST)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="sdp",
    cls=Commands,
    help=__doc__,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
demo.register(app)
stack.register(app)
airflow.register(app)
produce.register(app)
run.register(app)
status.register(app)
topics.register(app)
schemas.register(app)
rules.register(app)
badrows.register(app)
quality.register(app)
reconcile.register(app)
repair.register(app)
maintain.register(app)
lag.register(app)
submit.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an expected error is one readable line on standard error, never a traceback.

    ``arguments``: those of the process unless given, as jobs/ do.
    """
    logs.without_py4j()
    try:
        app(arguments)
    except SdpError as error:
        options.tell(str(error), style="red")
        sys.exit(error.exit_code)
