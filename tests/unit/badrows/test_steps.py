"""Each step turns a broken value into the one that should have been sent, or says which step failed and why."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.badrows.recipe import Step
from pipelines.badrows.registered import Registered
from pipelines.badrows.steps import Failed, Repair
from pipelines.contracts import avro

V1 = avro.load("api6-logs-value", 1).text
V2 = json.dumps(
    {
        **json.loads(V1),
        "fields": [*json.loads(V1)["fields"], {"name": "region", "type": ["null", "string"], "default": None}],
    }
)
REGISTERED = Registered({1: 7, 2: 9}, {7: V1, 9: V2})
RECORD: dict[str, Any] = {
    "timestamp": 1_769_860_800_000,
    "request_id": "r-1",
    "api_endpoint": "/v6/orders",
    "http_method": "GET",
    "status_code": 200,
    "response_time_ms": 17,
    "client_ip": "192.0.2.7",
    "user_agent": "curl",
    "payload_size": 512,
    "error_message": None,
}


def body(record: dict[str, Any], text: str = V1) -> bytes:
    """By fastavro alone: no code of ours."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(text)), record)
    return out.getvalue()


def framed(record: dict[str, Any], schema_id: int = 7, text: str = V1) -> bytes:
    return b"\x00" + struct.pack(">I", schema_id) + body(record, text)


def steps(*texts: dict[str, Any]) -> tuple[Step, ...]:
    return tuple(Step.model_validate(text) for text in texts)


def repair(raw: bytes | None, *texts: dict[str, Any], target: int = 1) -> bytes | Failed | None:
    return Repair(steps(*texts), REGISTERED, target, frozenset({"client_ip", "user_agent"}))(raw)


GET = {"map": {"field": "http_method", "values": {"get": "GET"}}}
TO_INT = {"cast": {"field": "status_code", "to": "int"}}


@pytest.mark.parametrize(
    ("broken", "step", "whole"),
    [
        ({"http_method": "get"}, GET, {}),
        (
            {"http_method": "FETCH"},
            {"map": {"field": "http_method", "values": {"get": "GET"}}},
            {"http_method": "FETCH"},
        ),
        ({"status_code": 0}, {"map": {"field": "status_code", "values": {0: 200}}}, {}),
        ({"status_code": 1}, {"map": {"field": "status_code", "values": {True: 200}}}, {"status_code": 1}),
        ({"status_code": 0}, {"set": {"field": "status_code", "value": 200}}, {}),
        ({"user_agent": "x"}, {"set": {"field": "user_agent", "value": None}}, {"user_agent": None}),
        ({"user_agent": "x"}, {"drop": {"field": "user_agent"}}, {"user_agent": None}),
        ({"request_id": " 5 "}, {"cast": {"field": "request_id", "to": "string"}}, {"request_id": " 5 "}),
    ],
)
def test_a_step_on_a_field_of_a_record(broken: dict[str, Any], step: dict[str, Any], whole: dict[str, Any]) -> None:
    assert repair(framed(RECORD | broken), step) == framed(RECORD | whole)


@pytest.mark.parametrize(
    ("raw", "step"),
    [
        (framed(RECORD) + b"xyz", {"decode": {"trailing": "drop"}}),
        (b"\x01" + framed(RECORD)[1:], {"decode": {}}),
        (b"\x01" + framed(RECORD, 99)[1:], {"decode": {"schema": 1}}),
        (body(RECORD), {"decode": {"schema": 1, "skip_bytes": 0}}),
        (b"seven--" + body(RECORD) + b"\x00", {"decode": {"schema": 1, "skip_bytes": 7, "trailing": "drop"}}),
        (json.dumps(RECORD).encode(), {"parse": {"as": "json"}}),
        (json.dumps({k: v for k, v in RECORD.items() if v is not None}).encode(), {"parse": {"as": "json"}}),
    ],
)
def test_a_step_that_reads_the_value(raw: bytes, step: dict[str, Any]) -> None:
    assert repair(raw, step) == framed(RECORD)


