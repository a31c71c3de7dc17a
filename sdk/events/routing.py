"""Which topic an event goes to, under which key, and what it must be there. Source: spec/4, "Topic Routing"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pipelines.errors import ContractViolation, UnknownEventType
from pipelines.records import Severity, Violation
from sdk.events.models import (
    EventSchema,
    LogEvent,
    MetricEvent,
    SystemEvent,
    TransactionEvent,
    UserActionEvent,
)


@dataclass(frozen=True, slots=True)
class Route:
    """``keys``: fields whose first one that is set is the key, so that what belongs together stays in order."""

    topic: str
    model: type[EventSchema]
    keys: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The topic's schema, in ``schemas/``."""
        return f"{self.topic}-value"

    def key(self, event: EventSchema) -> bytes:
        """The Kafka key of an event of ``model``."""
        return next(str(value).encode() for name in self.keys if (value := getattr(event, name)) is not None)


NOT_AN_EVENT = "not_an_event"
"""Code of the violation of what is neither an event nor a mapping."""

ROUTES: Mapping[str, Route] = {
    "user_action": Route("raw-events", UserActionEvent, ("user_id",)),
    "transaction": Route("raw-transactions", TransactionEvent, ("account_id", "transaction_id")),
    "system_event": Route("raw-system-events", SystemEvent, ("source_system",)),
    "metric_event": Route("raw-metrics", MetricEvent, ("metric_name",)),
    "log_event": Route("raw-logs", LogEvent, ("application",)),
}


def route_of(event_type: str) -> Route:
    """Raises UnknownEventType."""
    try:
        return ROUTES[event_type]
    except KeyError:
        raise UnknownEventType(event_type, tuple(ROUTES)) from None


def typed(event: EventSchema | Mapping[str, Any]) -> EventSchema:
    """The typed event that an event stands for; itself if it is one.

    A plain one, or a mapping, gives the fields of its type in the payload; the payload stays as it is. Raises
    UnknownEventType, and ContractViolation with every field that is wrong.
    """
    if not isinstance(event, EventSchema | Mapping):
        wrong = f"an event or a mapping is needed, not {type(event).__name__}"
        raise ContractViolation([Violation(NOT_AN_EVENT, None, wrong, Severity.CRITICAL)])
    try:
        plain = event if isinstance(event, EventSchema) else _read(event)
        model = route_of(plain.event_type).model
        if isinstance(plain, model):
            return plain
        own = {name: plain.payload[name] for name in model.model_fields if name in _own(model) & plain.payload.keys()}
        return model.model_validate({**plain.model_dump(warnings=False), **own})
    except ValidationError as error:
        raise ContractViolation([_violation(e) for e in error.errors(include_input=False)]) from None


def _read(raw: Mapping[str, Any]) -> EventSchema:
    """As its type if it has fields of it beside the payload, else as a plain event. An unknown type has no fields."""
    event_type = raw.get("event_type")
    model = route_of(event_type).model if isinstance(event_type, str) else EventSchema
    return (model if _own(model) & raw.keys() else EventSchema).model_validate(raw)


def _own(model: type[EventSchema]) -> set[str]:
    return model.model_fields.keys() - EventSchema.model_fields.keys()


def _violation(error: Any) -> Violation:
    field = ".".join(map(str, error["loc"])) or None
    return Violation(error["type"], field, f"{field or 'the event'}: {error['msg']}", Severity.CRITICAL)
