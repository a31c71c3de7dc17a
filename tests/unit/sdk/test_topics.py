"""The administrator on a cluster in memory: what it does, in which order, and what it says when it comes to nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipelines.contracts.topic_plan import ClusterState, Danger
from pipelines.contracts.topics import Difference, TopicSpec
from pipelines.errors import BrokerUnavailable, InvalidSetting
from sdk.topics import TopicAdmin, TopicConfig

CONFIG = {"retention.ms": "604800000", "compression.type": "producer", "min.insync.replicas": "2"}
EVENTS = TopicSpec("events", 6, 3, CONFIG)


@dataclass
class FakeCluster:
    """Topics in memory. ``late``: so many reads still show the state before the last change."""

    topics: dict[str, TopicSpec] = field(default_factory=dict)
    brokers: int = 3
    late: int = 0
    taken: set[str] = field(default_factory=set)
    diary: list[str] = field(default_factory=list)
    address: str = "fake:9092"
    patience_s: float = 5
    _before: dict[str, TopicSpec] = field(default_factory=dict)

    def read(self, names: Collection[str], complete: bool = False) -> ClusterState:
        self.diary.append("read")
        topics = self.topics
        if self._before and self.late > 0:
            topics, self.late = self._before, self.late - 1
        return ClusterState(self.brokers, frozenset(topics), {n: topics[n] for n in names if n in topics})

    def create(self, topic: TopicSpec) -> bool:
        if topic.name in self.taken:  # by somebody else, in another size, a moment before
            self.topics = self.topics | {topic.name: replace(topic, partitions=topic.partitions + 1)}
            return False
        self._set(topic, f"create {topic.name}")
        return True

    def grow(self, topic: str, partitions: int) -> None:
        self._set(replace(self.topics[topic], partitions=partitions), f"grow {topic} {partitions}")

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        found = self.topics[topic]
        self._set(replace(found, config={**found.config, **config}), f"configure {topic} {dict(config)}")

    def _set(self, topic: TopicSpec, entry: str) -> None:
        self.diary.append(entry)
        self._before, self.topics = self.topics, self.topics | {topic.name: topic}


def with_config(**values: str) -> TopicSpec:
    return replace(EVENTS, config=CONFIG | {name.replace("_", "."): value for name, value in values.items()})


def test_a_config_in_the_words_of_a_plan() -> None:
    config = TopicConfig(
        name="raw-events",
        num_partitions=6,
        replication_factor=3,
        retention_ms=604800000,
        compression_type="snappy",
        min_insync_replicas=2,
        config={"max.message.bytes": "1"},
    )
    named = {"retention.ms": "604800000", "compression.type": "snappy", "min.insync.replicas": "2"}
    assert config.spec() == TopicSpec("raw-events", 6, 3, named | {"max.message.bytes": "1"}, keyed=True)


def test_everything_that_is_wrong_with_a_config_is_told() -> None:
    with pytest.raises(InvalidSetting) as caught:
        TopicConfig("no name", 0, retention_ms=-2, compression_type="zip", min_insync_replicas=4)
    told = str(caught.value)
    for part in ("'no name' is no name", "partitions must be", "retention.ms", "compression.type: 'zip'", "insync"):
        assert part in told


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"num_partitions": "6"}, "num_partitions: '6' is no whole number"),
        ({"num_partitions": 1.5}, "num_partitions: 1.5 is no whole number"),
        ({"num_partitions": True}, "num_partitions: True is no whole number"),
        ({"replication_factor": None}, "replication_factor: None is no whole number"),
        ({"retention_ms": 1.5}, "retention_ms: 1.5 is no whole number"),
        ({"min_insync_replicas": "2"}, "min_insync_replicas: '2' is no whole number"),
        ({"name": 5}, "name: 5 is no text"),
        ({"compression_type": None}, "compression_type: None is no text"),
        ({"config": {"retention.bytes": 5}}, "config 'retention.bytes': 5 is no text"),
        ({"config": {5: "x"}}, "config 5: 5 is no text"),
        ({"config": [("retention.bytes", "5")]}, "config: [('retention.bytes', '5')] is no mapping"),
    ],
)
def test_a_value_of_another_type_is_told_by_its_name(odd: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        TopicConfig(**{"name": "x", "num_partitions": 6, **odd})
    assert told in str(caught.value)


@pytest.mark.parametrize("options", [{"bogus": 1}, {"socket.timeout.ms": "soon"}, {"security.protocol": "none"}])
def test_options_that_the_client_does_not_take(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(options))):
        TopicAdmin("localhost:1", options)


def test_a_topic_is_created_once() -> None:
    cluster = FakeCluster()
    admin = TopicAdmin.of(cluster)
    assert admin.create_topic(TopicConfig("events", 6))
    assert not admin.create_topic(TopicConfig("events", 12)), "it is there, and stays as it is"
    assert admin.describe("events") == EVENTS
    assert (admin.topics(), admin.describe("others")) == (["events"], None)
    assert [entry for entry in cluster.diary if entry != "read"] == ["create events"]


def test_fewer_copies_are_made_only_if_the_caller_says_so() -> None:
    cluster = FakeCluster(brokers=1)
    TopicAdmin.of(cluster).create_topic(TopicConfig("dear", 1))
    TopicAdmin.of(cluster).create_topic(TopicConfig("cheap", 1), fit=True)
    assert {name: topic.replication for name, topic in cluster.topics.items()} == {"dear": 3, "cheap": 1}


def test_to_ensure_is_to_report_not_to_change() -> None:
    cluster = FakeCluster({"events": replace(EVENTS, partitions=3)})
    reports = TopicAdmin.of(cluster).ensure([EVENTS, replace(EVENTS, name="new")])
    assert [(r.name, r.created, r.differences) for r in reports] == [
        ("events", False, (Difference("partitions", "6", "3"),)),
        ("new", True, ()),
    ]
    assert cluster.topics["events"].partitions == 3


def test_a_plan_is_made_step_by_step_and_read_back() -> None:
    cluster = FakeCluster({"events": with_config(retention_ms="1", compression_type="gzip"), "other": EVENTS})
    admin, told = TopicAdmin.of(cluster), list[str]()
    wanted: list[TopicSpec | TopicConfig] = [replace(EVENTS, partitions=7, keyed=False), TopicConfig("new", 1)]
    left = admin.apply(admin.plan(wanted), told=told.append)
    assert left.is_empty
    assert cluster.diary == [
        "read",
        "create new",
        "configure events {'compression.type': 'producer', 'retention.ms': '604800000'}",
        "grow events 7",
        "read",
    ]
    assert told == [
        "new: created",
        "events: compression.type gzip → producer",
        "events: retention.ms 1 → 604800000",
        "events: partitions 6 → 7",
    ]
    assert cluster.topics["other"] == EVENTS


def test_what_is_refused_is_left_and_the_rest_is_done() -> None:
    cluster = FakeCluster({"events": with_config(retention_ms="-1", compression_type="gzip")})
    admin = TopicAdmin.of(cluster)
    wanted = [replace(EVENTS, partitions=9)]
    left = admin.apply(admin.plan(wanted))
    assert [change.setting for change in left.changes] == ["partitions", "retention.ms"]
    assert cluster.topics["events"] == with_config(retention_ms="-1")
    left = admin.apply(admin.plan(wanted), {Danger.SHORTER_RETENTION})
    assert [change.setting for change in left.changes] == ["partitions"]
    left = admin.apply(admin.plan(wanted), {Danger.REORDERING})
    assert left.is_empty
    assert cluster.topics["events"] == replace(EVENTS, partitions=9)


def test_what_a_part_of_a_plan_leaves_out_is_declared_all_the_same() -> None:
    cluster = FakeCluster({"events": EVENTS, "stray": EVENTS})
    admin = TopicAdmin.of(cluster)
    left = admin.apply(admin.plan([EVENTS, TopicConfig("new", 1)]).only({"new"}))
    assert (left.unmanaged, [topic.name for topic in left.wanted]) == (("stray",), ["new"])


def test_nothing_to_do_touches_nothing() -> None:
    cluster = FakeCluster({"events": EVENTS})
    admin = TopicAdmin.of(cluster)
    assert admin.apply(admin.plan([EVENTS])).is_empty
    assert set(cluster.diary) == {"read"}


def test_it_waits_until_the_change_is_in_force() -> None:
    cluster = FakeCluster({"events": with_config(compression_type="gzip")}, late=2)
    admin = TopicAdmin.of(cluster)
    assert admin.apply(admin.plan([EVENTS])).is_empty
    assert cluster.diary.count("read") == 4


def test_a_change_that_does_not_come_into_force_is_an_error_that_names_the_topic() -> None:
    cluster = FakeCluster({"events": with_config(compression_type="gzip")}, late=10_000, patience_s=0.01)
    admin = TopicAdmin.of(cluster)
    with pytest.raises(BrokerUnavailable, match=r"fake:9092 .*changes of events were accepted and are not"):
        admin.apply(admin.plan([EVENTS]))


def test_a_topic_that_somebody_else_made_meanwhile_is_not_ours() -> None:
    cluster = FakeCluster(taken={"events"})
    admin, told = TopicAdmin.of(cluster), list[str]()
    left = admin.apply(admin.plan([EVENTS]), told=told.append)
    assert told == ["events: somebody else created it meanwhile"]
    assert [(change.setting, change.found) for change in left.changes] == [("partitions", "7")]


def test_cut_off_after_any_step_a_second_run_finishes() -> None:
    begin: dict[str, TopicSpec] = {
        "events": with_config(retention_ms="1"),
        "b": replace(EVENTS, name="b", partitions=1),
    }
    wanted: list[TopicSpec | TopicConfig] = [EVENTS, TopicConfig("new", 1), replace(EVENTS, name="b", keyed=False)]

    def cut(steps: int) -> Any:
        seen = list[str]()

        def told(line: str) -> None:
            seen.append(line)
            if len(seen) == steps:
                raise KeyboardInterrupt

        return told

    for steps in (1, 2, 3):
        cluster = FakeCluster(begin)
        admin = TopicAdmin.of(cluster)
        with pytest.raises(KeyboardInterrupt):
            admin.apply(admin.plan(wanted), told=cut(steps))
        assert admin.apply(admin.plan(wanted)).is_empty
        assert cluster.topics["events"] == EVENTS
        assert cluster.topics["b"].partitions == 6
