"""Options that every command takes, and the one place that turns errors into exit codes."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from pipelines import settings as settings_module
from pipelines.settings import Settings

Env = Annotated[str | None, typer.Option("--env", envvar="SDP_ENV", help="Environment: which conf/<env>.yaml to use.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, e.g. kafka.topic=api6-logs. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

out = Console()
err = Console(stderr=True)


def load(env: str | None, overrides: list[str] | None) -> Settings:
    """Settings for this call of the command."""
    return settings_module.load(env, overrides or ())


def print_json(value: Any) -> None:
    """One JSON document on standard output, nothing else."""
    typer.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))
