"""Options that every command takes, and the one place that turns errors into exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from typer.exceptions import TyperException

from pipelines import interrupts
from pipelines import settings as settings_module
from pipelines.errors import SdpError, UsageError
from pipelines.printable import spelt_out as spelt_out  # the commands find it here, with say and tell
from pipelines.settings import Settings

Env = Annotated[str | None, typer.Option("--env", envvar="SDP_ENV", help="Environment: which conf/<env>.yaml to use.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, e.g. kafka.topic=api6-logs. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

PLAIN_WIDTH = 140
"""Columns of tables that go to a file or a pipe, and need no more."""
WIDEST = 4_000

out = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = Console(stderr=True)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what was kept and how to go on as its text."""


@contextmanager
def on_interrupt(text: str) -> Iterator[None]:
    """Ctrl-C within the block means ``text``, unless something inside knows better.

    Spark answers Ctrl-C by a handler of its own that may fail while a call to the JVM is under way: then an error of
    its bridge comes here and no KeyboardInterrupt. So whatever goes wrong after a Ctrl-C counts as one, but for errors
    of ours, which are one line already, and ends that were meant. A stop that was asked for is no interrupt.
    """
    with interrupts.noted() as came:
        try:
            yield
        except (Interrupted, SdpError, typer.Exit, typer.Abort, TyperException):
            raise
        except KeyboardInterrupt:
            raise Interrupted(text) from None
        except Exception as error:
            if not (came() or interrupts.is_behind(error)):
                raise
            raise Interrupted(text) from error


def load(env: str | None, overrides: list[str] | None) -> Settings:
    """Settings for this call of the command."""
    return settings_module.load(env, overrides or ())


def say(text: str, style: str | None = None) -> None:
    """One line of the result, on standard output, letter by letter and unbroken."""
    out.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def tell(text: str, style: str | None = None) -> None:
    """One line about this call of the command, on standard error."""
    err.print(f"sdp: {text}", style=style, markup=False, highlight=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """A table on standard output; in a file or a pipe as wide as it must be, so that no id is cut or broken."""
    if out.is_terminal:
        out.print(table)
        return
    wide = Console(width=WIDEST)
    needed = Measurement.get(wide, wide.options, table).maximum
    Console(width=max(PLAIN_WIDTH, needed)).print(table)


def print_json(value: Any) -> None:
    """One JSON document on standard output, nothing else. What does not print is escaped, as in ``spelt_out``."""
    text = json.dumps(value, indent=2, default=str, ensure_ascii=False)
    typer.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def local(env: str | None, overrides: list[str] | None) -> Settings:
    """Settings for a command that starts or fills the servers of this machine. Raises UsageError elsewhere."""
    settings = load(env, overrides)
    if settings.env != "local":
        raise UsageError(f"this command works on the local stack (env=local), not {settings.env!r}: leave --env away")
    return settings