def test_fields_of_json_are_brought_to_their_types() -> None:
    sent = RECORD | {
        "timestamp": "2026-01-31T12:00:00Z",
        "status_code": "200",
        "response_time_ms": 17.0,
        "payload_size": " 512",
        "trace_id": "t",
    }
    fixed = repair(
        json.dumps(sent).encode(),
        {"parse": {"as": "json"}},
        {"parse": {"field": "timestamp", "as": "iso_time"}},
        {"cast": {"field": "status_code", "to": "int"}},
        {"cast": {"field": "response_time_ms", "to": "int"}},
        {"parse": {"field": "payload_size", "as": "number"}},
        {"drop": {"field": "trace_id"}},
    )
    assert fixed == framed(RECORD)


def test_a_value_is_written_with_the_latest_version_or_the_one_that_encode_names() -> None:
    newer = RECORD | {"region": None}
    step = {"set": {"field": "status_code", "value": 200}}
    assert repair(framed(RECORD), step, target=2) == framed(newer, 9, V2)
    assert repair(framed(newer, 9, V2), step, {"encode": {"schema": 1}}, target=1) == framed(RECORD)


def test_without_steps_the_bytes_stay() -> None:
    assert [repair(raw) for raw in (None, b"", b"{nonsense")] == [None, b"", b"{nonsense"]


@pytest.mark.parametrize(
    ("raw", "texts", "failed"),
    [
        (None, [{"drop": {"field": "user_agent"}}], (0, "read", "null_value")),
        (b"{}", [{"drop": {"field": "user_agent"}}], (0, "read", "json_instead_of_avro")),
        (framed(RECORD, 8), [{"drop": {"field": "user_agent"}}], (0, "read", "unknown_schema_id")),
        (framed(RECORD)[:-3], [{"drop": {"field": "user_agent"}}], (0, "read", "truncated_avro")),
        (framed(RECORD) + b"x", [{"decode": {}}], (1, "decode", "trailing_bytes")),
        (b"abc", [{"decode": {}}], (1, "decode", "short_header")),
        (b"\xff", [{"parse": {"as": "json"}}], (1, "parse", "not_json")),
        (b"[" * 100_000, [{"parse": {"as": "json"}}], (1, "parse", "not_json")),
        (b"[1]", [{"parse": {"as": "json"}}], (1, "parse", "not_json")),
        (
            b"{}",
            [{"parse": {"as": "json"}}, {"cast": {"field": "status_code", "to": "int"}}],
            (2, "cast", "no_such_field"),
        ),
        (framed(RECORD), [{"cast": {"field": "request_id", "to": "int"}}], (1, "cast", "not_castable")),
        (framed(RECORD), [{"parse": {"field": "request_id", "as": "number"}}], (1, "parse", "not_parsable")),
        (framed(RECORD), [{"parse": {"field": "request_id", "as": "iso_time"}}], (1, "parse", "not_parsable")),
        (framed(RECORD), [{"parse": {"field": "timestamp", "as": "iso_time"}}], (1, "parse", "not_parsable")),
        (framed(RECORD), [{"set": {"field": "status_code", "value": "x"}}], (2, "write", "does_not_fit_schema")),
        (framed(RECORD), [{"drop": {"field": "client_ip"}}, {"encode": {}}], (2, "encode", "does_not_fit_schema")),
        (b'{"more": 1}', [{"parse": {"as": "json"}}], (2, "write", "does_not_fit_schema")),
    ],
)
def test_a_failure_names_the_step(raw: bytes | None, texts: list[dict[str, Any]], failed: tuple[int, str, str]) -> None:
    found = repair(raw, *texts)
    assert isinstance(found, Failed)
    assert (found.step, found.kind, found.code) == failed
    assert found.message


def test_a_message_shows_no_personal_value() -> None:
    found = repair(framed(RECORD), {"cast": {"field": "client_ip", "to": "int"}})
    assert isinstance(found, Failed)
    assert found.message == "str '***' is no int"


@given(st.binary(max_size=200), st.sampled_from([{"decode": {}}, {"parse": {"as": "json"}}, {"drop": {"field": "x"}}]))
def test_any_bytes_are_repaired_or_fail(raw: bytes, first: dict[str, Any]) -> None:
    found = repair(raw, first)
    assert isinstance(found, bytes | Failed)


anything = st.none() | st.text() | st.integers() | st.floats() | st.lists(st.integers())


