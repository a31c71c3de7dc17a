"""``sdp topics``: the topics of conf/topics.yaml beside those of the cluster."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.options import Env, Json, Set, load, on_interrupt, out, print_json, say
from pipelines.contracts.topic_file import DAY_MS
from pipelines.contracts.topic_plan import COSTS, Change, Danger, TopicPlan
from pipelines.contracts.topics import RETENTION_MS, TopicSpec

if TYPE_CHECKING:
    from pipelines.flows.topics import Topics

DIFFERS = 1
CUT_OFF = "interrupted: the changes that were printed are made, the others are not; run the same command again"

Names = Annotated[
    list[str] | None, typer.Argument(metavar="TOPIC", help="Only these topics; without any, all of the file.")
]


def _flag(danger: Danger) -> Any:
    return typer.Option(danger.flag, help=f"Accept that {COSTS[danger]}.")


Reordering = Annotated[bool, _flag(Danger.REORDERING)]
ShorterRetention = Annotated[bool, _flag(Danger.SHORTER_RETENTION)]
CleanupPolicy = Annotated[bool, _flag(Danger.CLEANUP_POLICY)]
FewerInSync = Annotated[bool, _flag(Danger.FEWER_IN_SYNC)]

group = typer.Typer(help="Topics as conf/topics.yaml declares them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group to ``sdp``."""
    app.add_typer(group, name="topics")


@group.command("plan")
def plan_command(names: Names = None, env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Show how the cluster differs from conf/topics.yaml; changes nothing.

    Example: sdp topics plan --json

    Exit codes: 0 nothing to do, 1 there is a difference, 2 wrong use, 3 Kafka is away. Topics that the file does not
    name are listed and left alone.
    """
    plan = _topics(env, overrides).plan(names or ())
    print_json(as_data(plan)) if as_json else show(plan)
    if not plan.is_empty:
        raise typer.Exit(DIFFERS)


@group.command()
def apply(
    names: Names = None,
    reordering: Reordering = False,
    shorter_retention: ShorterRetention = False,
    cleanup_policy: CleanupPolicy = False,
    fewer_in_sync: FewerInSync = False,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Make the cluster's topics as conf/topics.yaml declares them, but for what is refused.

    Example: sdp topics apply raw-logs --allow-shorter-retention

    Shows the plan, makes what costs nothing and what a flag allows, and reads back. No topic is deleted. Run it again
    after an interruption, it goes on. Exit codes: 0 all is as declared, 1 something was refused, 2 wrong use, 3 Kafka
    is away.
    """
    flags = zip(
        (Danger.REORDERING, Danger.SHORTER_RETENTION, Danger.CLEANUP_POLICY, Danger.FEWER_IN_SYNC),
        (reordering, shorter_retention, cleanup_policy, fewer_in_sync),
        strict=True,
    )
    allow = {danger for danger, is_given in flags if is_given}
    topics = _topics(env, overrides)
    plan = topics.plan(names or ())
    if not as_json:
        show(plan, allow)
    left = _apply(topics, plan, allow, as_json)
    if not left.is_empty:
        raise typer.Exit(DIFFERS)


def as_data(plan: TopicPlan, allow: Collection[Danger] = ()) -> dict[str, Any]:
    """The plan as one JSON object; ``refused`` is null for a change that is made."""
    return {
        "differs": not plan.is_empty,
        "create": [_topic_data(topic) for topic in plan.create],
        "changes": [_change_data(change, allow) for change in plan.changes],
        "unmanaged": list(plan.unmanaged),
    }


def show(plan: TopicPlan, allow: Collection[Danger] = ()) -> None:
    """Print the same as a table and a verdict."""
    if not plan.is_empty:
        out.print(_table(plan, allow))
    if plan.unmanaged:
        say(f"not in conf/topics.yaml, and left alone: {', '.join(plan.unmanaged)}")
    refused = plan.refused(allow)
    if plan.is_empty:
        say(f"{len(plan.wanted)} topics are as declared", style="bold green")
        return
    changes = len(plan.changes) - len(refused)
    text = f"{len(plan.create)} topics to create, {changes} settings to change, {len(refused)} refused"
    say(text, style="bold red" if refused else "bold")


def _apply(topics: Topics, plan: TopicPlan, allow: Collection[Danger], as_json: bool) -> TopicPlan:
    done: list[str] = []

    def tell(line: str) -> None:
        done.append(line)
        if not as_json:
            say(line)

    with on_interrupt(CUT_OFF):
        left = topics.apply(plan, allow, tell)
    if as_json:
        print_json({"done": done, **as_data(left, allow)})
    elif left.is_empty:
        say(f"read back: {len(left.wanted)} topics are as declared", style="bold green")
    else:
        say(f"read back: {len(done)} steps done, {len(left.changes)} settings differ still", style="bold red")
    return left


def _topics(env: str | None, overrides: list[str] | None) -> Topics:
    from pipelines import bootstrap  # takes a second to import; --help should not

    return bootstrap.topics(load(env, overrides))


def _table(plan: TopicPlan, allow: Collection[Danger]) -> Table:
    table = Table(title="How the cluster differs from conf/topics.yaml", title_justify="left")
    for heading in ("topic", "setting", "is", "becomes"):
        table.add_column(heading)
    table.add_column("refused, because", overflow="fold")
    for topic in plan.create:
        table.add_row(topic.name, "", "missing", _described(topic), "", style="green")
    for change in plan.changes:
        refusal = "" if change.is_allowed(allow) else change.refusal
        cells = map(Text, (change.topic, change.setting, change.found, change.wanted, refusal))
        table.add_row(*cells, style="red" if refusal else "yellow" if change.danger else None)
    return table


def _described(topic: TopicSpec) -> str:
    """What people look for first; --json has every setting."""
    kept = int(topic.config[RETENTION_MS])
    span = "for ever" if kept < 0 else f"{kept / DAY_MS:g} days"
    return f"{topic.partitions} partitions, replication {topic.replication}, kept {span}"


def _topic_data(topic: TopicSpec) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "partitions": topic.partitions,
        "replication": topic.replication,
        "keyed": topic.keyed,
        "config": dict(topic.config),
    }


def _change_data(change: Change, allow: Collection[Danger]) -> dict[str, Any]:
    return {
        "topic": change.topic,
        "setting": change.setting,
        "found": change.found,
        "wanted": change.wanted,
        "danger": change.danger,
        "flag": change.danger.flag if change.danger and not change.way_out else None,
        "refused": None if change.is_allowed(allow) else change.refusal,
    }
