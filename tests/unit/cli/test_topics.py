"""``sdp topics`` on a cluster in memory: what it shows, what it does, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines import bootstrap
from pipelines.cli import app, options
from pipelines.contracts.topic_plan import ClusterState, Danger, TopicPlan, plan_topics
from pipelines.contracts.topics import TopicSpec
from pipelines.errors import UsageError
from pipelines.flows.topics import Topics

CONFIG = {"retention.ms": "604800000", "compression.type": "gzip"}
LOGS = TopicSpec("api6-logs", 12, 3, CONFIG)
EVENTS = TopicSpec("raw-events", 6, 3, CONFIG)
DECLARED = [LOGS, EVENTS]
SAME = {"api6-logs": LOGS, "raw-events": EVENTS}


@dataclass
class FakeAdmin:
    """Plans on topics in memory; applies a plan by taking what is allowed as made."""

    found: dict[str, TopicSpec]
    allowed: list[set[Danger]] = field(default_factory=list)
    interrupted: bool = False

    def plan(self, topics: Iterable[TopicSpec], fit: bool = False) -> TopicPlan:
        assert fit
        return plan_topics(topics, ClusterState(3, frozenset(self.found), self.found), fit)

    def apply(
        self, plan: TopicPlan, allow: Collection[Danger] = (), told: Callable[[str], None] = lambda _: None
    ) -> TopicPlan:
        self.allowed.append(set(allow))
        for topic in plan.create:
            told(f"{topic.name}: created")
        if self.interrupted:
            raise KeyboardInterrupt
        return replace(plan, create=(), changes=plan.refused(allow))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(options.out, "width", 160)
    monkeypatch.delenv("SDP_ENV", raising=False)

    def run(admin: FakeAdmin, *arguments: str) -> Result:
        monkeypatch.setattr(bootstrap, "topics", lambda settings: Topics(DECLARED, admin))
        return CliRunner().invoke(app, ["topics", *arguments])

    return run


def cells(result: Result) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")] for line in result.stdout.split("\n")
    ]


def test_nothing_to_do_exits_with_0(run: Callable[..., Result]) -> None:
    for command in ("plan", "apply"):
        result = run(FakeAdmin(SAME), command)
        assert result.exit_code == 0
        assert "2 topics are as declared" in result.stdout


def test_unmanaged_topics_are_named_and_no_difference(run: Callable[..., Result]) -> None:
    result = run(FakeAdmin(SAME | {"stray": LOGS, "__consumer_offsets": LOGS}), "plan")
    assert result.exit_code == 0
    assert "not in conf/topics.yaml, and left alone: stray\n" in result.stdout


def test_a_difference_exits_with_1_and_is_shown(run: Callable[..., Result]) -> None:
    found = replace(LOGS, partitions=6, config=CONFIG | {"compression.type": "snappy"})
    result = run(FakeAdmin({"api6-logs": found}), "plan")
    assert result.exit_code == 1
    shown = cells(result)
    assert ["api6-logs", "compression.type", "snappy", "gzip"] in [line[:4] for line in shown]
    assert ["api6-logs", "partitions", "6", "12"] in [line[:4] for line in shown]
    assert ["raw-events", "", "missing", "6 partitions, replication 3, kept 7 days"] in shown
    assert "needs --allow-reordering" in result.stdout
    assert "1 topics to create, 1 settings to change, 1 refused" in result.stdout


def test_plan_as_json_is_one_object(run: Callable[..., Result]) -> None:
    result = run(FakeAdmin({"api6-logs": replace(LOGS, partitions=13), "stray": LOGS}), "plan", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    refused = told["changes"][0].pop("refused")
    assert refused.startswith("Kafka can't take partitions away: ")
    assert told == {
        "differs": True,
        "create": [{"topic": "raw-events", "partitions": 6, "replication": 3, "keyed": True, "config": CONFIG}],
        "changes": [
            {
                "topic": "api6-logs",
                "setting": "partitions",
                "found": "13",
                "wanted": "12",
                "danger": "reordering",
                "flag": None,
            }
        ],
        "unmanaged": ["stray"],
    }


def test_apply_shows_the_plan_does_it_and_says_so(run: Callable[..., Result]) -> None:
    admin = FakeAdmin({"api6-logs": LOGS})
    result = run(admin, "apply")
    assert result.exit_code == 0
    lines = result.stdout
    assert lines.index("1 topics to create") < lines.index("raw-events: created") < lines.index("read back: 2 topics")
    assert admin.allowed == [set()]


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [
        (["--allow-reordering"], {Danger.REORDERING}),
        (["--allow-shorter-retention"], {Danger.SHORTER_RETENTION}),
        (["--allow-cleanup-policy"], {Danger.CLEANUP_POLICY}),
        (["--allow-fewer-in-sync"], {Danger.FEWER_IN_SYNC}),
        (["--allow-reordering", "--allow-shorter-retention"], {Danger.REORDERING, Danger.SHORTER_RETENTION}),
    ],
)
def test_each_danger_has_a_flag(run: Callable[..., Result], flags: list[str], allowed: set[Danger]) -> None:
    admin = FakeAdmin(SAME)
    assert run(admin, "apply", *flags).exit_code == 0
    assert admin.allowed == [allowed]


def test_what_was_refused_exits_with_1(run: Callable[..., Result]) -> None:
    admin = FakeAdmin(SAME | {"raw-events": replace(EVENTS, partitions=3)})
    refused = run(admin, "apply")
    assert refused.exit_code == 1
    assert "read back: 0 steps done, 1 settings differ still" in refused.stdout
    assert run(admin, "apply", "--allow-reordering").exit_code == 0


def test_apply_as_json_tells_what_was_done_and_what_is_left(run: Callable[..., Result]) -> None:
    result = run(FakeAdmin({"api6-logs": replace(LOGS, partitions=6)}), "apply", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["done"] == ["raw-events: created"]
    assert (told["differs"], told["create"]) == (True, [])
    assert [(c["setting"], c["flag"]) for c in told["changes"]] == [("partitions", "--allow-reordering")]


def test_only_the_named_topics(run: Callable[..., Result]) -> None:
    admin = FakeAdmin({"raw-events": EVENTS})
    assert run(admin, "plan", "raw-events").exit_code == 0
    assert run(admin, "plan", "raw-events", "api6-logs").exit_code == 1
    result = run(admin, "apply", "raw-event")
    assert isinstance(result.exception, UsageError)
    assert "conf/topics.yaml has no topic raw-event: it has api6-logs, raw-events" in str(result.exception)
    assert not admin.allowed


def test_cut_off_it_says_how_to_go_on(run: Callable[..., Result]) -> None:
    result = run(FakeAdmin({}, interrupted=True), "apply")
    assert result.exit_code == 130
    assert "raw-events: created" in result.stdout
    assert "run the same command again" in " ".join(result.stderr.split())


@pytest.mark.parametrize("arguments", [["plan", "--env", "nowhere"], ["apply", "--set", "kafka.topik=x"]])
def test_wrong_use_is_an_error(arguments: list[str]) -> None:
    result: Any = CliRunner().invoke(app, ["topics", *arguments])
    assert isinstance(result.exception, UsageError)
