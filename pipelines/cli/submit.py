"""The command behind ``spark-submit.sh``: what spark-submit must be given. Not for people, so it isn't listed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Env, Set, load
from pipelines.cli.run import AcceptLoss, From, Job, Once, Pretty, Recover, Start, as_flags


class Target(StrEnum):
    """Where a job can run."""

    LOCAL = "local"
    YARN_CLIENT = "yarn-client"
    YARN_CLUSTER = "yarn-cluster"
    KUBERNETES = "kubernetes"


def register(app: typer.Typer) -> None:
    """Add this command to ``sdp``."""
    app.command("submit-arguments", hidden=True)(arguments)


def arguments(
    target: Target,
    job: Job,
    folder: Annotated[Path, typer.Option(help="Private folder for what travels with the job.")],
    extra: Annotated[list[str] | None, typer.Argument(help="Options for spark-submit; they win.")] = None,
    jars: Annotated[str, typer.Option(envvar="SDP_JARS", help="A folder, or URIs separated by commas.")] = "",
    python: Annotated[str, typer.Option(envvar="PYSPARK_PYTHON", help="Python of the nodes.")] = "",
    python_archive: Annotated[str, typer.Option(envvar="SDP_PYTHON_ARCHIVE", help="Packed venv for the nodes.")] = "",
    once: Once = False,
    recover: Recover = False,
    start: From = Start.LEDGER,
    accept_loss: AcceptLoss = False,
    pretty: Pretty = False,
    env: Env = None,
    overrides: Set = None,
) -> None:
    """Print the arguments of spark-submit, each ended by a NUL; writes the application archive into build/."""
    # pyspark takes a second to import; --help should not
    from pipelines import bootstrap

    settings = load(env, overrides)
    selection = ["--env", env] if env else []
    for text in overrides or ():
        selection += ["--set", text]
    wanted = bootstrap.submit_arguments(
        settings,
        target=target.value,
        job=job.value,
        flags=as_flags(once=once, recover=recover, start=start, accept_loss=accept_loss, pretty=pretty),
        selection=selection,
        extra=extra or [],
        folder=folder,
        jars=jars,
        python=python,
        python_archive=python_archive,
    )
    typer.echo("".join(f"{argument}\0" for argument in wanted), nl=False)
