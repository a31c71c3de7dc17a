"""Events through a real Kafka and a real registry, read back by Confluent's client and fastavro alone."""

from __future__ import annotations

import io
import json
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient

from pipelines import settings as settings_module
from pipelines.adapters.kafka import KafkaAdmin
from pipelines.adapters.registry import Registry
from pipelines.contracts import avro
from pipelines.contracts.topics import TopicSpec
from pipelines.errors import ContractViolation, RecordTooLarge, UnknownEventType
from pipelines.settings import Settings
from sdk.events import (
    ROUTES,
    EventProducer,
    EventSchema,
    LogEvent,
    MetricEvent,
    Published,
    SystemEvent,
    TransactionEvent,
    UserActionEvent,
    from_record,
)

WHEN = "2025-12-25T10:30:00.123456Z"
PARTITIONS = 6
WAIT_S = 60


@dataclass
class Platform:
    """Topics of this test alone; the schemas are registered under the subjects that ship."""

    settings: Settings
    topics: dict[str, str]

    def values(self) -> dict[tuple[str, int, int], tuple[bytes | None, EventSchema]]:
        """Everything in the topics: where → key and event."""
        consumer = Consumer({"bootstrap.servers": self.settings.kafka.bootstrap, "group.id": uuid.uuid4().hex})
        registry = SchemaRegistryClient({"url": self.settings.registry.url})
        found = {}
        for topic in self.topics.values():
            for partition in range(PARTITIONS):
                place = TopicPartition(topic, partition, 0)
                _, end = consumer.get_watermark_offsets(place, timeout=WAIT_S)
                consumer.assign([place])
                for message in consumer.consume(end, WAIT_S) if end else ():
                    assert message.error() is None
                    value = message.value()
                    assert value is not None
                    at = topic, partition, message.offset() or 0
                    found[at] = message.key(), self._event(registry, value)
        consumer.close()
        return found

    def _event(self, registry: SchemaRegistryClient, value: bytes) -> EventSchema:
        magic, schema_id = struct.unpack(">bI", value[:5])
        assert magic == 0
        text = registry.get_schema(schema_id).schema_str
        assert text is not None
        record = fastavro.schemaless_reader(io.BytesIO(value[5:]), fastavro.parse_schema(json.loads(text)), None)
        assert isinstance(record, dict)
        return from_record(record)


@pytest.fixture
def platform(servers: Settings, tmp_path: Path) -> Platform:
    name = f"t{uuid.uuid4().hex[:10]}"
    topics = {event_type: f"{name}-{route.topic}" for event_type, route in ROUTES.items()}
    own = settings_module.load(
        home=servers.home,
        dist=servers.dist,
        producer={"spool": {"folder": str(tmp_path / "spool")}, "schema_cache": str(tmp_path / "schemas")},
    )
    KafkaAdmin(own.kafka).ensure([TopicSpec(topic, PARTITIONS, 1) for topic in topics.values()])
    for route in ROUTES.values():
        Registry(own.registry).register(route.subject, avro.load(route.subject).text)
    return Platform(own, topics)


@pytest.fixture
def producer(platform: Platform) -> Iterator[EventProducer]:
    with EventProducer(platform.settings, registry=None, topics=platform.topics) as made:
        yield made


def mixed(number: int) -> EventSchema:
    """One of each type in turn."""
    base: dict[str, Any] = {
        "event_timestamp": WHEN,
        "source_system": f"system-{number % 3}",
        "payload": {"number": number, "nested": {"list": [1.5, None, "東京"]}},
        "metadata": {"session_id": f"session-{number}"},
    }
    match number % 5:
        case 0:
            return UserActionEvent(**base, user_id=f"user-{number % 4}", action="login", resource="dashboard")
        case 1:
            amount = Decimal(number).scaleb(-2)
            return TransactionEvent(
                **base, transaction_id=f"txn-{number}", amount=amount, currency="USD", transaction_type="payment"
            )
        case 2:
            return MetricEvent(**base, metric_name="latency_ms", metric_value=number / 7, tags={"method": "GET"})
        case 3:
            return LogEvent(**base, application="shop", severity="error", message="away")
        case _:
            return SystemEvent(**base, component="broker-2", action="failed_over")


def place(result: Published) -> tuple[str | None, int | None, int | None]:
    return result["topic"], result["partition"], result["offset"]


def test_a_batch_arrives_and_is_what_it_was(platform: Platform, producer: EventProducer) -> None:
    batch = [mixed(number) for number in range(100)]
    results = producer.publish_batch(batch, timeout_s=WAIT_S)
    assert [r["event_id"] for r in results] == [e.event_id for e in batch]
    assert all(r["success"] for r in results)
    found = platform.values()
    assert {place(r): e for r, e in zip(results, batch, strict=True)} == {at: e for at, (_, e) in found.items()}
    for (topic, _, _), (_, event) in found.items():
        assert topic == platform.topics[event.event_type]
    keys = {(topic, partition, key) for (topic, partition, _), (key, _) in found.items()}
    assert len(keys) == len({(topic, key) for topic, _, key in keys}), "a key has one partition"


def test_failures_of_a_batch_stand_where_their_events_stood(platform: Platform, producer: EventProducer) -> None:
    plain = {
        "event_id": "plain-1",
        "event_type": "user_action",
        "event_timestamp": WHEN,
        "source_system": "web-app",
        "payload": {"user_id": "user-123", "action": "purchase", "amount": 99.99},
    }
    large = mixed(0).model_copy(update={"payload": {"blob": "x" * 2_000_000}})
    batch: list[EventSchema | dict[str, Any]] = [
        mixed(1),
        {**plain, "event_type": "clicks"},
        plain,
        {**plain, "payload": {"action": "purchase"}},
        large,
        mixed(2),
    ]
    results = producer.publish_batch(batch, timeout_s=WAIT_S)
    errors = [type(r["error"]) for r in results]
    nothing = type(None)
    assert errors == [nothing, UnknownEventType, nothing, ContractViolation, RecordTooLarge, nothing]
    assert [r["success"] for r in results] == [True, False, True, False, False, True]
    found = platform.values()
    assert set(found) == {place(r) for r in results if r["success"]}
    key, event = found[place(results[2])]  # type: ignore[index]
    assert key == b"user-123"
    assert isinstance(event, UserActionEvent)
    assert (event.user_id, event.payload["amount"]) == ("user-123", 99.99)


def test_one_event_at_a_time_keeps_the_order_of_its_key(platform: Platform, producer: EventProducer) -> None:
    results = [producer.publish_event(mixed(5 * n), timeout_s=WAIT_S) for n in range(0, 40, 4)]
    assert len({(r["topic"], r["partition"]) for r in results}) == 1
    assert [r["offset"] for r in results] == sorted(r["offset"] or 0 for r in results)
