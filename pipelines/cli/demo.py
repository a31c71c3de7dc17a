"""``sdp demo``: the whole house once, on real servers, ending with a proof."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.options import Env, Set, local, on_interrupt, out, spelt_out
from pipelines.cli.produce import exit_unless_taken, parse_until, tell_differences
from pipelines.cli.progress import Counted, Stage, stages
from pipelines.cli.status import job_states
from pipelines.settings import Settings
from pipelines.traffic.generate import Plan
from pipelines.traffic.mix import parse_mix
from stack import lifecycle

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipelines.flows.ports import Steps
    from pipelines.flows.produce import Produced
    from pipelines.flows.status import JobState, Status
    from pipelines.records import Batch

HOUR_MS = 3_600_000
STACK_CUT_OFF = "interrupted: the servers that this call started are stopped again. `sdp demo` begins anew"
CUT_OFF = (
    "interrupted: the records that were sent and every batch that was finished stay. `sdp demo` goes on with them and "
    "sends more; the servers keep running until `sdp stack down`"
)
STOPPING = "stopping after the running batch"
SHOWN_REASONS = 12
SHOWN_MESSAGE = 90


def register(app: typer.Typer) -> None:
    """Add this command to ``sdp``."""
    app.command("demo")(demo)


def demo(
    count: Annotated[int, typer.Option(min=1, help="Records to send.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of the traffic.")] = 6,
    env: Env = None,
    overrides: Set = None,
) -> None:
    """Start the stack, send mixed records, run both jobs to the end of the topic, and prove that nothing is missing.

    Example: sdp demo --count 50000

    Run it again and the same topic grows: the proof covers everything that was ever sent. The stack keeps running;
    stop it with `sdp stack down`.
    """
    settings = local(env, overrides)
    with stages() as begin:
        with on_interrupt(STACK_CUT_OFF):
            _stack(settings, begin("local stack", len(lifecycle.SERVERS)))
        settings = local(env, overrides)  # now with the addresses of the running stack
        plan = Plan(count, seed, parse_mix("default"), 6 * HOUR_MS, parse_until("now"), 0)
        with on_interrupt(CUT_OFF):
            produced = _produce(settings, plan, begin("produce", count))
            expected = _expected_in_all(settings, produced)
            if produced.stopped:
                raise KeyboardInterrupt
            found, jobs = _run_jobs(settings, begin)
    _show_proof(jobs)
    _show_bad_rows(found)
    ok = _show_verdict(produced, jobs, expected)
    _show_addresses(settings)
    if not ok:
        raise typer.Exit(1)


def _stack(settings: Settings, stage: Stage) -> None:
    ready: set[str] = set()

    def show(server: str, state: str) -> None:
        if state.startswith(("ready", "running")):
            ready.add(server)
        stage.show(completed=len(ready), note=f"{server}: {state}")

    lifecycle.up(settings, show)
    stage.end()


def _produce(settings: Settings, plan: Plan, stage: Stage) -> Produced:
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    def show(sent: Counted) -> None:
        stage.show(completed=sent.acknowledged)

    produced = bootstrap.produce(settings, plan, 0, show, tell_differences)
    exit_unless_taken(produced)  # before anything is expected of them: nobody knows which ones are missing
    if not produced.stopped:
        stage.end()
    return produced


def _run_jobs(settings: Settings, begin: Callable[[str, int | None], Stage]) -> tuple[Status, list[JobState]]:
    from pipelines import bootstrap
    from pipelines.monitoring import logs

    log = settings.home_path / "logs" / "demo.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        logs.configure(stream=stream)
        starting = begin("Spark", 1)
        spark = bootstrap.spark_session(settings, "sdp-demo")
        starting.end()
        for name in (bootstrap.INGEST, bootstrap.INDEX):
            _run_job(name, settings, spark, begin(name, None))
        proving = begin("prove", 1)
        proving.show(note="counting what is really there")
        found = bootstrap.status(settings, spark)
        jobs, away = job_states(found)
        if away:
            raise away
        proving.end()
    return found, jobs


def _run_job(name: str, settings: Settings, spark: SparkSession, stage: Stage) -> None:
    from pipelines import bootstrap

    flow = bootstrap.job(name, settings, spark, _follow(stage))
    with bootstrap.stopping_on_signals(flow.stop, lambda _: stage.show(note=STOPPING)):
        ended = flow.run(once=True)
    if ended.asked:
        raise KeyboardInterrupt
    stage.end()


def _follow(stage: Stage) -> Steps:
    """Shows the records of finished batches and the step that the running one has reached."""
    finished = 0

    def on_step(step: str, batch: Batch) -> None:
        nonlocal finished
        records = sum(map(len, batch.ranges))
        finished += records if step == "done" else 0
        stage.show(completed=finished, note=f"batch {batch.batch_id} of {records:,} records: {step.replace('_', ' ')}")

    return on_step


def _show_proof(jobs: list[JobState]) -> None:
    ingest, index = jobs
    table = Table(title="What became of every offset", title_justify="left")
    columns: list[tuple[str, Callable[[JobState, JobState, int], int]]] = [
        ("offsets read", lambda a, _, n: a.partitions[n].until - a.partitions[n].first),
        ("valid rows", lambda a, _, n: a.partitions[n].held_valid),
        ("invalid rows", lambda a, _, n: a.partitions[n].held_invalid),
        ("gaps", lambda a, _, n: a.partitions[n].gaps),
        ("lost", lambda a, _, n: a.partitions[n].lost),
        ("documents", lambda _, b, n: b.partitions[n].held_valid),
        ("refused", lambda _, b, n: b.partitions[n].held_invalid),
    ]
    table.add_column("partition", justify="right")
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    sums = [0] * len(columns)
    for n, state in enumerate(ingest.partitions):
        values = [value(ingest, index, n) for _, value in columns]
        sums = [a + b for a, b in zip(sums, values, strict=True)]
        table.add_row(str(state.partition), *(f"{v:,}" for v in values))
    table.add_section()
    table.add_row("all", *(f"{v:,}" for v in sums), style="bold")
    out.print(table)


def _show_bad_rows(found: Status) -> None:
    table = Table(title="Some bad rows and why", title_justify="left")
    for heading in ("rows", "reason", "partition/offset", "message", "raw value"):
        table.add_column(heading, justify="right" if heading == "rows" else "left", no_wrap=heading != "message")
    counts = found.reasons()
    for row in found.samples(at_most=SHOWN_REASONS).collect():
        at = f"{row['kafka_partition']}/{row['kafka_offset']}"
        message = Text(spelt_out(row["error_message"])[:SHOWN_MESSAGE])
        table.add_row(f"{counts.get(row['code'], 0):,}", row["code"], at, message, row["raw_hex"])
    out.print(table)


def _expected_in_all(settings: Settings, produced: Produced) -> dict[str, int]:
    """What all demos on this topic, this one included, must have led to; kept beside the data of the servers."""
    path = settings.stack_path / "data" / "demo-expected.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    sums = before.get(produced.topic, {})
    expected = produced.expected
    now = {"valid": expected.valid, "invalid": expected.invalid}
    total = {name: sums.get(name, 0) + number for name, number in now.items()}
    path.write_text(json.dumps({**before, produced.topic: total}), encoding="utf-8")
    return total


def _show_verdict(produced: Produced, jobs: list[JobState], in_all: dict[str, int]) -> bool:
    ingest, index = jobs
    problems = [text for job in jobs for text in job.problems]
    as_read = ingest.total("held_valid") - ingest.total("replayed")  # replays are not the generator's business
    found = {"valid": as_read, "invalid": ingest.total("held_invalid")}
    has_more = sum(found.values()) > sum(in_all.values())
    if found != in_all and not has_more:
        problems.append(f"the generator expected {in_all}, the tables hold {found}")
    if ingest.total("held_valid") != index.total("held_valid"):
        problems.append(f"{ingest.total('held_valid'):,} valid rows, {index.total('held_valid'):,} documents")
    if ingest.total("lag") or index.total("lag"):
        problems.append("a job has not reached the end of the topic")
    expected = produced.expected
    out.print(
        f"This run sent {expected.count:,} records, of which {expected.valid:,} had to become valid and "
        f"{expected.invalid:,} invalid ({expected.duplicates:,} duplicates)."
    )
    if has_more:
        out.print(
            "More was sent to this topic than demos counted: its totals can't be held against what they expected."
        )
    if problems:
        out.print("It does NOT add up:", *problems, sep="\n  ", style="bold red", markup=False)
        return False
    out.print(
        "It adds up: every offset is a valid or an invalid row, and every valid row is a document.", style="bold green"
    )
    return True


def _show_addresses(settings: Settings) -> None:
    table = Table(title="What is running (stop it with: sdp stack down)", title_justify="left", show_header=False)
    for name, address in lifecycle.endpoints(settings).items():
        table.add_row(name, str(address))
    table.add_row("logs", str(settings.home_path / "logs" / "demo.log"))
    out.print(table)
