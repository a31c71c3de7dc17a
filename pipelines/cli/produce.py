"""``sdp init`` and ``sdp produce``: topics, schema, and realistic traffic."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.cli.options import Env, Interrupted, Json, Set, load, on_interrupt, out, print_json, tell
from pipelines.cli.progress import reporter
from pipelines.errors import UsageError
from pipelines.traffic.generate import Plan
from pipelines.traffic.mix import PRESETS, parse_mix

if TYPE_CHECKING:
    from pipelines.contracts.topics import Difference
    from pipelines.flows.produce import Prepared, Produced

FAILED = 3
CUT_OFF = (
    "interrupted before everything was counted: what Kafka has taken stays there, and `sdp status` shows how much that "
    "is. Run the command again to send anew"
)
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def register(app: typer.Typer) -> None:
    """Add these commands to ``sdp``."""
    app.command("init")(init)
    app.command("produce")(produce)


def init(env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Create the topics and register the schema; what is there already stays as it is.

    Example: sdp init --set kafka.topic=api6-logs

    A topic that differs from conf/topics.yaml is reported, never changed.
    """
    from pipelines import bootstrap  # takes a second to import; --help should not

    prepared = bootstrap.prepare(load(env, overrides))
    if as_json:
        print_json(_prepared_json(prepared))
    else:
        _print_prepared(prepared)


def produce(
    count: Annotated[int, typer.Option(min=0, help="Records to send.")] = 10_000,
    rate: Annotated[float, typer.Option(min=0, help="Records a second; 0 is as fast as possible.")] = 0,
    seed: Annotated[int | None, typer.Option(help="Same seed, count, mix, span and until: same bytes.")] = None,
    mix: Annotated[
        str,
        typer.Option(help=f"{', '.join(PRESETS)}, or shares: invalid=10%,late_days=0.001.", metavar="NAME|KEY=SHARE,…"),
    ] = "default",
    span: Annotated[str, typer.Option(help="Event times fill so long a time before --until: 90m, 24h, 3d.")] = "1h",
    until: Annotated[
        str, typer.Option(help="Last event time: an ISO time (UTC unless it says otherwise) or now.")
    ] = "now",
    expect: Annotated[Path | None, typer.Option(help="Write the expected counts to this file, as JSON.")] = None,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Send realistic traffic with named defects and print what must become of it.

    Example: sdp produce --count 200000 --seed 1 --mix default --span 24h --expect expected.json

    Ctrl-C sends what was begun, then prints the counts of what was sent. Keep --span and --until within the retention
    of the topic (7 days), or Kafka deletes records before anybody reads them. Exit codes: 3 Kafka did not take all
    records, 130 interrupted.
    """
    plan = _plan(count, seed, mix, span, until)
    _check_writable(expect)
    settings = load(env, overrides)
    from pipelines import bootstrap  # takes a second to import; --help should not

    with on_interrupt(CUT_OFF), reporter(count) as on_progress:
        produced = bootstrap.produce(settings, plan, rate, on_progress, tell_differences)
    if expect is not None:
        expect.write_text(json.dumps(produced.as_json(), indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json(produced.as_json())
    else:
        _print_produced(produced)
    exit_unless_taken(produced)
    if produced.stopped:
        raise Interrupted(_how_it_stopped(produced))


def tell_differences(prepared: Prepared) -> None:
    """Say on standard error where a topic is not as conf/topics.yaml wants it."""
    for topic in prepared.topics:
        for difference in topic.differences:
            tell(f"topic {topic.name}: {_as_text(difference)}", style="yellow")


def exit_unless_taken(produced: Produced) -> None:
    """Say why Kafka did not take all records, and leave with 3; it may also be why sending ended early."""
    if produced.failures:
        reasons = "; ".join(f"{reason} ({number} records)" for reason, number in produced.failures.items())
        tell(f"Kafka did not take all records: {reasons}", style="red")
        raise typer.Exit(FAILED)


def parse_span(text: str) -> int:
    """``90m`` → ms. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if match is None:
        raise UsageError(f"--span: expected a number and ms, s, m, h or d, such as 24h, not {text!r}")
    return int(float(match[1]) * _UNITS_MS[match[2]])


def parse_until(text: str) -> int:
    """``now`` or an ISO time → Unix time in ms; a time without zone is UTC. Raises UsageError."""
    if text == "now":
        return time.time_ns() // 1_000_000
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--until: expected now or a time such as 2026-01-31T12:00:00, not {text!r}") from None
    return round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def _check_writable(expect: Path | None) -> None:
    """Before anything is sent: the counts can't be had again. Raises UsageError."""
    if expect is None:
        return
    if not expect.parent.is_dir():
        raise UsageError(f"--expect: there is no folder {expect.parent}")
    if expect.is_dir() or not os.access(expect if expect.exists() else expect.parent, os.W_OK):
        raise UsageError(f"--expect: {expect} can't be written")


def _plan(count: int, seed: int | None, mix: str, span: str, until: str) -> Plan:
    chosen = SystemRandom().randrange(2**31) if seed is None else seed
    return Plan(count, chosen, parse_mix(mix), parse_span(span), parse_until(until), schema_id=0)


def _how_it_stopped(produced: Produced) -> str:
    missing = produced.plan.count - produced.acknowledged
    return (
        f"interrupted: {produced.acknowledged:,} of {produced.plan.count:,} records are in Kafka and stay there. "
        f"`sdp produce --count {missing}` sends the number that is missing; they are other records, whatever "
        f"the seed"
    )


def _prepared_json(prepared: Prepared) -> dict[str, object]:
    topics = [
        {
            "name": t.name,
            "created": t.created,
            "partitions": t.partitions,
            "replication": t.replication,
            "differences": {d.setting: {"wanted": d.wanted, "found": d.found} for d in t.differences},
        }
        for t in prepared.topics
    ]
    return {"topics": topics, "schema_ids": {str(v): i for v, i in prepared.schema_ids.items()}}


def _print_prepared(prepared: Prepared) -> None:
    for topic in prepared.topics:
        state = "created" if topic.created else "exists"
        out.print(f"topic {topic.name}: {state}, {topic.partitions} partitions, replication {topic.replication}")
        for difference in topic.differences:
            out.print(f"  {_as_text(difference)}", style="yellow")
    for version, schema_id in prepared.schema_ids.items():
        out.print(f"schema version {version}: id {schema_id}")


def _as_text(difference: Difference) -> str:
    return f"{difference.setting} is {difference.found}, conf/topics.yaml wants {difference.wanted}: not changed"


def _print_produced(produced: Produced) -> None:
    expected = produced.expected
    table = Table("defect", "records", "must become", title=f"{produced.topic}, seed {produced.plan.seed}")
    table.columns[1].justify = "right"
    for defect, number in expected.defects.items():
        table.add_row(str(defect), f"{number:,}", defect.outcome.value)
    table.add_section()
    table.add_row("sound", f"{expected.count - sum(expected.defects.values()):,}", "valid")
    out.print(table)
    out.print(
        f"sent {expected.count:,}: {expected.valid:,} valid ({expected.warnings:,} with warnings), "
        f"{expected.invalid:,} invalid ({expected.duplicates:,} of them duplicates)"
    )
    spread = ", ".join(f"{partition}: {number:,}" for partition, number in sorted(produced.delivered.items()))
    pace = produced.acknowledged / produced.elapsed_s if produced.elapsed_s else 0
    out.print(f"acknowledged {produced.acknowledged:,} in {produced.elapsed_s:.1f} s ({pace:,.0f}/s)")
    out.print(f"by partition: {spread}", soft_wrap=True)
