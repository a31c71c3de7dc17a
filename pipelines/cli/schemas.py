"""``sdp schemas``, and in it ``test``: what a proposed version of the log schema would do, before anybody ships it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.cli import schema_sync
from pipelines.cli.options import Env, Json, Set, load, out, print_json
from pipelines.cli.progress import stages
from pipelines.cli.window import Since, Until, parse_window
from pipelines.contracts.catalogue import flaws
from pipelines.contracts.writer import LogSchema
from pipelines.errors import UsageError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.contracts.proposal import ColumnChange
    from pipelines.flows.schema_trial import Answer, Effect

File = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The proposed version, an .avsc file.")
]

NOT_REGISTERED = "not registered"


group = typer.Typer(help="The schemas of schemas/, and those of the registry.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group to ``sdp``."""
    app.add_typer(group, name="schemas")
    schema_sync.register(group)


@group.command("test")
def try_out(
    file: File, since: Since = "2h", until: Until = "now", as_json: Json = False, env: Env = None, overrides: Set = None
) -> None:
    """Try a proposed version of the schema: can it read what the registered versions wrote, and recent records?

    Example: sdp schemas test schemas/api6-logs-value/v2.avsc --since 2h

    Changes nothing. Reads the topic's records between --since and --until once and judges them as today and as if the
    version were registered. Exit codes: 1 it is incompatible or records would be newly rejected, 2 wrong use or a file
    that is no log schema, 3 a server is away.
    """
    begin, end = parse_window(since, until, datetime.now(UTC))
    settings = load(env, overrides)
    version = _read(file, settings.registry.subject)
    answer, effect = _try(settings, version, begin, end)
    print_json(as_data(answer, effect)) if as_json else show(answer, effect)
    if not answer.is_compatible or effect.newly_rejected:
        raise typer.Exit(1)


def as_data(answer: Answer, effect: Effect) -> dict[str, Any]:
    """The findings as one JSON object."""
    return {
        "compatible": answer.is_compatible,
        "registry": {"accepts": answer.registry_accepts, "level": answer.level},
        "versions": [
            {"schema_id": i, "problems": [asdict(problem) for problem in answer.incompatible.get(i, ())]}
            for i in answer.registered
        ],
        "columns": [asdict(change) for change in answer.changes],
        "refused": answer.misfit,
        "offsets": sum(map(len, effect.ranges)),
        "newly_rejected": effect.newly_rejected,
        "schemas": [asdict(count) for count in effect.counts],
        "rejections": [asdict(rejection) for rejection in effect.rejections],
    }


def show(answer: Answer, effect: Effect) -> None:
    """Print the same as tables, and the verdict."""
    out.print(_versions(answer))
    verdict = "accepts" if answer.registry_accepts else "refuses"
    out.print(f"the registry, which holds the subject to {answer.level}, {verdict} it", markup=False, soft_wrap=True)
    if answer.misfit:
        text = f"the tables have no place for it: {answer.misfit}; its records would be invalid"
        out.print(text, style="red", markup=False, soft_wrap=True)
    if answer.changes:
        out.print(_columns(answer.changes))
    if effect.counts:
        out.print(_counts(effect))
    if effect.rejections:
        out.print(_rejections(effect))
    _print_verdict(answer, effect)


def _read(file: Path, subject: str) -> LogSchema:
    """The proposed version. Raises UsageError with everything that is wrong with the file itself."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if found := flaws(subject, text):
        raise UsageError(f"{file}: {'; '.join(found)}")
    return LogSchema(text)


def _try(settings: Settings, version: LogSchema, since: datetime, until: datetime) -> tuple[Answer, Effect]:
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    with stages() as begin:
        asking = begin("registry", 1)
        trial = bootstrap.schema_trial(settings)
        proposal = trial.proposal(version)
        answer = trial.answer(proposal, version)
        asking.end()
        starting = begin("Spark", 1)
        spark = bootstrap.spark_session(settings, "sdp-schemas-test")
        starting.end()
        reading = begin("records", None)
        with bootstrap.following(spark, reading.show_tasks):
            effect = trial.effect(proposal, since, until)
        reading.show(completed=sum(count.records for count in effect.counts))
        reading.end()
    return answer, effect


def _versions(answer: Answer) -> Table:
    table = Table(title="Can it read what the registered versions wrote?", title_justify="left")
    table.add_column("schema id", justify="right")
    for heading in ("", "code", "reason"):
        table.add_column(heading)
    for schema_id in answer.registered:
        found = answer.incompatible.get(schema_id, ())
        for problem in found:
            table.add_row(str(schema_id), "no", problem.code, problem.message, style="red")
        if not found:
            table.add_row(str(schema_id), "yes", "", "")
    return table


def _columns(changes: tuple[ColumnChange, ...]) -> Table:
    table = Table(title="What it does to the columns", title_justify="left")
    for heading in ("column", "", "was", "becomes"):
        table.add_column(heading)
    for change in changes:
        table.add_row(change.column, change.change.replace("_", " "), change.was, change.becomes)
    return table


def _counts(effect: Effect) -> Table:
    table = Table(title="What becomes of the records", title_justify="left")
    names = ("records", "decode_today", "would_decode", "newly_rejected", "newly_accepted")
    for heading in ("schema id", *(name.replace("_", " ") for name in names)):
        table.add_column(heading, justify="right")
    for count in effect.counts:
        table.add_row(_id(count.schema_id), *(f"{getattr(count, name):,}" for name in names))
    table.add_section()
    table.add_row("all", *(f"{sum(getattr(c, name) for c in effect.counts):,}" for name in names), style="bold")
    return table


def _rejections(effect: Effect) -> Table:
    table = Table(title="Newly rejected", title_justify="left")
    for heading in ("schema id", "reason", "records", "for example"):
        table.add_column(heading, justify="right" if heading in ("schema id", "records") else "left")
    for found in effect.rejections:
        samples = ", ".join(f"{partition}/{offset}" for partition, offset in found.samples)
        table.add_row(_id(found.schema_id), found.reason, f"{found.records:,}", samples)
    return table


def _id(schema_id: int | None) -> str:
    return NOT_REGISTERED if schema_id is None else str(schema_id)


def _print_verdict(answer: Answer, effect: Effect) -> None:
    read = sum(count.records for count in effect.counts)
    share = f" ({effect.newly_rejected / read:.2%} of {read:,})" if effect.newly_rejected else f" of {read:,}"
    is_fine = answer.is_compatible and not effect.newly_rejected
    text = f"{_compatible(answer)}, {effect.newly_rejected:,}{share} records"
    out.print(f"{text} newly rejected", style="bold green" if is_fine else "bold red", markup=False, soft_wrap=True)


def _compatible(answer: Answer) -> str:
    versions = f"{len(answer.registered)} registered versions"
    if answer.incompatible or not answer.registry_accepts:
        return f"INCOMPATIBLE with {versions}"
    return f"compatible with {versions}{'' if answer.misfit is None else ', NOT with the tables'}"
