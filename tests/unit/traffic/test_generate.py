"""The generator: same plan, same bytes; each defect is what its name says; the counts add up."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts import avro, wire
from pipelines.contracts.wire import Framed
from pipelines.errors import UsageError
from pipelines.records import Violation
from pipelines.traffic.defects import Defect, Outcome
from pipelines.traffic.expected import Expected
from pipelines.traffic.generate import DEFECT_HEADER, SCHEMA_VERSION, Message, Plan, blocks, generate
from pipelines.traffic.mix import PRESETS, Mix

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
UNTIL_MS = 1_700_000_000_000
LOG = avro.load("api6-logs-value", SCHEMA_VERSION)
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


def plan(count: int = 10_000, mix: Mix | str = "default", seed: int = 1) -> Plan:
    chosen = PRESETS[mix] if isinstance(mix, str) else mix
    return Plan(count, seed, chosen, span_ms=HOUR_MS, until_ms=UNTIL_MS, schema_id=7)


def log_of(message: Message) -> dict[str, object]:
    framed = wire.parse(message.value)
    assert isinstance(framed, Framed)
    assert framed.schema_id == 7
    record = avro.decode(LOG, framed.body)
    assert isinstance(record, dict), record
    return record


def broken_rules(record: dict[str, object], kafka_ms: int) -> set[str]:
    """The rules of the log contract, written down a second time."""
    text = {name: str(record[name]) for name in ("request_id", "api_endpoint", "http_method", "client_ip")}
    number = {n: record[n] for n in ("timestamp", "status_code", "response_time_ms", "payload_size")}
    assert all(isinstance(n, int) for n in number.values())
    checks = {
        "status_code": 100 <= number["status_code"] <= 599,  # type: ignore[operator]
        "http_method": text["http_method"] in METHODS,
        "slash": text["api_endpoint"].startswith("/"),
        "path_length": len(text["api_endpoint"]) <= 2048,
        "response_time_ms": number["response_time_ms"] >= 0,  # type: ignore[operator]
        "payload_size": number["payload_size"] >= 0,  # type: ignore[operator]
        "client_ip": _is_address(text["client_ip"]),
        "timestamp": -7 * DAY_MS <= number["timestamp"] - kafka_ms <= HOUR_MS,  # type: ignore[operator]
        "request_id": bool(text["request_id"].strip()),
    }
    return {name for name, kept in checks.items() if not kept}


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def odd_fields(record: dict[str, object]) -> set[str]:
    limits = {"user_agent": 1024, "error_message": 8192}
    return {n for n, most in limits.items() if record[n] is not None and not 1 <= len(str(record[n])) <= most}


HOSTILE = list(generate(plan(20_000, "hostile")))
BY_DEFECT: dict[Defect | None, list[Message]] = {
    defect: [m for m in HOSTILE if m.defect is defect] for defect in (None, *Defect)
}


def test_same_plan_same_messages() -> None:
    assert list(generate(plan(3_000, "hostile"))) == list(generate(plan(3_000, "hostile")))


def test_another_seed_another_traffic() -> None:
    assert not {m.key for m in generate(plan(500))} & {m.key for m in generate(plan(500, seed=2))}


def test_bytes_never_change() -> None:
    """A run of today can be compared with one of last year; a change here is one for the changelog."""
    first = next(generate(plan(100, "clean")))
    assert log_of(first)["request_id"] == first.key.decode()
    assert first.timestamp_ms == 1_699_996_415_815
    assert first.key == b"8599fd95-600c-43bb-b7b3-7f2a5ed0baf1"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2_500), st.sampled_from(sorted(PRESETS)), st.integers(0, 1000))
def test_counts_add_up(count: int, mix: str, seed: int) -> None:
    expected = Expected()
    messages = list(generate(plan(count, mix, seed)))
    expected.add(messages)
    assert len(messages) == expected.count == count
    assert expected.valid + expected.invalid == count
    assert expected.defects == Counter(m.defect for m in messages if m.defect)
    assert sum(expected.defects.values()) == sum(m.defect is not None for m in messages)


def test_defects_are_as_many_as_their_shares_say() -> None:
    expected = Expected()
    for block in blocks(plan(123_457)):
        expected.add(block)
    assert expected.defects == {d: 123_457 * PRESETS["default"][d] // 1_000_000 for d in Defect}


def test_default_has_every_defect_from_10_000_records_on() -> None:
    assert {m.defect for m in generate(plan(10_000))} == {None, *Defect}


def test_totals_follow_from_outcomes() -> None:
    expected = Expected()
    expected.add(HOSTILE)
    assert expected.as_json() | {"defects": 0} == {
        "count": 20_000,
        "valid": 10_016,  # 24 shares of 2.0833 %, each rounded down
        "invalid": 9_984,
        "duplicates": 832,
        "warnings": 402,
        "defects": 0,
    }


def test_sound_records_keep_every_rule() -> None:
    for message in BY_DEFECT[None]:
        record = log_of(message)
        assert broken_rules(record, message.timestamp_ms) == set()
        assert odd_fields(record) == set()
        assert message.key.decode() == record["request_id"]
        assert message.headers == ()
        assert (record["error_message"] is not None) == (int(str(record["status_code"])) >= 400)


def test_hand_written_encoding_is_that_of_fastavro() -> None:
    for message in BY_DEFECT[None][:2_000]:
        assert message.value == wire.frame(7, avro.encode(LOG, log_of(message)))


@pytest.mark.parametrize(
    ("defect", "broken"),
    [
        (Defect.STATUS_CODE_RANGE, "status_code"),
        (Defect.HTTP_METHOD_UNKNOWN, "http_method"),
        (Defect.PATH_WITHOUT_SLASH, "slash"),
        (Defect.PATH_TOO_LONG, "path_length"),
        (Defect.RESPONSE_TIME_NEGATIVE, "response_time_ms"),
        (Defect.PAYLOAD_SIZE_NEGATIVE, "payload_size"),
        (Defect.CLIENT_IP_INVALID, "client_ip"),
        (Defect.TIMESTAMP_TOO_OLD, "timestamp"),
        (Defect.TIMESTAMP_IN_FUTURE, "timestamp"),
        (Defect.FAR_FUTURE, "timestamp"),
        (Defect.REQUEST_ID_BLANK, "request_id"),
    ],
)
def test_each_rule_is_broken_alone(defect: Defect, broken: str) -> None:
    assert all(broken_rules(log_of(m), m.timestamp_ms) == {broken} for m in BY_DEFECT[defect])


def test_several_rules_are_broken_at_once() -> None:
    assert all(3 <= len(broken_rules(log_of(m), m.timestamp_ms)) <= 6 for m in BY_DEFECT[Defect.SEVERAL_RULES])


@pytest.mark.parametrize("defect", [d for d in Defect if d.outcome in (Outcome.VALID, Outcome.WARNING)])
def test_valid_defects_break_no_rule(defect: Defect) -> None:
    for message in BY_DEFECT[defect]:
        record = log_of(message)
        assert broken_rules(record, message.timestamp_ms) == set()
        assert bool(odd_fields(record)) == (defect.outcome is Outcome.WARNING)


@pytest.mark.parametrize(
    ("defect", "code"),
    [
        (Defect.NULL_VALUE, "null_value"),
        (Defect.EMPTY_VALUE, "empty_value"),
        (Defect.WRONG_MAGIC_BYTE, "wrong_magic_byte"),
        (Defect.SHORT_HEADER, "short_header"),
        (Defect.JSON_INSTEAD_OF_AVRO, "json_instead_of_avro"),
    ],
)
def test_wire_defects(defect: Defect, code: str) -> None:
    for message in BY_DEFECT[defect]:
        problem = wire.parse(message.value)
        assert isinstance(problem, Violation)
        assert problem.code == code


@pytest.mark.parametrize(
    ("defect", "code"),
    [
        (Defect.TRUNCATED_AVRO, "truncated_avro"),
        (Defect.TRAILING_BYTES, "trailing_bytes"),
        (Defect.HUGE_LENGTH_PREFIX, "corrupt_avro"),
        (Defect.INVALID_UTF8, "invalid_utf8"),
    ],
)
def test_body_defects(defect: Defect, code: str) -> None:
    for message in BY_DEFECT[defect]:
        framed = wire.parse(message.value)
        assert isinstance(framed, Framed)
        problem = avro.decode(LOG, framed.body)
        assert isinstance(problem, Violation)
        assert problem.code == code


def test_unknown_schema_ids_carry_whole_records() -> None:
    for message in BY_DEFECT[Defect.UNKNOWN_SCHEMA_ID]:
        framed = wire.parse(message.value)
        assert isinstance(framed, Framed)
        assert framed.schema_id >= 1_000_000
        assert isinstance(avro.decode(LOG, framed.body), dict)


def test_json_is_the_whole_record() -> None:
    for message in BY_DEFECT[Defect.JSON_INSTEAD_OF_AVRO]:
        assert json.loads(message.value or b"")["request_id"] == message.key.decode()


@pytest.mark.parametrize("same", [True, False])
def test_duplicates_follow_their_original_at_once(same: bool) -> None:
    defect = Defect.DUPLICATE_SAME_CONTENT if same else Defect.DUPLICATE_DIFFERENT_CONTENT
    first = {m.key: (place, m) for place, m in enumerate(HOSTILE) if m.defect is None}
    for place, message in enumerate(HOSTILE):
        if message.defect is defect:
            earlier, original = first[message.key]
            assert earlier < place
            assert original.timestamp_ms < message.timestamp_ms <= original.timestamp_ms + HOUR_MS
            assert (original.value == message.value) == same
            assert log_of(original)["timestamp"] == log_of(message)["timestamp"]
            assert broken_rules(log_of(message), message.timestamp_ms) == set()


def test_request_ids_are_unique_uuids() -> None:
    keys = [m.key.decode() for m in HOSTILE if m.defect is None or m.defect.outcome is not Outcome.DUPLICATE]
    assert len(set(keys)) == len(keys)
    assert all(len(k) == 36 and k[14] == "4" and k[19] in "89ab" for k in keys)


def test_huge_values_fit_a_message() -> None:
    sizes = [len(m.value or b"") for m in BY_DEFECT[Defect.HUGE_VALUE]]
    assert sizes
    assert all(1_000_000 <= size <= 1_200_000 for size in sizes)


def test_defect_is_named_in_a_header() -> None:
    assert all(m.headers == ((DEFECT_HEADER, str(m.defect).encode()),) for m in HOSTILE if m.defect)


def test_times_fill_the_span_in_order() -> None:
    messages = list(generate(plan(5_000, "clean")))
    events = [int(str(log_of(m)["timestamp"])) for m in messages]
    assert all(UNTIL_MS - HOUR_MS - 600 <= t <= UNTIL_MS for t in events)
    assert max(events) - min(events) > 0.99 * HOUR_MS
    assert all(b - a > -600 for a, b in itertools.pairwise(events))
    assert all(0 < m.timestamp_ms - t < 300 for m, t in zip(messages, events, strict=True))


def test_traffic_is_skewed_and_varied() -> None:
    logs = [log_of(m) for m in BY_DEFECT[None]]
    routes = Counter("/".join(str(r["api_endpoint"]).split("/")[:4]) for r in logs)
    assert len(routes) > 20
    assert routes.most_common(1)[0][1] > 5 * routes.most_common(12)[-1][1]
    agents = {str(r["user_agent"]) for r in logs}
    assert "None" in agents
    assert any(not a.isascii() for a in agents)
    assert {ip_address(str(r["client_ip"])).version for r in logs} == {4, 6}


@pytest.mark.parametrize(
    "change", [{"count": -1}, {"span_ms": -1}, {"until_ms": 0}, {"until_ms": 2**60}, {"span_ms": UNTIL_MS}]
)
def test_impossible_plans_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        replace(plan(), **change)  # type: ignore[arg-type]
