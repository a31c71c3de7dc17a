"""Events are what they claim to be, and come back from Avro as they went in."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal, Inexact, localcontext
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.contracts import avro, event_schema
from pipelines.errors import ContractViolation, UnknownEventType
from pipelines.settings import ROOT
from sdk.events import (
    ROUTES,
    EventSchema,
    Level,
    LogEvent,
    MetricEvent,
    SystemEvent,
    TransactionEvent,
    UserActionEvent,
    from_record,
    route_of,
    to_record,
    typed,
)

WHEN = "2025-12-25T10:30:00Z"
BASE: dict[str, Any] = {"event_id": "evt-1", "event_timestamp": WHEN, "source_system": "web-app"}
OWN: dict[str, dict[str, Any]] = {
    "user_action": {"user_id": "user-1", "action": "login", "resource": "dashboard"},
    "transaction": {
        "transaction_id": "txn-1",
        "account_id": "acc-1",
        "amount": Decimal("99.99"),
        "currency": "USD",
        "transaction_type": "payment",
    },
    "metric_event": {
        "metric_name": "request_latency_ms",
        "metric_value": 45.2,
        "metric_unit": "milliseconds",
        "tags": {"endpoint": "/api/users", "method": "GET"},
    },
    "log_event": {"application": "shop", "severity": "ERROR", "message": "away", "logger": "shop.stock"},
    "system_event": {"component": "broker-2", "action": "failed_over", "severity": "WARNING", "message": None},
}
"""Event type → its own fields, all of them."""
KEYS = {
    "user_action": b"user-1",
    "transaction": b"acc-1",
    "metric_event": b"request_latency_ms",
    "log_event": b"shop",
    "system_event": b"web-app",
}
TOPICS = {
    "user_action": "raw-events",
    "transaction": "raw-transactions",
    "system_event": "raw-system-events",
    "metric_event": "raw-metrics",
    "log_event": "raw-logs",
}

every_type = pytest.mark.parametrize("event_type", sorted(OWN))

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(lambda t: bool(t.strip()))
texts = st.text(st.characters(codec="utf-8"), max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(texts, json_values, max_size=4)
moments = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone itself
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
)
amounts = st.decimals(
    min_value=Decimal("-9999999999999999.9999"), max_value=Decimal("9999999999999999.9999"), places=4
) | st.decimals(min_value=-1000, max_value=1000, places=2)
base = {
    "event_id": names,
    "event_timestamp": moments,
    "source_system": names,
    "payload": maps,
    "metadata": maps,
    "schema_version": st.sampled_from(["1.0", "2.13"]),
}
events = st.one_of(
    st.builds(UserActionEvent, **base, user_id=names, action=names, resource=st.none() | names),
    st.builds(
        TransactionEvent,
        **base,
        transaction_id=names,
        account_id=st.none() | names,
        amount=amounts,
        currency=st.sampled_from(["USD", "EUR", "CLF"]),
        transaction_type=names,
    ),
    st.builds(
        MetricEvent,
        **base,
        metric_name=names,
        metric_value=st.floats(allow_nan=False, allow_infinity=False),
        metric_unit=st.none() | names,
        tags=st.dictionaries(texts, texts, max_size=4),
    ),
    st.builds(
        LogEvent, **base, application=names, severity=st.sampled_from(Level), message=texts, logger=st.none() | names
    ),
    st.builds(
        SystemEvent,
        **base,
        component=names,
        action=names,
        severity=st.sampled_from(Level),
        message=st.none() | texts,
    ),
)
"""Every event that can be made."""


def through_avro(event: EventSchema, subject: str) -> dict[str, Any]:
    """Written with our code, read by fastavro alone with the file that ships."""
    text = (ROOT / "schemas" / subject / "v1.avsc").read_text(encoding="utf-8")
    body = avro.encode(avro.load(subject, 1), to_record(event))
    assert isinstance(avro.decode(avro.load(subject, 1), body), dict)
    found = fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(json.loads(text)), None)
    assert isinstance(found, dict)
    return found


@given(events)
def test_an_event_comes_back_as_it_was(event: EventSchema) -> None:
    assert from_record(through_avro(event, route_of(event.event_type).subject)) == event


@given(events)
def test_what_consumers_see_in_avro(event: EventSchema) -> None:
    record = through_avro(event, route_of(event.event_type).subject)
    assert record["event_timestamp"] == event.event_timestamp
    assert {key: json.loads(text) for key, text in record["payload"].items()} == event.payload
    assert record["event_type"] == event.event_type


@given(events)
def test_a_plain_event_with_the_same_fields_in_its_payload_is_the_same_but_for_the_payload(event: EventSchema) -> None:
    own = {name: value for name, value in event if name not in EventSchema.model_fields}
    payload = json.loads(json.dumps({**event.payload, **own}, default=str))
    plain = EventSchema(
        **{name: getattr(event, name) for name in base} | {"payload": payload}, event_type=event.event_type
    )
    assert typed(plain) == event.model_copy(update={"payload": payload})
    assert route_of(plain.event_type).key(typed(plain)) == route_of(event.event_type).key(event)


@every_type
def test_where_an_event_goes_and_under_which_key(event_type: str) -> None:
    event = typed({"event_type": event_type, **BASE, **OWN[event_type]})
    route = route_of(event_type)
    assert (route.topic, route.subject, route.key(event)) == (
        TOPICS[event_type],
        f"{TOPICS[event_type]}-value",
        KEYS[event_type],
    )
    assert type(event) is route.model


def test_a_transaction_without_an_account_goes_by_its_own_id() -> None:
    event = TransactionEvent(**BASE, **{**OWN["transaction"], "account_id": None})
    assert route_of("transaction").key(event) == b"txn-1"


def test_routes_subjects_and_schemas_are_the_same_set() -> None:
    assert {r.subject for r in ROUTES.values()} == set(event_schema.SUBJECTS)
    assert set(ROUTES) == set(TOPICS)


@every_type
def test_model_and_schema_have_the_same_fields(event_type: str) -> None:
    route = route_of(event_type)
    fields = avro.load(route.subject, 1).parsed["fields"]
    assert [f["name"] for f in fields] == list(route.model.model_fields)
    optional = {f["name"] for f in fields if isinstance(f["type"], list)}
    assert optional == {
        n for n, f in route.model.model_fields.items() if type(None) in getattr(f.annotation, "__args__", ())
    }


@every_type
def test_each_field_is_a_column_of_its_own_or_what_the_type_requires(event_type: str) -> None:
    """Without any one of its required fields there is no event."""
    model = route_of(event_type).model
    required = [name for name in OWN[event_type] if model.model_fields[name].is_required()]
    for name in required:
        rest = {key: value for key, value in OWN[event_type].items() if key != name}
        with pytest.raises(ValidationError, match=name):
            model(**BASE, **rest)
        with pytest.raises(ContractViolation) as caught:
            typed(EventSchema(event_type=event_type, **BASE, payload=json.loads(json.dumps(rest, default=str))))
        assert [(v.code, v.field) for v in caught.value.violations] == [("missing", name)]


def test_the_example_of_a_plain_event() -> None:
    plain = EventSchema(
        event_type="user_action",
        event_timestamp="2025-12-25T10:30:00.123456Z",
        source_system="web-app",
        payload={"user_id": "user-123", "action": "purchase", "product_id": "prod-456", "amount": 99.99},
        metadata={"session_id": "session-789", "ip_address": "192.168.1.1"},
    )
    whole = typed(plain)
    assert isinstance(whole, UserActionEvent)
    assert (whole.user_id, whole.action, whole.resource) == ("user-123", "purchase", None)
    assert whole.payload == plain.payload
    assert whole.event_id == plain.event_id
    assert whole.event_timestamp == datetime(2025, 12, 25, 10, 30, 0, 123456, tzinfo=UTC)


def test_an_unknown_type_names_those_that_are_known() -> None:
    with pytest.raises(UnknownEventType, match="unknown event type 'clicks'; known are user_action") as caught:
        typed(EventSchema(event_type="clicks", **BASE))
    assert caught.value.known == tuple(ROUTES)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"event_timestamp": "2025-12-25T10:30:00"}, ["event_timestamp"]),
        ({"event_timestamp": "yesterday"}, ["event_timestamp"]),
        ({"event_timestamp": "1735122600"}, ["event_timestamp"]),
        ({"event_timestamp": 1735122600}, ["event_timestamp"]),
        ({"event_timestamp": 1735122600.5}, ["event_timestamp"]),
        ({"event_timestamp": True}, ["event_timestamp"]),
        ({"event_timestamp": "0001-01-01T00:00:00+14:00"}, ["event_timestamp"]),
        ({"event_id": ""}, ["event_id"]),
        ({"event_id": " \t"}, ["event_id"]),
        ({"source_system": "x" * 257}, ["source_system"]),
        ({"schema_version": "one"}, ["schema_version"]),
        ({"user_id": None}, ["user_id"]),
        ({"nonsense": 1}, ["nonsense"]),
        ({"payload": {"a": float("nan")}}, ["payload.a.float"]),
        ({"payload": {"a": b"x"}}, ["payload.a"]),
        ({"event_id": "", "user_id": 7, "source_system": None}, ["event_id", "source_system", "user_id"]),
    ],
)
def test_every_field_that_is_wrong_is_named(changes: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(ContractViolation) as caught:
        typed({"event_type": "user_action", **BASE, **OWN["user_action"], **changes})
    assert [v.field for v in caught.value.violations] == fields


@pytest.mark.parametrize(
    ("event_type", "changes"),
    [
        ("transaction", {"amount": "1E+16"}),
        ("transaction", {"amount": "0.00001"}),
        ("transaction", {"amount": "NaN"}),
        ("transaction", {"currency": "usd"}),
        ("transaction", {"currency": "EURO"}),
        ("metric_event", {"metric_value": float("inf")}),
        ("metric_event", {"tags": {"a": 1}}),
        ("log_event", {"severity": "FATAL"}),
        ("log_event", {"message": "x" * 8193}),
        ("system_event", {"severity": 3}),
        ("user_action", {"event_type": "transaction"}),
    ],
)
def test_what_a_typed_event_refuses(event_type: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        route_of(event_type).model(**{**BASE, **OWN[event_type], **changes})


def test_amounts_are_exact_and_severities_of_any_case() -> None:
    assert TransactionEvent(**BASE, **{**OWN["transaction"], "amount": 99.99}).amount == Decimal("99.99")
    assert LogEvent(**BASE, **{**OWN["log_event"], "severity": "warning"}).severity is Level.WARNING


@pytest.mark.parametrize("payload", [{"a": "\ud800"}, {"\ud800": 1}, {"a": 10**5000}])
def test_what_no_consumer_could_read_is_refused_before_it_is_sent(payload: Mapping[str, Any]) -> None:
    event = UserActionEvent(**BASE, user_id="u", action="a", payload=dict(payload))
    with pytest.raises(ContractViolation):
        avro.encode(avro.load("raw-events-value"), to_record(event))


@pytest.mark.parametrize("odd", [datetime(2025, 1, 1, tzinfo=UTC), {1}, float("nan"), b"x", object()])
@pytest.mark.parametrize("name", ["payload", "metadata"])
def test_what_is_put_into_an_event_after_it_was_made_is_refused(name: str, odd: Any) -> None:
    event = UserActionEvent(**BASE, user_id="u", action="a", payload={}, metadata={})
    getattr(event, name)["at"] = odd
    with pytest.raises(ContractViolation) as caught:
        to_record(event)
    assert [(v.code, v.field) for v in caught.value.violations] == [("not_json", f"{name}.at")]


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "1E+16", "0.00001"])
def test_an_amount_that_was_never_checked_is_refused_not_rounded(amount: str) -> None:
    event = TransactionEvent(**BASE, **OWN["transaction"]).model_copy(update={"amount": Decimal(amount)})
    with pytest.raises(ContractViolation) as caught:
        to_record(event)
    assert [(v.code, v.field) for v in caught.value.violations] == [("not_exact", "amount")]


@pytest.mark.parametrize("own", [Context(prec=6), Context(traps=[Inexact]), Context(Emax=3, prec=2)])
def test_the_arithmetic_of_the_service_is_no_matter_of_an_amount(own: Context) -> None:
    with localcontext(own):
        event = TransactionEvent(**BASE, **{**OWN["transaction"], "amount": "9999999999999999.9999"})
        found = through_avro(event, "raw-transactions-value")["amount"]
    assert found == Decimal("9999999999999999.9999")


@pytest.mark.parametrize("odd", [None, "user_action", ["user_action"], 7])
def test_what_is_no_event_is_refused(odd: Any) -> None:
    with pytest.raises(ContractViolation, match="an event or a mapping is needed, not"):
        typed(odd)


@pytest.mark.parametrize("more", [{}, {"order_id": "1"}, {"user_id": "u"}, {"payload": 7}])
def test_a_mapping_of_an_unknown_type_is_told_so_whatever_else_it_has(more: dict[str, Any]) -> None:
    with pytest.raises(UnknownEventType):
        typed({"event_type": "order", **BASE, **more})


def test_a_subclass_does_not_lose_its_fields_silently() -> None:
    class Purchase(UserActionEvent):
        product_id: str

    event = Purchase(**BASE, user_id="u", action="a", product_id="p")
    with pytest.raises(ContractViolation, match="product_id"):
        avro.encode(avro.load("raw-events-value"), to_record(event))


def test_events_do_not_change() -> None:
    event = UserActionEvent(**BASE, user_id="u", action="a")
    with pytest.raises(ValidationError, match="frozen"):
        event.user_id = "v"  # type: ignore[misc]
