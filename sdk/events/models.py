"""Typed events, validated when they are made: pydantic's ValidationError names every field that is wrong.

Each class is what one topic holds (``sdk.events.routing``); ``schemas/<topic>-value`` has its Avro form.
Source: spec/4, "Event Schemas".
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from pydantic import StringConstraints as Chars

MAX_NAME = 256
MAX_TEXT = 8192
"""Characters. Large data belong elsewhere, and a reference to them into the event."""

AMOUNT_DIGITS, AMOUNT_PLACES = 20, 4
"""Four places hold the smallest units of every ISO 4217 currency. As in schemas/raw-transactions-value."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
"""Begins a moment as ISO 8601 has it."""


def _no_number(moment: Any) -> Any:
    """Refuse what would be read as seconds or milliseconds since 1970, whichever of the two it is."""
    if isinstance(moment, datetime) or (isinstance(moment, str) and _DATE.match(moment)):
        return moment
    raise ValueError("not a datetime or a text as ISO 8601 has it")


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("not a moment of the years 1 to 9999 in UTC") from None


def _capitals(level: Any) -> Any:
    return level.upper() if isinstance(level, str) else level


Name = Annotated[str, Chars(min_length=1, max_length=MAX_NAME, pattern=r"\S")]
Text = Annotated[str, Chars(max_length=MAX_TEXT)]
Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), AfterValidator(_utc)]
"""With a time zone; kept in UTC, to the microsecond."""
Json = dict[str, JsonValue]


class Level(StrEnum):
    """How bad it is, in the words of ``logging``."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


AnyCase = Annotated[Level, BeforeValidator(_capitals)]


class EventSchema(BaseModel):
    """What every event has. With an ``event_type`` that is known it stands for the typed event its ``payload`` makes.

    ``payload`` and ``metadata`` hold whatever JSON can hold; numbers are finite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    event_id: Name = Field(default_factory=lambda: str(uuid.uuid4()))
    event_type: Name
    event_timestamp: Moment
    source_system: Name
    payload: Json = {}
    metadata: Json = {}
    schema_version: str = Field("1.0", pattern=r"^[0-9]+\.[0-9]+$", max_length=32)


class UserActionEvent(EventSchema):
    """Somebody did something."""

    event_type: Literal["user_action"] = "user_action"
    user_id: Name
    action: Name
    resource: Name | None = None


class TransactionEvent(EventSchema):
    """Money moved. ``amount`` is exact, negative for what is paid back; ``currency`` as in ISO 4217."""

    event_type: Literal["transaction"] = "transaction"
    transaction_id: Name
    account_id: Name | None = None
    amount: Decimal = Field(max_digits=AMOUNT_DIGITS, decimal_places=AMOUNT_PLACES)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    transaction_type: Name


class MetricEvent(EventSchema):
    """One measured value. ``metric_unit`` in words, such as ``milliseconds``."""

    event_type: Literal["metric_event"] = "metric_event"
    metric_name: Name
    metric_value: float
    metric_unit: Name | None = None
    tags: dict[str, str] = {}


class LogEvent(EventSchema):
    """One line of an application's log."""

    event_type: Literal["log_event"] = "log_event"
    application: Name
    severity: AnyCase
    message: Text
    logger: Name | None = None


class SystemEvent(EventSchema):
    """Something happened to a part of the system: ``component`` is which, ``action`` what (started, failed_over)."""

    event_type: Literal["system_event"] = "system_event"
    component: Name
    action: Name
    severity: AnyCase = Level.INFO
    message: Text | None = None