@given(
    st.fixed_dictionaries(
        dict.fromkeys(RECORD, st.none() | st.text() | st.integers() | st.floats() | st.lists(st.integers()))
    ),
    st.sampled_from(["int", "float", "string", "boolean"]),
    st.sampled_from(sorted(RECORD)),
)
def test_any_json_is_repaired_or_fails(record: dict[str, Any], to: str, field: str) -> None:
    found = repair(json.dumps(record).encode(), {"parse": {"as": "json"}}, {"cast": {"field": field, "to": to}})
    assert isinstance(found, bytes | Failed)


def version(**changes: dict[str, Any]) -> str:
    """V1 with some of its fields described otherwise, and those behind it that it lacks."""
    old = json.loads(V1)
    same = [{**f, **changes[f["name"]]} if f["name"] in changes else f for f in old["fields"]]
    more = [{"name": name, **field} for name, field in changes.items() if name not in RECORD]
    return json.dumps({**old, "fields": same + more})


def between(written: str, record: dict[str, Any], target: str, *texts: dict[str, Any]) -> bytes | Failed | None:
    """Repair a record of one version into another one."""
    known = Registered({1: 7, 2: 8, 3: 9}, {7: V1, 8: written, 9: target})
    return Repair(steps(*texts), known, 3, frozenset({"client_ip"}))(framed(record, 8, written))


NOTHING = {"drop": {"field": "trace_id"}}


def test_a_version_that_resolves_to_no_other_is_repaired() -> None:
    written = version(status_code={"type": "string"})
    assert between(written, RECORD | {"status_code": "200"}, V1, TO_INT) == framed(RECORD, 9)
    found = between(written, RECORD | {"status_code": "200"}, V1, NOTHING)
    assert isinstance(found, Failed)
    assert (found.kind, found.code) == ("write", "does_not_fit_schema")


@pytest.mark.parametrize(
    ("written", "sent", "target", "step", "stored"),
    [
        pytest.param(
            {"client_ip": {"name": "ip", "aliases": ["client_ip"]}},
            {"ip": "::1"},
            {},
            GET,
            {"client_ip": "::1"},
            id="new name to old",
        ),
        pytest.param(
            {},
            {},
            {"client_ip": {"name": "ip", "aliases": ["client_ip"]}},
            GET,
            {"ip": "192.0.2.7"},
            id="old name to new",
        ),
        pytest.param(
            {},
            {},
            {"client_ip": {"name": "ip", "aliases": ["client_ip"]}},
            {"set": {"field": "ip", "value": "::2"}},
            {"ip": "::2", "http_method": "get"},
            id="steps use the names that are written",
        ),
        pytest.param(
            {"payload_size": {"type": "int"}},
            {},
            {"payload_size": {"type": "double"}},
            GET,
            {"payload_size": 512.0},
            id="int to double",
        ),
        pytest.param({}, {}, {"request_id": {"type": "bytes"}}, GET, {"request_id": b"r-1"}, id="string to bytes"),
        pytest.param(
            {"request_id": {"type": "bytes"}},
            {"request_id": b"r-2"},
            {},
            GET,
            {"request_id": "r-2"},
            id="bytes to string",
        ),
        pytest.param({"zone": {"type": "string"}}, {"zone": "a"}, {}, GET, {}, id="a field that the target lacks"),
        pytest.param({}, {}, {"zone": {"type": "string", "default": "eu"}}, GET, {"zone": "eu"}, id="default"),
        pytest.param(
            {"zone": {"type": "string"}},
            {"zone": "a"},
            {"zone": {"type": "string", "default": "eu"}},
            GET,
            {"zone": "a"},
            id="written, not default",
        ),
    ],
)
def test_fields_are_resolved_to_the_target_when_they_are_read(
    written: dict[str, Any], sent: dict[str, Any], target: dict[str, Any], step: dict[str, Any], stored: dict[str, Any]
) -> None:
    """As the specification of Avro resolves them, and an old name also where only the newer version knows of both."""
    wanted = {k: v for k, v in (RECORD | stored).items() if k not in {"client_ip"} or "ip" not in stored}
    values = RECORD | {"http_method": "get"} | sent
    assert between(version(**written), values, version(**target), step) == framed(wanted, 9, version(**target))


