"""Topics fitted to fewer brokers, compared with what is there, and what can't be said of one."""

from __future__ import annotations

import pytest

from pipelines.contracts.topics import Difference, TopicSpec, compare, flaws

SPEC = TopicSpec("t", 12, 3, {"min.insync.replicas": "2", "retention.ms": "1"})


def test_fewer_brokers_hold_fewer_copies() -> None:
    one, two = SPEC.fitted(1), SPEC.fitted(2)
    assert (one.replication, one.config["min.insync.replicas"]) == (1, "1")
    assert (two.replication, two.config["min.insync.replicas"]) == (2, "2")
    assert SPEC.fitted(5) == SPEC


def test_only_what_is_wanted_is_compared() -> None:
    found = TopicSpec("t", 6, 3, {"retention.ms": "2", "segment.bytes": "9"})
    assert compare(SPEC, found) == (
        Difference("partitions", "12", "6"),
        Difference("min.insync.replicas", "2", "not set"),
        Difference("retention.ms", "1", "2"),
    )
    assert compare(SPEC, SPEC) == ()


@pytest.mark.parametrize(
    ("setting", "one", "other", "same"),
    [
        ("cleanup.policy", "compact,delete", "delete,compact", True),
        ("cleanup.policy", "compact,delete", "delete", False),
        ("retention.ms", "0100", "100", True),
        ("retention.ms", "-1", "1", False),
        ("compression.type", "gzip", "snappy", False),
    ],
)
def test_two_ways_to_write_a_value_are_one_value(setting: str, one: str, other: str, same: bool) -> None:
    specs = [TopicSpec("t", 1, 1, {setting: value}) for value in (one, other)]
    assert (compare(*specs) == ()) == same


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (SPEC, []),
        (TopicSpec("a.b-c_D9", 1, 1, {"retention.ms": "-1", "cleanup.policy": "delete,compact"}), []),
        (TopicSpec("", 1, 1), ["'' is no name for a topic"]),
        (TopicSpec("..", 1, 1), ["'..' is no name for a topic"]),
        (TopicSpec("a b", 1, 1), ["'a b' is no name for a topic"]),
        (TopicSpec("ä", 1, 1), ["'ä' is no name for a topic"]),
        (TopicSpec("t\n", 1, 1), ["'t\\n' is no name for a topic"]),
        (TopicSpec("t" * 250, 1, 1), [f"'{'t' * 250}' is no name for a topic"]),
        (TopicSpec("t", 0, 0), ["partitions must be at least 1", "replication must be at least 1"]),
        (
            TopicSpec("t", 1, 1, {"min.insync.replicas": "2"}),
            ["min.insync.replicas: 2 is not from 1 to the replication, 1"],
        ),
        (
            TopicSpec("t", 1, 1, {"min.insync.replicas": "0"}),
            ["min.insync.replicas: 0 is not from 1 to the replication, 1"],
        ),
        (TopicSpec("t", 1, 1, {"min.insync.replicas": "-1"}), ["min.insync.replicas: '-1' is no whole number"]),
        (TopicSpec("t", 1, 1, {"retention.ms": "7d"}), ["retention.ms: '7d' is no whole number, and not -1"]),
        (TopicSpec("t", 1, 1, {"retention.ms": "-2"}), ["retention.ms: '-2' is no whole number, and not -1"]),
        (
            TopicSpec("t", 1, 1, {"cleanup.policy": "delete,forget"}),
            ["cleanup.policy: 'delete,forget' is none of compact, delete"],
        ),
        (
            TopicSpec("t", 1, 1, {"compression.type": "GZIP"}),
            ["compression.type: 'GZIP' is none of gzip, lz4, producer, snappy, uncompressed, zstd"],
        ),
    ],
)
def test_what_can_be_said_of_a_topic(spec: TopicSpec, told: list[str]) -> None:
    assert flaws(spec) == told


def test_a_setting_whose_change_can_not_be_judged_is_none_that_may_be_declared() -> None:
    [told] = flaws(TopicSpec("t", 1, 1, {"unclean.leader.election.enable": "true"}))
    assert told.startswith("unclean.leader.election.enable: not one of cleanup.policy, compression.type, ")
