"""What both Python peers share: read everything a topic holds, decode by schema id, apply the same rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import uuid4

import fastavro
from confluent_kafka import Consumer, Message, TopicPartition

from pipelines.adapters.kafka import KafkaAdmin
from pipelines.adapters.registry import Registry
from pipelines.contracts import avro, wire
from pipelines.contracts.canonical import content_hash
from pipelines.contracts.evaluate import evaluator
from pipelines.contracts.evolution import base_schema
from pipelines.contracts.kafka_options import librdkafka_options
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.rules import RuleSet
from pipelines.contracts.wire import HEADER_LENGTH
from pipelines.records import Severity, Violation
from pipelines.settings import Settings

CONSUME = 10_000
"""Messages per call; more gains nothing."""

_CONSUMER: dict[str, Any] = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "queued.min.messages": 200_000,
    "queued.max.messages.kbytes": 262_144,
    "fetch.message.max.bytes": 4_194_304,
    "fetch.wait.max.ms": 50,
    "check.crcs": False,
}


@dataclass(slots=True)
class Judged:
    """One message, decoded and judged. ``record`` is None where it could not be decoded."""

    message: Message
    schema_id: int | None
    record: dict[str, Any] | None
    violations: list[Violation]
    hash: int | None

    @property
    def is_valid(self) -> bool:
        return self.record is not None and not any(v.severity is Severity.CRITICAL for v in self.violations)


class Drain:
    """Reads a topic from the start to where it ends when the drain begins."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        options = {**librdkafka_options(settings.kafka), **_CONSUMER, "group.id": f"bench-{uuid4().hex}"}
        self._consumer = Consumer(options)

    def __iter__(self) -> Iterator[list[Message]]:
        marks = KafkaAdmin(self._kafka).watermarks(self._kafka.topic)
        self._ends = {p: until for p, (first, until) in marks.items() if until > first}
        self._consumer.assign([TopicPartition(self._kafka.topic, p, marks[p][0]) for p in self._ends])
        left = sum(until - marks[p][0] for p, until in self._ends.items())
        while left > 0:
            messages = self._consumer.consume(CONSUME, 1.0)
            left -= len(messages)
            yield messages

    def commit(self) -> None:
        """Everything that was read is stored: commit the ends."""
        ends = [TopicPartition(self._kafka.topic, p, until) for p, until in self._ends.items()]
        self._consumer.commit(offsets=ends, asynchronous=False)
        self._consumer.close()


class Judge:
    """Decode and validate, compiled once."""

    def __init__(self, settings: Settings) -> None:
        self.rules: RuleSet = load_rules(settings.rules_path, base_schema(settings.registry.subject).kinds)
        self._violations = evaluator(self.rules)
        texts = Registry(settings.registry).snapshot(settings.registry.subject)
        self._schemas = {i: avro.parse(text) for i, text in texts.items()}
        self._parsed = {wire.frame(i, b""): (i, fastavro.parse_schema(json.loads(text))) for i, text in texts.items()}

    def __call__(self, message: Message) -> Judged:
        value = message.value()
        known = self._parsed.get(value[:HEADER_LENGTH]) if value else None
        if known is None or value is None:
            return self._refused(message, value)
        schema_id, schema = known
        body = BytesIO(value)
        body.seek(HEADER_LENGTH)
        try:
            record: Any = fastavro.schemaless_reader(body, schema, None)
        except (EOFError, IndexError, ValueError, OverflowError, MemoryError):
            return self._refused(message, value)
        if body.tell() != len(value):
            return self._refused(message, value)
        found = self._violations(record, message.timestamp()[1])
        return Judged(message, schema_id, record, found, content_hash(record))

    def _refused(self, message: Message, value: bytes | None) -> Judged:
        """Say why; only bad messages come here."""
        framed = wire.parse(value)
        if isinstance(framed, Violation):
            return Judged(message, None, None, [framed], None)
        schema = self._schemas.get(framed.schema_id)
        if schema is None:
            unknown = Violation("unknown_schema_id", None, f"schema id {framed.schema_id}", Severity.CRITICAL)
            return Judged(message, framed.schema_id, None, [unknown], None)
        problem = avro.decode(schema, framed.body)
        if not isinstance(problem, Violation):
            problem = Violation(
                "corrupt_avro", None, "fastavro refuses what the strict walk accepts", Severity.CRITICAL
            )
        return Judged(message, framed.schema_id, None, [problem], None)