def test_a_renamed_personal_field_is_masked_too() -> None:
    renamed = version(client_ip={"name": "ip", "aliases": ["client_ip"]})
    found = between(V1, RECORD, renamed, {"cast": {"field": "ip", "to": "int"}})
    assert isinstance(found, Failed)
    assert found.message == "str '***' is no int"


LOGICAL = version(
    timestamp={"type": {"type": "long", "logicalType": "timestamp-millis"}},
    request_id={"type": {"type": "string", "logicalType": "uuid"}},
    response_time_ms={"type": {"type": "int", "logicalType": "date"}},
    payload_size={"type": {"type": "long", "logicalType": "time-micros"}},
    price={"type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}},
    ratio={"type": ["null", "float"], "default": None},
    share={"type": "double"},
)
FAR = {"timestamp": 2**62, "request_id": "no uuid", "response_time_ms": 2**31 - 1, "payload_size": -1}


def test_logical_types_are_the_plain_values_that_they_are_written_as() -> None:
    values = {"price": b"\x01" * 40, "ratio": None, "share": 0.5}
    plain = {"timestamp": 2**62, "response_time_ms": 2**31 - 1, "payload_size": -1}
    raw = framed(RECORD | FAR | values, 8, _without_logical_types(LOGICAL))
    known = Registered({1: 8}, {8: LOGICAL})
    fixed = Repair(steps({"set": {"field": "share", "value": 1.5}}), known, 1)(raw)
    assert fixed == framed(RECORD | FAR | plain | values | {"share": 1.5}, 8, _without_logical_types(LOGICAL))


def _without_logical_types(text: str) -> str:
    return json.dumps(json.loads(text, object_hook=lambda part: {k: v for k, v in part.items() if k != "logicalType"}))


@given(
    st.dictionaries(st.sampled_from([*RECORD, "price", "ratio", "share"]), anything | st.just(10**400)),
    st.sampled_from(["int", "float", "string", "boolean"]),
    st.sampled_from(["ratio", "share", "price", "timestamp"]),
)
def test_any_values_of_any_types_are_repaired_or_fail(values: dict[str, Any], to: str, field: str) -> None:
    whole = RECORD | {"price": "1", "ratio": None, "share": 1} | values
    known = Registered({1: 8}, {8: LOGICAL})
    parse, cast = {"parse": {"as": "json"}}, {"cast": {"field": field, "to": to}}
    found = Repair(steps(parse, cast), known, 1)(json.dumps(whole).encode())
    assert isinstance(found, bytes | Failed)


@pytest.mark.parametrize("kind", ["float", "double"])
def test_a_number_that_no_float_holds_is_a_failed_step(kind: str) -> None:
    whole = RECORD | {"share": -(10**400)}
    known = Registered({1: 8}, {8: version(share={"type": kind})})
    found = Repair(steps({"parse": {"as": "json"}}), known, 1)(json.dumps(whole).encode())
    assert isinstance(found, Failed)
    assert found.code == "does_not_fit_schema"


@pytest.mark.parametrize("text", ['"string"', '{"type": "array", "items": "int"}', '{"type": "nonsense"}', "{"])
def test_a_registered_text_that_is_no_record_is_a_failed_step(text: str) -> None:
    known = Registered({1: 7, 2: 8}, {7: V1, 8: text})
    found = Repair(steps(NOTHING), known, 1)(framed(RECORD, 8))
    assert isinstance(found, Failed)
    assert (found.step, found.code) == (0, "incompatible_schema")
    assert known.names == set(RECORD)


def test_names_that_a_field_has_had_are_found_through_all_versions() -> None:
    second = version(client_ip={"name": "ip", "aliases": ["client_ip"]})
    third = version(client_ip={"name": "address", "aliases": ["ip"]})
    known = Registered({1: 7, 2: 8, 3: 9}, {7: V1, 8: second, 9: third})
    assert known.relatives(["client_ip"]) == known.relatives(["address"]) == {"client_ip", "ip", "address"}
    assert known.relatives(["user_agent", "nowhere"]) == {"user_agent", "nowhere"}


def test_the_newest_version_that_can_be_read() -> None:
    known = Registered({1: 7, 2: 9, 3: 8}, {})
    assert [known.newest(ids) for ids in ({7, 9, 8}, {7, 9}, {7}, {5})] == [3, 2, 1, None]
