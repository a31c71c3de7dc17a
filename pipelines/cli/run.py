"""``sdp run`` and ``sdp stop``: start a streaming job, and end it wherever it runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pipelines.cli.options import Env, Json, Set, load, on_interrupt, out, print_json, tell
from pipelines.errors import SdpError, UsageError


class JobName(StrEnum):
    """The jobs there are."""

    INGEST = "ingest"
    INDEX = "index"


class Start(StrEnum):
    """Where a recovery begins."""

    LEDGER = "ledger"
    EARLIEST = "earliest"


Job = Annotated[JobName, typer.Argument(help="ingest: Kafka to Delta tables. index: Kafka to Elasticsearch.")]
Once = Annotated[bool, typer.Option("--once", help="Drain what is there, then stop.")]
Recover = Annotated[
    bool, typer.Option("--recover", help="After a lost checkpoint: start a new query where the ledger ends.")
]
From = Annotated[
    Start, typer.Option("--from", help="With --recover: earliest replays everything that Kafka still has.")
]
AcceptLoss = Annotated[
    bool, typer.Option("--accept-loss", help="Record offsets that retention deleted as lost, and go on.")
]
Pretty = Annotated[bool, typer.Option("--pretty", help="Logs for a person instead of JSON.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``sdp``."""
    app.command("run")(run)
    app.command("stop")(stop)


def recovery(recover: bool, start: Start) -> str | None:
    """Where a recovery that is asked for begins. Raises UsageError for a start without one."""
    if start is not Start.LEDGER and not recover:
        raise UsageError(f"--from {start.value} says where a recovery begins: it takes --recover")
    return start.value if recover else None


def as_flags(*, once: bool, recover: bool, start: Start, accept_loss: bool, pretty: bool) -> list[str]:
    """These options as a command line gives them. Raises UsageError for those that do not go together."""
    recovery(recover, start)
    given = {"--once": once, "--recover": recover, "--accept-loss": accept_loss, "--pretty": pretty}
    return [flag for flag, is_given in given.items() if is_given] + ["--from", start.value] * (start != Start.LEDGER)


def run(
    job: Job,
    once: Once = False,
    recover: Recover = False,
    start: From = Start.LEDGER,
    accept_loss: AcceptLoss = False,
    pretty: Pretty = False,
    env: Env = None,
    overrides: Set = None,
) -> None:
    """Run a job until it is stopped: now, then every ingest.trigger_s or index.trigger_s seconds.

    Example: sdp run ingest --once --set ingest.max_offsets_per_trigger=200000

    SIGTERM, Ctrl-C and, from anywhere, `sdp stop` finish the running batch first. Exit codes: 1 the data does not add
    up or was lost, 2 wrong use or a lost checkpoint, 3 infrastructure unavailable for longer than retry_for_s, 130
    cut off by a second Ctrl-C; 0 after a stop.
    """
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not
    from pipelines.monitoring import logs

    start_anew = recovery(recover, start)
    logs.configure(pretty=pretty)
    with on_interrupt(how_it_was_cut_off(job.value)):
        flow = bootstrap.job(job.value, load(env, overrides))
        with bootstrap.stopping_on_signals(flow.stop, lambda by: logs.stop_requested(job.value, by)):
            ended = flow.run(once=once, recover=start_anew, accept_loss=accept_loss)
    if ended.asked:
        tell(how_it_stopped(job.value, ended.trouble))


def stop(job: Job, env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Ask a running job to finish its batch and stop, wherever it runs: the way where no signal reaches it.

    Example: sdp stop ingest --env prod

    Leaves the file JOB.stop beside the job's checkpoint and returns. The job looks for it every 5 seconds, finishes the
    running batch, removes the file and ends with exit code 0. A job that doesn't run is left alone: exit code 0 too.
    """
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    asked = bootstrap.ask_to_stop(job.value, load(env, overrides))
    holder = str(asked.holder) if asked.holder else None
    if as_json:
        print_json({"job": job.value, "running": holder is not None, "holder": holder, "file": asked.uri})
    elif holder is None:
        out.print(
            f"{job.value} is not running: no process holds {asked.lease}", markup=False, highlight=False, soft_wrap=True
        )
    else:
        out.print(
            f"asked {holder} to stop {job.value} after its running batch; until then there is {asked.uri}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def how_it_was_cut_off(job: str) -> str:
    """What a Ctrl-C that did not wait for the batch left behind, and how to go on."""
    return (
        f"interrupted: every batch that {job} finished is in the ledger. One that was cut off is not, and the next "
        f"start repeats it: nothing is lost or doubled"
    )


def how_it_stopped(job: str, trouble: SdpError | None) -> str:
    """What a stop that was asked for left behind, and how to go on."""
    if trouble is None:
        return (
            f"{job} stopped as asked: what it began is finished and in the ledger. Start it again to go on from there"
        )
    return (
        f"{job} stopped as asked while it waited for a server: {trouble}. Nothing is lost: the next start repeats the "
        f"batch that is not finished"
    )
