"""``conf/topics.yaml`` as it ships, and files that say something impossible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import settings
from pipelines.contracts.topic_file import declared_topics, wanted_topics
from pipelines.contracts.topics import TopicSpec
from pipelines.errors import InvalidSetting
from pipelines.settings import KafkaSettings

WEEK, QUARTER, TWO_YEARS, SEVEN_YEARS = "604800000", "7776000000", "63072000000", "220752000000"
COMMON = {"cleanup.policy": "delete", "retention.bytes": "-1", "min.insync.replicas": "2"}
GZIP = COMMON | {"compression.type": "gzip", "retention.ms": WEEK}


@pytest.fixture
def kafka() -> KafkaSettings:
    return settings.load("local", ["kafka.topic=logs", "kafka.dlq_topic=dead"]).kafka


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kafka: KafkaSettings) -> Any:
    """Replaces the file by one of these topics; the settings were read before."""
    (tmp_path / "conf").mkdir()
    monkeypatch.setattr(settings, "ROOT", tmp_path)

    def write(*topics: dict[str, Any], **parts: Any) -> list[TopicSpec]:
        file = {"layers": {"raw": "7d"}, "defaults": {"replication": 3}, "topics": list(topics)} | parts
        (tmp_path / "conf" / "topics.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
        return declared_topics(kafka)

    return write


def test_the_jobs_need_two_topics_only(kafka: KafkaSettings) -> None:
    assert wanted_topics(kafka) == [
        TopicSpec("logs", 12, 3, GZIP | {"max.message.bytes": "4194304"}, keyed=True),
        TopicSpec("dead", 12, 3, GZIP | {"max.message.bytes": "8388608"}, keyed=False),
    ]


def test_the_topics_that_are_declared(kafka: KafkaSettings) -> None:
    found = {
        t.name: (t.partitions, t.config["retention.ms"], t.config["compression.type"]) for t in declared_topics(kafka)
    }
    assert found == {
        "logs": (12, WEEK, "gzip"),
        "dead": (12, WEEK, "gzip"),
        "raw-events": (6, WEEK, "snappy"),
        "raw-transactions": (6, WEEK, "snappy"),
        "raw-system-events": (6, WEEK, "snappy"),
        "raw-metrics": (6, WEEK, "snappy"),
        "raw-logs": (6, WEEK, "snappy"),
        "bronze-events": (6, QUARTER, "snappy"),
        "silver-events": (6, TWO_YEARS, "snappy"),
        "gold-metrics": (6, SEVEN_YEARS, "snappy"),
        "dlq-events": (6, WEEK, "snappy"),
        "events.iot.sensors": (12, WEEK, "snappy"),
        "events.clickstream": (24, WEEK, "snappy"),
        "events.transactions": (12, WEEK, "snappy"),
        "events.dlq": (6, WEEK, "snappy"),
    }
    assert {t.replication for t in declared_topics(kafka)} == {3}
    assert {t.config["min.insync.replicas"] for t in declared_topics(kafka)} == {"2"}
    assert [t.name for t in declared_topics(kafka) if not t.keyed] == ["dead", "dlq-events", "events.dlq"]


def test_a_topic_may_differ_from_the_defaults(written: Any) -> None:
    assert written(
        {"name": "a", "layer": "raw", "partitions": 1},
        {"name": "b", "layer": "raw", "partitions": 2, "replication": 2, "config": {"retention.ms": "5"}},
        defaults={"replication": 3, "config": {"compression.type": "zstd"}},
    ) == [
        TopicSpec("a", 1, 3, {"compression.type": "zstd", "retention.ms": WEEK}),
        TopicSpec("b", 2, 2, {"compression.type": "zstd", "retention.ms": "5"}),
    ]


GOOD = {"name": "a", "layer": "raw", "partitions": 1}


@pytest.mark.parametrize(
    ("topics", "parts", "told"),
    [
        ([GOOD | {"name": "A"}], {}, "topics.0.name: String should match pattern"),
        ([GOOD | {"name": "a_b"}], {}, "topics.0.name: String should match pattern"),
        ([GOOD | {"name": "a..b"}], {}, "topics.0.name: String should match pattern"),
        ([GOOD | {"name": "__consumer-offsets"}], {}, "topics.0.name: String should match pattern"),
        ([GOOD | {"name": "a" * 201}], {}, "topics.0.name: String should have at most 200"),
        ([GOOD | {"setting": "topic"}], {}, "either a name or a setting that holds it"),
        ([{"layer": "raw", "partitions": 1}], {}, "either a name or a setting that holds it"),
        ([GOOD | {"name": "gold-a"}], {}, "gold-a is a name for the layer gold, not raw"),
        ([GOOD | {"layer": "gold"}], {}, "layers: gold has no retention"),
        ([GOOD | {"layer": "lead"}], {}, "topics.0.layer: Input should be"),
        ([GOOD | {"partitions": 0}], {}, "topics.0.partitions: Input should be greater"),
        ([GOOD | {"keys": True}], {}, "topics.0.keys: Extra inputs"),
        (
            [GOOD],
            {"layers": {"raw": "7"}},
            "layers.raw: Value error, expected days or years, such as 7d or 2y, not '7'",
        ),
        ([GOOD], {"layers": {"raw": "0d"}}, "layers.raw: Value error, expected days or years"),
        ([GOOD, GOOD], {}, "a: there are two topics of this name"),
        ([GOOD | {"name": "logs"}, {"setting": "topic", "layer": "raw", "partitions": 1}], {}, "logs: there are two"),
        ([GOOD | {"config": {"retention.ms": "week"}}], {}, "a: retention.ms: 'week' is no whole number"),
        ([GOOD | {"config": {"min.insync.replicas": "4"}}], {}, "a: min.insync.replicas: 4 is not from 1 to"),
        ([GOOD | {"config": {"preallocate": "true"}}], {}, "a: preallocate: not one of "),
    ],
)
def test_a_file_that_can_not_be_is_refused(
    written: Any, topics: list[dict[str, Any]], parts: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidSetting) as caught:
        written(*topics, **parts)
    assert told in str(caught.value)
    assert "topics.yaml: " in str(caught.value)


def test_everything_that_is_wrong_is_told_at_once(written: Any) -> None:
    with pytest.raises(InvalidSetting) as caught:
        written(GOOD | {"name": "A"}, GOOD | {"partitions": 0})
    assert "topics.0.name" in str(caught.value)
    assert "topics.1.partitions" in str(caught.value)
