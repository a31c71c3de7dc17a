"""Publish typed events: validated, routed by their type, keyed, and framed with the id of the topic's schema."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol, TypedDict

from pipelines.contracts import avro, wire
from pipelines.errors import NotAcknowledged, SdpError
from sdk.delivery import Delivered, Outbox
from sdk.events.encoding import to_record
from sdk.events.models import EventSchema
from sdk.events.routing import route_of, typed

Event = EventSchema | Mapping[str, Any]


class SchemaIds(Protocol):
    """What is asked of the registry."""

    def id_of(self, subject: str, avsc: str) -> int:
        """Id of a schema under a subject. Raises RegistryUnavailable, and UsageError when it is refused."""
        ...


class Published(TypedDict):
    """What became of one event. With ``success`` it is at topic, partition and offset; else ``error`` says why not.

    ``timestamp_ms``: what Kafka keeps as its timestamp. ``event_id`` is None for a mapping that has none.
    """

    event_id: str | None
    success: bool
    topic: str | None
    partition: int | None
    offset: int | None
    timestamp_ms: int | None
    error: Exception | None


class EventProducer:
    """Publishes through ``outbox``, which the caller may share and must close.

    ``topics``: event type → topic, where it is not that of ``ROUTES``; the subject is always ``<topic>-value``.
    A schema's id is asked for once. Threads may share a producer.
    """

    def __init__(self, outbox: Outbox, schema_ids: SchemaIds, topics: Mapping[str, str] | None = None) -> None:
        self._outbox, self._schema_ids = outbox, schema_ids
        self._topics = dict(topics or {})
        self._ids: dict[str, int] = {}

    def send(self, event: Event) -> Future[Delivered]:
        """Accept an event; its future resolves to where it is, or fails with an SdpError.

        Raises ContractViolation, UnknownEventType, RegistryUnavailable and whatever the outbox raises at once. In
        asyncio: ``await asyncio.wrap_future(producer.send(event))``.
        """
        whole = typed(event)
        route = route_of(whole.event_type)
        topic = self._topics.get(whole.event_type, route.topic)
        schema = avro.load(route.subject)
        body = avro.encode(schema, to_record(whole))
        value = wire.frame(self._id(topic, schema), body)
        return self._outbox.put(topic, route.key(whole), value)

    def publish_event(self, event: Event, timeout_s: float = 30) -> Published:
        """Send an event and wait until it is acknowledged. Raises what ``send`` does, and NotAcknowledged."""
        result = _outcome(event, self.send(event), time.monotonic() + timeout_s, timeout_s)
        if result["error"] is not None:
            raise result["error"]
        return result

    def publish_batch(self, events: Iterable[Event], timeout_s: float = 30) -> list[Published]:
        """Send events and wait for all of them, ``timeout_s`` seconds in all: one result per event, in order.

        An event that fails does not stop the others; nothing is raised for it.
        """
        accepted = [(event, self._accepted(event)) for event in events]
        deadline = time.monotonic() + timeout_s
        return [_outcome(event, future, deadline, timeout_s) for event, future in accepted]

    def _accepted(self, event: Event) -> Future[Delivered]:
        try:
            return self.send(event)
        except SdpError as error:
            failed: Future[Delivered] = Future()
            failed.set_exception(error)
            return failed

    def _id(self, topic: str, schema: avro.Schema) -> int:
        if topic not in self._ids:
            self._ids[topic] = self._schema_ids.id_of(f"{topic}-value", schema.text)
        return self._ids[topic]


def _outcome(event: Event, future: Future[Delivered], deadline: float, timeout_s: float) -> Published:
    event_id = event.event_id if isinstance(event, EventSchema) else event.get("event_id")
    result = Published(
        event_id=event_id, success=False, topic=None, partition=None, offset=None, timestamp_ms=None, error=None
    )
    try:
        at = future.result(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, CancelledError):
        return {**result, "error": NotAcknowledged(f"event {event_id}", timeout_s)}
    except Exception as error:  # noqa: BLE001 - whatever became of this event, the others have a result too
        return {**result, "error": error}
    return {
        **result,
        "success": True,
        "topic": at.topic,
        "partition": at.partition,
        "offset": at.offset,
        "timestamp_ms": at.timestamp_ms,
    }
