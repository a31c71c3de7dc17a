"""Publishing: one result per event, in order, whatever becomes of each."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import avro
from pipelines.errors import (
    BrokerUnavailable,
    ContractViolation,
    NotAcknowledged,
    RegistryUnavailable,
    SdpError,
    UnknownEventType,
)
from pipelines.settings import load
from sdk.delivery import Delivered
from sdk.events import EventProducer, EventSchema, MetricEvent, UserActionEvent
from sdk.schemas import Registered

SETTINGS = load("local")
WHEN = "2025-12-25T10:30:00Z"
AWAY = BrokerUnavailable("Kafka", "broker:9092", "it sleeps")
FULL = BrokerUnavailable("the spool", "/spool", "it is full")
NO_REGISTRY = RegistryUnavailable("schema registry", "http://registry", "it sleeps")
AT_ONCE, LATER, NEVER = "at-once", "later", "never"


@dataclass
class Registry:
    """Gives each subject an id, from 7 on, in the order in which they are asked for first."""

    is_away: bool = False
    ids: dict[str, int] = field(default_factory=dict)

    def get(self, subject: str) -> Registered:
        if self.is_away:
            raise NO_REGISTRY
        return Registered(self.ids.setdefault(subject, 7 + len(self.ids)), avro.load(subject))


@dataclass
class Box:
    """Delivers in order of the offsets; a user or metric called AT_ONCE, LATER or NEVER fails that way."""

    sent: list[tuple[str, bytes | None, bytes]] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)

    def put(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        *,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Future[Delivered]:
        if key == AT_ONCE.encode():
            raise FULL
        self.sent.append((topic, key, value))
        future: Future[Delivered] = Future()
        if key == LATER.encode():
            future.set_exception(AWAY)
        elif key != NEVER.encode():
            future.set_result(Delivered(topic, 3, len(self.sent) - 1, 1_766_658_600_000))
        return future

    def close(self, timeout_s: float = 30) -> None:
        self.closed.append(timeout_s)


def by(user: str, number: int = 0) -> UserActionEvent:
    return UserActionEvent(
        event_id=f"evt-{number}",
        event_timestamp=WHEN,
        source_system="web-app",
        user_id=user,
        action="login",
    )


def producer(box: Box | None = None, registry: Registry | None = None, **how: Any) -> EventProducer:
    return EventProducer(SETTINGS, outbox=box or Box(), schemas=registry or Registry(), **how)


def test_an_event_is_published_where_its_type_belongs() -> None:
    box = Box()
    result = producer(box).publish_event(by("user-1", 4))
    assert result == {
        "event_id": "evt-4",
        "success": True,
        "topic": "raw-events",
        "partition": 3,
        "offset": 0,
        "timestamp_ms": 1_766_658_600_000,
        "error": None,
    }
    [(topic, key, value)] = box.sent
    assert (topic, key) == ("raw-events", b"user-1")
    assert struct.unpack(">bI", value[:5]) == (0, 7)
    record = fastavro.schemaless_reader(io.BytesIO(value[5:]), avro.load("raw-events-value", 1).parsed, None)
    assert isinstance(record, dict)
    assert (record["user_id"], record["event_type"]) == ("user-1", "user_action")


def test_values_carry_the_id_of_their_topics_schema() -> None:
    box, registry = Box(), Registry()
    own = producer(box, registry)
    metric = MetricEvent(event_timestamp=WHEN, source_system="a", metric_name="m", metric_value=1.5)
    own.publish_batch([by("a"), metric, by("b"), metric])
    assert list(registry.ids) == ["raw-events-value", "raw-metrics-value"]
    assert [value[4] for _, _, value in box.sent] == [7, 8, 7, 8]


def test_a_registry_that_is_away_is_an_error_until_it_is_back() -> None:
    registry = Registry(is_away=True)
    own = producer(registry=registry)
    with pytest.raises(RegistryUnavailable):
        own.publish_event(by("a"))
    registry.is_away = False
    assert own.publish_event(by("a"))["success"]


def test_topics_of_another_name_keep_their_schema() -> None:
    box, registry = Box(), Registry()
    own = producer(box, registry, topics={"user_action": "test-events"})
    assert own.publish_event(by("a"))["topic"] == "test-events"
    assert list(registry.ids) == ["raw-events-value"]


def test_it_closes_its_outbox() -> None:
    box = Box()
    with producer(box) as own:
        own.publish_event(by("a"))
    own.close(3)
    assert box.closed == [30, 3]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (by(AT_ONCE), type(FULL)),
        (by(LATER), BrokerUnavailable),
        (by(NEVER), NotAcknowledged),
        (EventSchema(event_type="clicks", event_timestamp=WHEN, source_system="a"), UnknownEventType),
        (EventSchema(event_type="user_action", event_timestamp=WHEN, source_system="a"), ContractViolation),
        ({}, ContractViolation),
        ({"event_type": "clicks", "event_timestamp": WHEN, "source_system": "a"}, UnknownEventType),
    ],
)
def test_one_event_that_fails_raises(event: EventSchema | Mapping[str, Any], error: type[SdpError]) -> None:
    with pytest.raises(error):
        producer().publish_event(event, timeout_s=0.01)


def test_a_future_that_is_cancelled() -> None:
    box = Box()
    own = producer(box)
    future = own.send(by(NEVER))
    assert future.cancel()
    assert own.send(by("a")).result(1).offset == 1


GOOD, WRONG, UNKNOWN = "good", "wrong", "unknown"
ERRORS: dict[str, type[Exception] | None] = {
    GOOD: None,
    AT_ONCE: BrokerUnavailable,
    LATER: BrokerUnavailable,
    NEVER: NotAcknowledged,
    WRONG: ContractViolation,
    UNKNOWN: UnknownEventType,
}


def made(kind: str, number: int, *, as_mapping: bool) -> EventSchema | Mapping[str, Any]:
    raw: dict[str, Any] = {
        "event_id": f"evt-{number}",
        "event_type": "clicks" if kind == UNKNOWN else "user_action",
        "event_timestamp": WHEN,
        "source_system": "web-app",
        "payload": {"action": "login"} | ({} if kind == WRONG else {"user_id": kind}),
    }
    return raw if as_mapping else EventSchema.model_validate(raw)


@given(st.lists(st.tuples(st.sampled_from(sorted(ERRORS)), st.booleans()), max_size=12))
def test_a_batch_has_one_result_per_event_in_order_whatever_fails(kinds: list[tuple[str, bool]]) -> None:
    batch = [made(kind, number, as_mapping=as_mapping) for number, (kind, as_mapping) in enumerate(kinds)]
    box = Box()
    results = producer(box).publish_batch(iter(batch), timeout_s=0.001)
    assert [r["event_id"] for r in results] == [f"evt-{number}" for number in range(len(kinds))]
    for (kind, _), result in zip(kinds, results, strict=True):
        expected = ERRORS[kind]
        assert result["success"] == (expected is None) == (result["error"] is None)
        assert expected is None or isinstance(result["error"], expected)
        assert (result["offset"] is None) == (expected is not None)
    offsets = [r["offset"] for r in results if r["offset"] is not None]
    assert offsets == sorted(offsets)  # sent in the order of the batch
    assert [box.sent[offset][1] for offset in offsets] == [b"good"] * len(offsets)


class Untold(Mapping[str, Any]):
    """A mapping that fails whatever it is asked."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError("not now")

    def __iter__(self) -> Any:
        raise RuntimeError("not now")

    def __len__(self) -> int:
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    ("odd", "error"),
    [
        (None, ContractViolation),
        ("event", ContractViolation),
        (["event"], ContractViolation),
        ({1: 2}, ContractViolation),
        ({"event_id": 7}, ContractViolation),
        (Untold(), RuntimeError),
    ],
)
def test_whatever_is_in_a_batch_has_a_result_and_the_others_are_sent(odd: Any, error: type[Exception]) -> None:
    before, result, after = producer().publish_batch([by("a", 1), odd, by("b", 2)])
    assert (before["success"], after["success"], after["event_id"]) == (True, True, "evt-2")
    assert isinstance(result.pop("error"), error)  # type: ignore[misc]
    assert result == dict.fromkeys(("event_id", "topic", "partition", "offset", "timestamp_ms")) | {"success": False}


def test_a_registry_that_is_away_fails_each_event_of_a_batch() -> None:
    results = producer(registry=Registry(is_away=True)).publish_batch([by("a"), by("b")])
    assert [r["error"] for r in results] == [NO_REGISTRY, NO_REGISTRY]


def test_an_empty_batch() -> None:
    assert producer().publish_batch([]) == []


def test_a_batch_waits_for_what_is_on_its_way() -> None:
    box = Box()
    own = producer(box)
    first = own.send(by(NEVER))
    threading.Timer(0.05, first.set_result, [Delivered("raw-events", 1, 9, 0)]).start()

    class Slow(Box):
        def put(self, *given: Any, **more: Any) -> Future[Delivered]:
            return first

    [result] = producer(Slow()).publish_batch([by("a")], timeout_s=30)
    assert (result["success"], result["offset"]) == (True, 9)


def test_in_asyncio() -> None:
    async def publish() -> Delivered:
        return await asyncio.wrap_future(producer().send(by("user-1")))

    assert asyncio.run(publish()).topic == "raw-events"
