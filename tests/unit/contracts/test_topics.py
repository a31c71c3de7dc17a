"""Topics as wanted, fitted to fewer brokers, and compared with what is there."""

from __future__ import annotations

from pipelines import settings
from pipelines.contracts.topics import Difference, TopicSpec, compare, wanted_topics

SPEC = TopicSpec("t", 12, 3, {"min.insync.replicas": "2", "retention.ms": "1"})


def test_topics_of_conf() -> None:
    kafka = settings.load("local", ["kafka.topic=logs", "kafka.dlq_topic=dead"]).kafka
    config = {"retention.ms": "604800000", "compression.type": "gzip", "min.insync.replicas": "2"}
    assert wanted_topics(kafka) == [
        TopicSpec("logs", 12, 3, config | {"max.message.bytes": "4194304"}),
        TopicSpec("dead", 12, 3, config | {"max.message.bytes": "8388608"}),
    ]


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
