"""The commands behind ``spark-submit.sh``: what spark-submit must be given. Not for people, so they aren't listed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipelines.cli.options import Env, Set, load
from pipelines.cli.run import AcceptLoss, From, Job, Once, Pretty, Recover, Start, as_flags
from pipelines.errors import UsageError


class Target(StrEnum):
    """Where a job can run."""

    LOCAL = "local"
    YARN_CLIENT = "yarn-client"
    YARN_CLUSTER = "yarn-cluster"
    KUBERNETES = "kubernetes"


class CommandJob(StrEnum):
    """The jobs that are commands of `sdp` by the same name: they do their work and end."""

    RECONCILE = "reconcile"
    REPAIR = "repair"
    COMPLETE = "complete"
    QUALITY = "quality"
    MAINTAIN = "maintain"
    LAG = "lag"


Folder = Annotated[Path, typer.Option(help="Private folder for what travels with the job.")]
Extra = Annotated[list[str] | None, typer.Option(help="An option for spark-submit; they win. Repeatable.")]
Jars = Annotated[str, typer.Option(envvar="SDP_JARS", help="A folder, or URIs separated by commas.")]
Python = Annotated[str, typer.Option(envvar="PYSPARK_PYTHON", help="Python of the nodes.")]
Archive = Annotated[str, typer.Option(envvar="SDP_PYTHON_ARCHIVE", help="Packed venv for the nodes.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``sdp``."""
    app.command("submit-arguments", hidden=True)(arguments)
    app.command("submit-command-arguments", hidden=True)(command_arguments)


def arguments(
    target: Target,
    job: Job,
    folder: Folder,
    extra: Extra = None,
    jars: Jars = "",
    python: Python = "",
    python_archive: Archive = "",
    once: Once = False,
    recover: Recover = False,
    start: From = Start.LEDGER,
    accept_loss: AcceptLoss = False,
    pretty: Pretty = False,
    env: Env = None,
    overrides: Set = None,
) -> None:
    """Print the arguments of spark-submit, each ended by a NUL; writes the application archive into build/."""
    flags = as_flags(once=once, recover=recover, start=start, accept_loss=accept_loss, pretty=pretty)
    wanted = {"target": target.value, "job": job.value, "folder": folder, "flags": flags, "extra": extra or []}
    _print(env, overrides or [], **wanted, jars=jars, python=python, python_archive=python_archive)


def command_arguments(
    context: typer.Context,
    target: Target,
    job: CommandJob,
    folder: Folder,
    options: Annotated[list[str] | None, typer.Argument(help="Options of the job, after --.")] = None,
    extra: Extra = None,
    jars: Jars = "",
    python: Python = "",
    python_archive: Archive = "",
    env: Env = None,
) -> None:
    """The same for a job that is a command: its options are checked by that command before anything is submitted."""
    check(context.find_root(), [job.value, *(options or [])])
    chosen, overrides, flags = split(options or [])
    wanted = {"target": target.value, "job": job.value, "folder": folder, "flags": flags, "extra": extra or []}
    _print(chosen or env, overrides, **wanted, jars=jars, python=python, python_archive=python_archive)


def split(options: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """--env, every --set, and what is left: settings are resolved here and may travel another way than options."""
    env, overrides, flags = None, [], []
    rest = iter(options)
    for option in rest:
        name, is_joined, value = option.partition("=")
        if name not in ("--env", "--set"):
            flags.append(option)
            continue
        value = value if is_joined else next(rest, "")
        if name == "--env":
            env = value
        else:
            overrides.append(value)
    return env, overrides, flags


def check(root: Any, words: Sequence[str]) -> None:
    """Parse the words of a command as its own parser does, and raise its error, without running it."""
    context, command, rest = root, root.command, list(words)
    while isinstance(command, TyperGroup):
        if not rest:
            raise UsageError(f"`{context.command_path}` takes one of: {', '.join(command.list_commands(context))}")
        name, command, rest = command.resolve_command(context, rest)
        if isinstance(command, TyperGroup):
            context = type(root)(command, parent=context, info_name=name)
    command.make_context(name, rest, parent=context)


def _print(env: str | None, overrides: Sequence[str], **wanted: Any) -> None:
    # pyspark takes a second to import; --help should not
    from pipelines import bootstrap

    settings = load(env, list(overrides))
    selection = ["--env", env] if env else []
    for text in overrides:
        selection += ["--set", text]
    told = bootstrap.submit_arguments(settings, selection=selection, **wanted)
    typer.echo("".join(f"{argument}\0" for argument in told), nl=False)
