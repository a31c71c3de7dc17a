"""Publish typed events: validated, routed by their type, keyed, and framed with the id of the topic's schema.

::

    with EventProducer(settings.load()) as events:
        login = UserActionEvent(event_timestamp=now, source_system="web-app", user_id="user-1", action="login")
        print(events.publish_event(login)["offset"])
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Protocol, Self, TypedDict

from prometheus_client import REGISTRY, CollectorRegistry

from pipelines.contracts import avro, wire
from pipelines.errors import NotAcknowledged
from pipelines.settings import Settings
from sdk import metrics
from sdk.delivery import Delivered, Outbox
from sdk.events.encoding import to_record
from sdk.events.models import EventSchema
from sdk.events.routing import ROUTES, route_of, typed
from sdk.outbox import KafkaOutbox
from sdk.schemas import Registered, RegisteredSchemas

Event = EventSchema | Mapping[str, Any]


class Schemas(Protocol):
    """Where registered schemas come from."""

    def get(self, subject: str) -> Registered: ...


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


NAME = "events"
"""Folder of the spool, label of the metrics."""


class EventProducer:
    """Publishes typed events. Safe to use from many threads.

    ``topics``: event type → topic, where it is not that of ``ROUTES``; the schema stays the one of the route.
    ``outbox`` (closed by ``close``) and ``schemas``: default the ones that ``settings`` describe. Raises SpoolInUse.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        registry: CollectorRegistry | None = REGISTRY,
        outbox: Outbox | None = None,
        schemas: Schemas | None = None,
        topics: Mapping[str, str] | None = None,
    ) -> None:
        self._schemas = schemas or RegisteredSchemas(settings)
        self._topics = {name: route.topic for name, route in ROUTES.items()} | dict(topics or {})
        self._outbox = outbox or _outbox(settings, registry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, timeout_s: float = 30) -> None:
        """Close the outbox: it delivers what it accepted, for at most ``timeout_s`` seconds."""
        self._outbox.close(timeout_s)

    def send(self, event: Event) -> Future[Delivered]:
        """Accept an event; its future resolves to where it is, or fails with an SdpError.

        Raises ContractViolation, UnknownEventType, RegistryUnavailable and whatever the outbox raises at once. In
        asyncio: ``await asyncio.wrap_future(producer.send(event))``.
        """
        whole = typed(event)
        route = route_of(whole.event_type)
        registered = self._schemas.get(route.subject)
        body = avro.encode(registered.schema, to_record(whole))
        value = wire.frame(registered.schema_id, body)
        return self._outbox.put(self._topics[whole.event_type], route.key(whole), value)

    def publish_event(self, event: Event, timeout_s: float = 30) -> Published:
        """Send an event and wait until it is acknowledged. Raises what ``send`` does, and NotAcknowledged."""
        result = _outcome(event, self.send(event), time.monotonic() + timeout_s, timeout_s)
        if result["error"] is not None:
            raise result["error"]
        return result

    def publish_batch(self, events: Iterable[Event], timeout_s: float = 30) -> list[Published]:
        """Send events and wait for all of them, ``timeout_s`` seconds in all: one result per event, in order.

        An event that fails does not stop the others; nothing is raised for it, whatever it is.
        """
        accepted = [(event, self._accepted(event)) for event in events]
        deadline = time.monotonic() + timeout_s
        return [_outcome(event, future, deadline, timeout_s) for event, future in accepted]

    def _accepted(self, event: Event) -> Future[Delivered]:
        try:
            return self.send(event)
        except Exception as error:  # noqa: BLE001 - whatever was given as this event, the others are sent
            failed: Future[Delivered] = Future()
            failed.set_exception(error)
            return failed


def _outcome(event: Event, future: Future[Delivered], deadline: float, timeout_s: float) -> Published:
    result = Published(
        event_id=_id(event), success=False, topic=None, partition=None, offset=None, timestamp_ms=None, error=None
    )
    try:
        at = future.result(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, CancelledError):
        return {**result, "error": NotAcknowledged(f"event {result['event_id']}", timeout_s)}
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


def _id(event: object) -> str | None:
    """What an event calls itself, if it is one."""
    if isinstance(event, EventSchema):
        return getattr(event, "event_id", None)
    try:
        found = event.get("event_id") if isinstance(event, Mapping) else None
    except Exception:  # noqa: BLE001 - a mapping of another making; ``send`` has told what is wrong with it
        return None
    return found if isinstance(found, str) else None


def _outbox(settings: Settings, registry: CollectorRegistry | None) -> KafkaOutbox:
    outbox = KafkaOutbox(settings, NAME)
    if registry is not None:
        metrics.expose(outbox, registry)
    return outbox
