"""Produce traffic: make sure that topics and schema are there, generate, send, and say what must become of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from time import monotonic
from typing import Any, Protocol

from pipelines.contracts import avro
from pipelines.contracts.topics import TopicReport
from pipelines.traffic.expected import Expected
from pipelines.traffic.generate import SCHEMA_VERSION, Message, Plan, blocks

CHUNK = 2_000
"""Messages between two looks at rate, progress and stop."""

CHUNKS_PER_S = 10
"""At a low rate chunks get smaller, so that records flow instead of arriving in bursts."""


class Sender(Protocol):
    """Takes messages in order and counts what became of them."""

    topic: str
    accepted: int
    gave_up: bool

    @property
    def delivered(self) -> Mapping[int, int]: ...
    @property
    def failures(self) -> Mapping[str, int]: ...
    def send(self, messages: Sequence[Message]) -> None: ...
    def poll(self) -> None: ...
    def flush(self) -> None: ...


class SchemaStore(Protocol):
    """The registry, as far as registering goes."""

    def register(self, subject: str, avsc: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What this flow needs from the outside world."""

    ensure_topics: Callable[[], list[TopicReport]]
    schemas: SchemaStore
    subject: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """Topics and schema as they were found or made. ``schema_ids``: version of the subject → id."""

    topics: list[TopicReport]
    schema_ids: dict[int, int]


@dataclass(frozen=True, slots=True)
class Progress:
    """So many messages are sent, acknowledged and failed by now."""

    accepted: int
    acknowledged: int
    failed: int


@dataclass(frozen=True, slots=True)
class Produced:
    """The result: ``expected`` counts what was handed to Kafka, ``delivered`` (by partition) what it acknowledged."""

    topic: str
    plan: Plan
    expected: Expected
    delivered: dict[int, int]
    failures: dict[str, int]
    elapsed_s: float
    stopped: bool

    @property
    def acknowledged(self) -> int:
        return sum(self.delivered.values())

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values; ``partitions`` are the acknowledged messages of each."""
        return self.expected.as_json() | {
            "topic": self.topic,
            "schema_id": self.plan.schema_id,
            "seed": self.plan.seed,
            "until_ms": self.plan.until_ms,
            "span_ms": self.plan.span_ms,
            "acknowledged": self.acknowledged,
            "partitions": {str(partition): number for partition, number in sorted(self.delivered.items())},
            "failures": self.failures,
            "elapsed_s": round(self.elapsed_s, 3),
            "stopped": self.stopped,
        }


def prepare(ports: Ports) -> Prepared:
    """Create missing topics and register every version of the schema. Idempotent.

    Raises BrokerUnavailable, RegistryUnavailable, and UsageError when a schema is not backward compatible.
    """
    topics = ports.ensure_topics()
    texts = {version: avro.load(ports.subject, version).text for version in avro.versions(ports.subject)}
    return Prepared(topics, {v: ports.schemas.register(ports.subject, text) for v, text in texts.items()})


def produce(
    plan: Plan, sender: Sender, rate: float, stop: Event, on_progress: Callable[[Progress], None] = lambda _: None
) -> Produced:
    """Generate the plan's messages and send them, ``rate`` a second (0: as fast as possible).

    Ends early when ``stop`` is set or the sender gave up; what was accepted by then is flushed and counted.
    """
    expected, began = Expected(), monotonic()
    for chunk in _chunks(plan, rate):
        if stop.is_set() or sender.gave_up:
            break
        sender.send(chunk)
        expected.add(chunk)
        on_progress(_progress(sender))
        _keep_pace(sender, rate, began, stop)
    sender.flush()
    on_progress(_progress(sender))
    stopped = expected.count < plan.count
    delivered, failures = dict(sender.delivered), dict(sender.failures)
    return Produced(sender.topic, plan, expected, delivered, failures, monotonic() - began, stopped)


def with_schema(plan: Plan, prepared: Prepared) -> Plan:
    """The plan with the id of the schema version that the generator writes."""
    return replace(plan, schema_id=prepared.schema_ids[SCHEMA_VERSION])


def _chunks(plan: Plan, rate: float) -> Iterator[list[Message]]:
    size = max(1, min(CHUNK, int(rate / CHUNKS_PER_S))) if rate else CHUNK
    for block in blocks(plan):
        for start in range(0, len(block), size):
            yield block[start : start + size]


def _keep_pace(sender: Sender, rate: float, began: float, stop: Event) -> None:
    """Wait until the messages sent so far are due."""
    sender.poll()
    ahead_s = began + sender.accepted / rate - monotonic() if rate else 0
    if ahead_s > 0:
        stop.wait(ahead_s)


def _progress(sender: Sender) -> Progress:
    return Progress(sender.accepted, sum(sender.delivered.values()), sum(sender.failures.values()))
