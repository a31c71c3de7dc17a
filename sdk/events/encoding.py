"""Events to Avro records and back. ``payload`` and ``metadata`` become maps of JSON texts, so nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from pipelines.errors import ContractViolation
from pipelines.records import Severity, Violation
from sdk.events.models import AMOUNT_DIGITS, AMOUNT_PLACES, EventSchema
from sdk.events.routing import route_of

NOT_JSON = "not_json"
"""Code of the violation of a value that has no JSON text."""
NOT_EXACT = "not_exact"
"""Code of the violation of an amount that the schema can't hold as it is."""

_AS_JSON = ("payload", "metadata")
_SMALLEST = Decimal((0, (1,), -AMOUNT_PLACES))
_EXACTLY = Context(prec=AMOUNT_DIGITS, traps=[InvalidOperation, Inexact])
"""Ours: the precision that a service sets for its own sums is no matter of an event."""


def to_record(event: EventSchema) -> dict[str, Any]:
    """The Avro record of a typed event. Raises ContractViolation for a value that is too deep or large for JSON.

    What was changed since the event was validated, as the inside of a payload may be, is found here or by Avro.
    """
    record = event.model_dump(warnings=False)
    for name in _AS_JSON:
        if not isinstance(record[name], dict):
            raise _violated(NOT_JSON, name, "no mapping")
        record[name] = {key: _json(f"{name}.{key}", value) for key, value in record[name].items()}
    amount = record.get("amount")
    if isinstance(amount, Decimal):
        record["amount"] = _with_all_places(amount)
    return record


def from_record(record: Mapping[str, Any]) -> EventSchema:
    """The typed event of a decoded Avro record.

    Raises UnknownEventType, and pydantic's ValidationError for what no event of ours can be.
    """
    texts = {name: {key: json.loads(text) for key, text in record[name].items()} for name in _AS_JSON}
    return route_of(record["event_type"]).model.model_validate({**record, **texts})


def _json(field: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:  # thousands of digits or levels, or another type
        raise _violated(NOT_JSON, field, error) from None


def _with_all_places(amount: Decimal) -> Decimal:
    if amount.is_finite():
        with suppress(InvalidOperation, Inexact):
            return amount.quantize(_SMALLEST, context=_EXACTLY)
    most = f"{AMOUNT_DIGITS} digits, {AMOUNT_PLACES} of them behind the point"
    raise _violated(NOT_EXACT, "amount", f"{amount} is no number of at most {most}")


def _violated(code: str, field: str, why: object) -> ContractViolation:
    return ContractViolation([Violation(code, field, f"{field}: {why}", Severity.CRITICAL)])
