"""``sdp badrows``: look at bad rows, and bring them back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines.badrows.overview import By, Groups, Overview
from pipelines.cli import replay
from pipelines.cli.options import Env, Json, Set, err, load, out, print_json, say, spelt_out
from pipelines.cli.window import Since, Until, parse_window
from pipelines.errors import UsageError
from pipelines.records import RowStatus

if TYPE_CHECKING:
    from pipelines.badrows.dissect import Piece
    from pipelines.flows.badrows import BadRow

HEX_BYTES = 16
SPARKS = "▁▂▃▄▅▆▇█"
ANY = "any"

group = typer.Typer(help="Look at bad rows, one or in groups, and bring them back.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``sdp``."""
    app.add_typer(group, name="badrows")
    group.command("list")(overview)
    group.command("show")(show)
    group.command("replay")(replay.replay)


def overview(
    by: Annotated[list[By] | None, typer.Option(help="Group by this; repeatable. Default: reason.")] = None,
    since: Since = "24h",
    until: Until = "now",
    status: Annotated[str, typer.Option(help=f"{', '.join(RowStatus)} or {ANY}.")] = RowStatus.OPEN.value,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Count bad rows by what is wrong, where and when: number, share, and a trend over the time looked at.

    Example: sdp badrows list --since 7d --by reason --by endpoint

    The time is that of the Kafka timestamp. The trend has 24 equal parts: an hour each for the default of 24h.
    """
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    begin, end = parse_window(since, until, datetime.now(UTC))
    wanted = _statuses(status)
    with err.status("reading bad rows …"):
        found = bootstrap.bad_rows(load(env, overrides)).overview(by or [By.REASON], begin, end, wanted)
    print_json(_overview_data(found)) if as_json else _print_overview(found)


def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION|TOPIC-PARTITION@OFFSET", help="Where the record is.")],
    offset: Annotated[int | None, typer.Argument(min=0, help="Its offset, if the first argument lacks it.")] = None,
    topic: Annotated[str | None, typer.Option(help="Another topic than that of the settings.")] = None,
    unmask: Annotated[bool, typer.Option("--unmask", help="Show what is masked, too.")] = False,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Show one bad record: its bytes beside what they mean, every violation, and every try to replay it.

    Example: sdp badrows show 5 3384

    Personal fields are masked, and so is all of which nobody knows what it holds: key, headers, bytes that belong to no
    field, nested values, and JSON fields that no schema has.
    """
    named, partition, position = _coordinates(place, offset)
    chosen = topic or named
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    with err.status("reading the record …"):
        settings = load(env, [*(overrides or []), *([f"kafka.topic={chosen}"] if chosen else [])])
        found = bootstrap.bad_rows(settings).one(partition, position, unmask=unmask)
    if found is None:
        raise UsageError(f"there is no bad row {settings.kafka.topic}-{partition}@{position}")
    print_json(_row_data(found)) if as_json else _print_row(found)


def _statuses(text: str) -> list[RowStatus]:
    if text == ANY:
        return []
    try:
        return [RowStatus(text)]
    except ValueError:
        raise UsageError(f"--status: expected {', '.join(RowStatus)} or {ANY}, not {text!r}") from None


def _coordinates(place: str, offset: int | None) -> tuple[str | None, int, int]:
    if offset is not None and place.isdigit():
        return None, int(place), offset
    whole = re.fullmatch(r"(.+)-(\d+)@(\d+)", place)
    if whole is None or offset is not None:
        raise UsageError(f"expected PARTITION OFFSET or TOPIC-PARTITION@OFFSET, not {place!r}")
    return whole[1], int(whole[2]), int(whole[3])


def spark_line(counts: tuple[int, ...]) -> str:
    """Counts as bars; nothing is a space, so that a single row can be seen."""
    top = max(counts, default=0)
    return "".join(SPARKS[(n * len(SPARKS) - 1) // top] if n else " " for n in counts)


def _overview_data(found: Overview) -> dict[str, Any]:
    return {
        "since": found.since,
        "until": found.until,
        "total": found.total,
        "by": {
            g.by.value: {
                "groups": [
                    {"key": one.key, "count": one.count, "share": one.share, "trend": list(one.trend)}
                    for one in g.groups
                ],
                "others": {"groups": g.others, "count": g.other_rows},
            }
            for g in found.by
        },
    }


def _print_overview(found: Overview) -> None:
    out.print(f"{found.total:,} bad rows from {found.since:%F %T} until {found.until:%F %T} UTC", highlight=False)
    for groups in found.by:
        if groups.groups:
            out.print(_groups_table(groups))


def _groups_table(groups: Groups) -> Table:
    table = Table(title=f"by {groups.by.value}", title_justify="left")
    table.add_column(groups.by.value, overflow="fold")
    for heading in ("rows", "share"):
        table.add_column(heading, justify="right")
    table.add_column("trend", no_wrap=True)
    for one in groups.groups:
        table.add_row(Text(spelt_out(one.key)), f"{one.count:,}", f"{one.share:.1%}", spark_line(one.trend))
    if groups.others:
        table.add_row(f"({groups.others:,} more)", f"{groups.other_rows:,}", "", "")
    return table


def _row_data(found: BadRow) -> dict[str, Any]:
    row = found.row
    shown = {name: row[name] for name in row if name not in {"raw", "key", "headers"}}
    return {
        "table": found.table,
        **shown,
        "key": found.key,
        "headers": [{"key": name, "value": value} for name, value in found.headers],
        "bytes": None if row["raw"] is None else len(row["raw"]),
        "problem": found.content.problem,
        "pieces": [_piece_data(piece) for piece in found.content.pieces],
        "tries": list(found.tries),
    }


def _piece_data(piece: Piece) -> dict[str, Any]:
    return {"name": piece.name, "from": piece.start, "until": piece.end, "hex": piece.hex, "value": piece.value}


def _print_row(found: BadRow) -> None:
    row = found.row
    at = f"{row['kafka_topic']}-{row['kafka_partition']}@{row['kafka_offset']}"
    facts = {
        "record": f"{at}, {row['kafka_timestamp']:%F %T} UTC, in {found.table}",
        "state": f"{row['status']}, {row['attempt']} tries",
        "stage": row["error_type"],
        "schema id": row["schema_id"],
        "key": found.key,
        "headers": ", ".join(f"{name}={NONE if value is None else value}" for name, value in found.headers) or None,
        "judged": f"{row['failed_at']:%F %T} UTC by rule set {row['rule_set_fingerprint']}",
    }
    for name, value in facts.items():
        say(spelt_out(f"{name:10} {NONE if value is None else value}"))
    out.print(_violations_table(row["violations"]))
    out.print(_pieces_table(found))
    if found.content.problem:
        say(spelt_out(f"why the fields end here: {found.content.problem}"))
    if found.tries:
        out.print(_tries_table(found))


NONE = "–"


def _violations_table(violations: list[dict[str, Any]]) -> Table:
    table = Table("code", "field", "severity", "message", title="Violations", title_justify="left")
    for v in violations:
        table.add_row(v["code"], v["field"] or NONE, v["severity"], Text(spelt_out(v["message"] or "")))
    return table


def _pieces_table(found: BadRow) -> Table:
    table = Table(title="Value", title_justify="left")
    table.add_column("byte", justify="right")
    table.add_column("hex", no_wrap=True)
    table.add_column("field", no_wrap=True)
    table.add_column("means", overflow="fold")
    for piece in found.content.pieces:
        pairs = piece.hex.split()
        lines = [" ".join(pairs[n : n + HEX_BYTES]) for n in range(0, len(pairs), HEX_BYTES)]
        start = NONE if piece.start is None else str(piece.start)
        table.add_row(start, "\n".join(lines), Text(spelt_out(piece.name)), Text(spelt_out(piece.value)))
    return table


def _tries_table(found: BadRow) -> Table:
    table = Table(
        "at", "who", "recipe", "outcome", "codes", "message", title="Tries, newest first", title_justify="left"
    )
    for t in found.tries:
        codes = ", ".join(t["codes"] or [])
        cells = (t["who"], t["recipe"], t["outcome"], codes, t["message"] or "")
        table.add_row(f"{t['at']:%F %T}", *(Text(spelt_out(cell)) for cell in cells))
    return table
