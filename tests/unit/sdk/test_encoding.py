"""The quick way through the encoder says yes, and no, exactly when the contracts do."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import avro, wire
from pipelines.contracts.evaluate import evaluator
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.writer import LogSchema
from pipelines.errors import ContractViolation
from pipelines.records import Severity
from pipelines.settings import ROOT
from sdk.encoding import LogEncoder
from sdk.schemas import Registered

SCHEMA = avro.load("api6-logs-value", 1)
RULES = load_rules(ROOT / "conf" / "rules" / "api6-logs.yaml", LogSchema(SCHEMA.text).kinds)
NOW_MS = int(time.time() * 1000)
ENCODER = LogEncoder(Registered(258, SCHEMA), RULES)
LENIENT = LogEncoder(Registered(258, SCHEMA), None)

GOOD: dict[str, Any] = {
    "timestamp": NOW_MS,
    "request_id": "r-1",
    "api_endpoint": "/v6/orders",
    "http_method": "GET",
    "status_code": 200,
    "response_time_ms": 12,
    "client_ip": "192.0.2.1",
    "user_agent": None,
    "payload_size": 7,
    "error_message": None,
}

odd = st.sampled_from([None, True, 0, -1, 2**31 - 1, 2**31, -(2**31), 2**63, -(2**63) - 1, 1.5, float("nan"), b"x", ""])
values = odd | st.text(max_size=5) | st.just("\ud800") | st.integers(-(2**40), 2**70)
changes = st.dictionaries(st.sampled_from([*GOOD, "extra"]), values, max_size=3)
without = st.sets(st.sampled_from(list(GOOD)), max_size=1)


def fits(record: dict[str, Any]) -> bool:
    try:
        avro.encode(SCHEMA, record)
    except ContractViolation:
        return False
    return True


@given(changes, without)
def test_schema_alone_agrees_with_the_contracts(change: dict[str, Any], missing: set[str]) -> None:
    record = {k: v for k, v in (GOOD | change).items() if k not in missing}
    if fits(record):
        framed = wire.parse(LENIENT.encode(record, NOW_MS))
        assert isinstance(framed, wire.Framed)
        assert (framed.schema_id, framed.body) == (258, avro.encode(SCHEMA, record))
    else:
        with pytest.raises(ContractViolation):
            LENIENT.encode(record, NOW_MS)


@given(changes)
def test_rules_agree_with_the_contracts(change: dict[str, Any]) -> None:
    record = GOOD | change
    if not fits(record):
        return
    critical = [v for v in evaluator(RULES)(record, NOW_MS) if v.severity is Severity.CRITICAL]
    if critical:
        with pytest.raises(ContractViolation) as caught:
            ENCODER.encode(record, NOW_MS)
        assert list(caught.value.violations) == critical
    else:
        assert ENCODER.encode(record, NOW_MS) == LENIENT.encode(record, NOW_MS)


def codes(record: dict[str, Any]) -> list[tuple[str, str | None]]:
    with pytest.raises(ContractViolation) as caught:
        ENCODER.encode(record, NOW_MS)
    return [(v.code, v.field) for v in caught.value.violations]


def test_all_reasons_come_at_once() -> None:
    assert codes(GOOD | {"status_code": 99, "http_method": "get", "api_endpoint": "x"}) == [
        ("status_code_range", "status_code"),
        ("http_method_known", "http_method"),
        ("api_endpoint_slash", "api_endpoint"),
    ]
    wrong = GOOD | {
        "status_code": "200",
        "payload_size": None,
        "http_method": "get",
        "extra": 1,
        "user_agent": "\ud800",
    }
    del wrong["client_ip"]
    assert codes(wrong) == [
        ("schema_mismatch", "status_code"),
        ("schema_mismatch", "client_ip"),
        ("schema_mismatch", "user_agent"),
        ("schema_mismatch", "payload_size"),
        ("schema_mismatch", "extra"),
        ("http_method_known", "http_method"),
    ]


def test_a_message_does_not_show_values_that_do_not_fit() -> None:
    with pytest.raises(ContractViolation) as caught:
        ENCODER.encode(GOOD | {"client_ip": 3232235777}, NOW_MS)
    assert str(caught.value) == "schema_mismatch: client_ip must be a valid string, found a value of type int"


def test_warnings_do_not_hold_a_record_back() -> None:
    record = GOOD | {"user_agent": ""}
    assert {v.severity for v in evaluator(RULES)(record, NOW_MS)} <= {Severity.WARNING}
    assert ENCODER.encode(record, NOW_MS)


def test_a_column_is_found_under_either_name() -> None:
    fields = [{"name": "request_key", "type": "string"}, {"name": "n", "type": "int"}]
    schema = avro.parse(json.dumps({"type": "record", "name": "r", "fields": fields}))
    encoder = LogEncoder(Registered(1, schema), None, {"request_id": "request_key", "n": "n", "gone": None})
    records = [{"request_key": "a", "n": 1}, {"request_id": "a", "n": 1, "gone": "x"}]
    assert [encoder.value(r, "request_id") for r in records] == ["a", "a"]
    assert len({encoder.encode(r, NOW_MS) for r in records}) == 1


def test_fields_of_every_kind_with_their_defaults() -> None:
    fields = [
        {"name": "a", "type": "boolean"},
        {"name": "b", "type": ["null", "double"], "default": None},
        {"name": "c", "type": "bytes", "default": "\u00ff"},
        {"name": "d", "type": {"type": "enum", "name": "d", "symbols": ["x", "y"]}, "default": "y"},
        {"name": "e", "type": "float"},
        {"name": "f", "type": ["null", "int"], "default": None},
    ]
    schema = avro.parse(json.dumps({"type": "record", "name": "r", "fields": fields}))
    encoder = LogEncoder(Registered(1, schema), None)
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"a": True, "e": 0.5}, {"a": True, "b": None, "c": b"\xff", "d": "y", "e": 0.5, "f": None}),
        (
            {"a": False, "b": 2, "c": b"", "d": "x", "e": 1, "f": 2**31 - 1},
            {"a": False, "b": 2.0, "c": b"", "d": "x", "e": 1.0, "f": 2**31 - 1},
        ),
    ]
    for record, read in cases:
        framed = wire.parse(encoder.encode(record, NOW_MS))
        assert isinstance(framed, wire.Framed)
        assert avro.decode(schema, framed.body) == read
    with pytest.raises(ContractViolation, match="d must be a valid enum"):
        encoder.encode({"a": True, "b": None, "c": b"", "d": "z", "e": 0.5, "f": 1}, NOW_MS)
    for odd in (2**31, True, 1.0):
        with pytest.raises(ContractViolation, match="f must be a valid int"):
            encoder.encode({"a": True, "b": None, "c": b"", "d": "x", "e": 0.5, "f": odd}, NOW_MS)
