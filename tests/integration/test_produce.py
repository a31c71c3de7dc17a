"""`sdp init` and `sdp produce` against a real Kafka and a real registry."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from pipelines.adapters.kafka import KafkaAdmin, ensure_topics
from pipelines.adapters.registry import Registry
from pipelines.contracts import avro
from pipelines.contracts.topics import Difference, TopicSpec
from pipelines.errors import BrokerUnavailable, RegistryUnavailable, UsageError
from pipelines.settings import Settings
from pipelines.traffic.generate import Plan, generate
from pipelines.traffic.mix import PRESETS


@pytest.fixture
def settings(servers: Settings) -> Settings:
    """Topics of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kafka = servers.kafka.model_copy(update={"topic": name, "dlq_topic": f"{name}-dlq"})
    return servers.model_copy(update={"kafka": kafka})


def sdp(settings: Settings, *arguments: str) -> list[str]:
    """The command line that runs `sdp` with these settings."""
    chosen = {
        "kafka.bootstrap": settings.kafka.bootstrap,
        "kafka.topic": settings.kafka.topic,
        "kafka.dlq_topic": settings.kafka.dlq_topic,
        "registry.url": settings.registry.url,
    }
    flags = [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-c", "from pipelines.cli import main; main()", *arguments, *flags]


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(sdp(settings, *arguments), capture_output=True, text=True, check=False, timeout=900)


def everything(settings: Settings) -> Iterator[KafkaMessage]:
    """All messages of the topic, partition by partition."""
    ends = KafkaAdmin(settings.kafka).watermarks(settings.kafka.topic)
    options = {"bootstrap.servers": settings.kafka.bootstrap, "group.id": "test", "enable.auto.commit": False}
    consumer = Consumer(options | {"auto.offset.reset": "earliest", "fetch.message.max.bytes": 4_000_000})
    consumer.assign([TopicPartition(settings.kafka.topic, p, start) for p, (start, _) in ends.items()])
    left = sum(end - start for start, end in ends.values())
    while left:
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        left -= 1
        yield message
    consumer.close()


def test_init_is_idempotent(settings: Settings) -> None:
    first, second = (run(settings, "init", "--json") for _ in range(2))
    found: list[dict[str, Any]] = [json.loads(r.stdout) for r in (first, second)]
    assert [t["created"] for t in found[0]["topics"]] == [True, True]
    assert [t["created"] for t in found[1]["topics"]] == [False, False]
    assert found[0]["schema_ids"] == found[1]["schema_ids"]
    assert all(t["partitions"] == 12 and not t["differences"] for t in found[1]["topics"])


def test_a_topic_that_differs_is_reported_and_left_alone(settings: Settings) -> None:
    admin = KafkaAdmin(settings.kafka)
    admin.ensure([TopicSpec(settings.kafka.topic, 3, 1, {"retention.ms": "1000000000"})])
    for _ in range(2):
        report = ensure_topics(settings)[0]
        assert not report.created
        assert Difference("partitions", "12", "3") in report.differences
        assert Difference("retention.ms", "604800000", "1000000000") in report.differences


def test_kafka_holds_exactly_the_plan(settings: Settings, tmp_path: Path) -> None:
    expect = tmp_path / "expected.json"
    arguments = ("--count", "20000", "--seed", "7", "--span", "2h", "--expect", str(expect), "--json")
    result = run(settings, "produce", *arguments)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told == json.loads(expect.read_text(encoding="utf-8"))
    plan = Plan(20_000, 7, PRESETS["default"], 7_200_000, told["until_ms"], told["schema_id"])
    wanted = Counter((m.key, m.value, m.timestamp_ms, m.headers) for m in generate(plan))
    found = list(everything(settings))
    assert Counter((m.key(), m.value(), m.timestamp()[1], tuple(m.headers() or ())) for m in found) == wanted
    assert {str(p): n for p, n in Counter(m.partition() for m in found).items()} == told["partitions"]
    assert told["valid"] + told["invalid"] == told["count"] == told["acknowledged"] == 20_000


def test_a_duplicate_follows_in_its_partition(settings: Settings) -> None:
    result = run(settings, "produce", "--count", "5000", "--seed", "1", "--mix", "duplicate_different_content=5%")
    assert result.returncode == 0, result.stderr
    seen: dict[bytes, int] = {}
    for message in everything(settings):
        key, offset = message.key(), message.offset()
        assert key is not None
        assert offset is not None
        if message.headers():
            assert seen[key] < offset
        else:
            seen[key] = offset


def test_ctrl_c_reports_what_was_sent(settings: Settings) -> None:
    command = sdp(settings, "produce", "--count", "1000000", "--rate", "500", "--seed", "1", "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the first line of progress: it is sending
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=240)
    told = json.loads(stdout)
    assert process.returncode == 130
    assert told["stopped"]
    assert 0 < told["count"] == told["acknowledged"] < 1_000_000
    sent, missing = told["acknowledged"], 1_000_000 - told["acknowledged"]
    last = stderr.splitlines()[-1]
    assert last.startswith(f"sdp: interrupted: {sent:,} of 1,000,000 records are in Kafka and stay there.")
    assert f"`sdp produce --count {missing}`" in last
    assert sum(end for _, end in KafkaAdmin(settings.kafka).watermarks(settings.kafka.topic).values()) == told["count"]


def test_values_that_kafka_refuses_are_counted(settings: Settings) -> None:
    KafkaAdmin(settings.kafka).ensure([TopicSpec(settings.kafka.topic, 1, 1, {"max.message.bytes": "600"})])
    result = run(settings, "produce", "--count", "200", "--seed", "1", "--mix", "path_too_long=50%", "--json")
    told = json.loads(result.stdout)
    assert result.returncode == 3
    assert told["acknowledged"] + sum(told["failures"].values()) == 200
    assert "Kafka did not take all records" in result.stderr


def test_registry_keeps_ids_and_refuses_what_is_incompatible(settings: Settings) -> None:
    registry = Registry(settings.registry)
    subject, schema = f"{settings.kafka.topic}-value", avro.load("api6-logs-value", 1).text
    assert registry.snapshot(subject) == {}
    first = registry.register(subject, schema)
    assert registry.compatibility(subject) == "BACKWARD"
    assert Registry(settings.registry).register(subject, json.dumps(json.loads(schema))) == first
    wider = json.loads(schema)
    wider["fields"].append({"name": "region", "type": "string", "default": "eu"})
    second = registry.register(subject, json.dumps(wider))
    assert list(registry.snapshot(subject)) == [first, second]
    wider["fields"].append({"name": "zone", "type": "string"})
    with pytest.raises(UsageError, match="refused"):
        registry.register(subject, json.dumps(wider))
    assert json.loads(Registry(settings.registry).snapshot(subject)[first]) == json.loads(schema)


def test_servers_that_do_not_answer(settings: Settings) -> None:
    nowhere = settings.kafka.model_copy(update={"bootstrap": "localhost:1"})
    with pytest.raises(BrokerUnavailable):
        KafkaAdmin(nowhere, patience_s=0.5).watermarks("any")
    for url in ("http://localhost:1/apis/ccompat/v7", settings.registry.url.removesuffix("v7") + "no-such-api"):
        with pytest.raises(RegistryUnavailable):
            Registry(settings.registry.model_copy(update={"url": url})).snapshot("any")


def test_a_topic_that_does_not_exist(settings: Settings) -> None:
    admin = KafkaAdmin(settings.kafka)
    assert not admin.exists(settings.kafka.topic)
    with pytest.raises(UsageError, match="sdp init"):
        admin.watermarks(settings.kafka.topic)
