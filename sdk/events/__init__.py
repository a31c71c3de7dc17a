"""Typed events: models, routing by type, and the producer that publishes them."""

from sdk.events.encoding import from_record, to_record
from sdk.events.models import (
    EventSchema,
    Level,
    LogEvent,
    MetricEvent,
    SystemEvent,
    TransactionEvent,
    UserActionEvent,
)
from sdk.events.producer import EventProducer, Published, Schemas
from sdk.events.routing import ROUTES, Route, route_of, typed

__all__ = [
    "ROUTES",
    "EventProducer",
    "EventSchema",
    "Level",
    "LogEvent",
    "MetricEvent",
    "Published",
    "Route",
    "Schemas",
    "SystemEvent",
    "TransactionEvent",
    "UserActionEvent",
    "from_record",
    "route_of",
    "to_record",
    "typed",
]
