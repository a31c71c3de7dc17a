"""Events to Avro records and back. ``payload`` and ``metadata`` become maps of JSON texts, so nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pipelines.errors import ContractViolation
from pipelines.records import Severity, Violation
from sdk.events.models import AMOUNT_PLACES, EventSchema
from sdk.events.routing import route_of

NOT_JSON = "not_json"
"""Code of the violation of a value that has no JSON text."""

_AS_JSON = ("payload", "metadata")
_SMALLEST = Decimal(1).scaleb(-AMOUNT_PLACES)


def to_record(event: EventSchema) -> dict[str, Any]:
    """The Avro record of a typed event. Raises ContractViolation for a value that is too deep or large for JSON."""
    record = event.model_dump()
    for name in _AS_JSON:
        record[name] = {key: _json(f"{name}.{key}", value) for key, value in record[name].items()}
    amount = record.get("amount")
    if isinstance(amount, Decimal):
        record["amount"] = amount.quantize(_SMALLEST)
    return record


def from_record(record: Mapping[str, Any]) -> EventSchema:
    """The typed event of a decoded Avro record.

    Raises UnknownEventType, and pydantic's ValidationError for what no event of ours can be.
    """
    texts = {name: {key: json.loads(text) for key, text in record[name].items()} for name in _AS_JSON}
    return route_of(record["event_type"]).model.model_validate({**record, **texts})


def _json(field: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of levels
        raise ContractViolation([Violation(NOT_JSON, field, f"{field}: {error}", Severity.CRITICAL)]) from None
