"""What each defect does: to the record before it is encoded, or to the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from pipelines.contracts.wire import HEADER_LENGTH, frame
from pipelines.traffic.defects import Defect
from pipelines.traffic.encoding import LogRecord, log_bytes, long_bytes, text_bytes

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HUGE_CLAIM = 2_147_483_600
"""Bytes that a length prefix claims: just small enough that a careless reader allocates them."""

HUGE_TEXT = "stack frame of a runaway recursion, Größe unbekannt ⚠ " * 17_500
"""1 MB of UTF-8."""

NO_ADDRESSES = (
    "999.1.1.1",
    "10.0.0",
    "1.2.3.4.5",
    "localhost",
    "10.0.0.1:8080",
    "::gggg",
    "1::2::3",
    "",
    "fe80::1%eth0",
)

YEAR_9999_MS = 253_402_300_799_999


class Case(NamedTuple):
    """What a defect starts from: a sound record, the Kafka timestamp of its message, the writer's schema id."""

    record: LogRecord
    kafka_ms: int
    schema_id: int
    rng: Random

    def value(self, overwritten: Mapping[str, bytes] | None = None) -> bytes:
        return frame(self.schema_id, log_bytes(self.record, overwritten))


def corrupt(defect: Defect, case: Case) -> bytes | None:
    """The value of a message with this defect. Changes ``case.record``."""
    if defect in _BYTES:
        return _BYTES[defect](case)
    _RECORD[defect](case)
    return case.value()


def _wrong_magic(case: Case) -> bytes:
    magic = case.rng.choice([b for b in range(1, 256) if b not in b"{["])
    return bytes([magic]) + case.value()[1:]


def _json(case: Case) -> bytes:
    return json.dumps(case.record, ensure_ascii=False).encode()


def _unknown_schema(case: Case) -> bytes:
    return frame(case.rng.randrange(1_000_000, 2**32), case.value()[HEADER_LENGTH:])


def _truncated(case: Case) -> bytes:
    value = case.value()
    return value[: case.rng.randrange(HEADER_LENGTH, len(value))]


def _huge_length(case: Case) -> bytes:
    field = case.rng.choice(("request_id", "api_endpoint", "user_agent", "error_message"))
    branch = b"\x02" if field in ("user_agent", "error_message") else b""
    return case.value({field: branch + long_bytes(HUGE_CLAIM) + b"boom"})


def _invalid_utf8(case: Case) -> bytes:
    broken = case.rng.choice((b"caf\xe9 \xff", b"\xc3\x28", b"half a snowman \xe2\x98", b"\xed\xa0\x80", b"\xc0\xaf"))
    if case.rng.random() < 0.5:
        return case.value({"user_agent": b"\x02" + text_bytes(b"Mozilla/5.0 " + broken)})
    return case.value({"api_endpoint": text_bytes(b"/api6/v1/" + broken)})


_BYTES: dict[Defect, Callable[[Case], bytes | None]] = {
    Defect.NULL_VALUE: lambda _: None,
    Defect.EMPTY_VALUE: lambda _: b"",
    Defect.WRONG_MAGIC_BYTE: _wrong_magic,
    Defect.SHORT_HEADER: lambda case: case.value()[: case.rng.randrange(1, HEADER_LENGTH)],
    Defect.UNKNOWN_SCHEMA_ID: _unknown_schema,
    Defect.JSON_INSTEAD_OF_AVRO: _json,
    Defect.TRUNCATED_AVRO: _truncated,
    Defect.TRAILING_BYTES: lambda case: case.value() + case.rng.randbytes(case.rng.randrange(1, 17)),
    Defect.HUGE_LENGTH_PREFIX: _huge_length,
    Defect.INVALID_UTF8: _invalid_utf8,
}


def _status_code(case: Case) -> None:
    case.record["status_code"] = case.rng.choice((-1, 0, 42, 99, 600, 999, 2**31 - 1, -(2**31)))


def _http_method(case: Case) -> None:
    case.record["http_method"] = case.rng.choice(("get", "FETCH", "GET ", "PÓST", "G", "SELECT * FROM"))


def _no_slash(case: Case) -> None:
    case.record["api_endpoint"] = case.rng.choice(("", " ", "http://api6.example")) + case.record[
        "api_endpoint"
    ].lstrip("/")


def _long_path(case: Case) -> None:
    length = case.rng.randrange(2_049, 4_097)
    case.record["api_endpoint"] = (case.record["api_endpoint"] + "/../é" * 1_000)[:length]


def _response_time(case: Case) -> None:
    case.record["response_time_ms"] = case.rng.choice((-1, -500, -(2**31)))


def _payload_size(case: Case) -> None:
    case.record["payload_size"] = case.rng.choice((-1, -4096, -(2**31)))


def _client_ip(case: Case) -> None:
    case.record["client_ip"] = case.rng.choice(NO_ADDRESSES)


def _blank_id(case: Case) -> None:
    case.record["request_id"] = case.rng.choice(("", " ", "\t \n", "        "))


def _shift(*ranges_ms: tuple[int, int]) -> Callable[[Case], None]:
    """Put the event time that far after the Kafka timestamp."""

    def apply(case: Case) -> None:
        case.record["timestamp"] = case.kafka_ms + case.rng.randrange(*case.rng.choice(ranges_ms))

    return apply


def _far_future(case: Case) -> None:
    case.record["timestamp"] = case.rng.choice((YEAR_9999_MS, YEAR_9999_MS + 1, 2**62, 2**63 - 1))


_too_old = _shift((-60 * DAY_MS, -7 * DAY_MS - HOUR_MS))
_in_future = _shift((2 * HOUR_MS, 60 * DAY_MS))


def _several(case: Case) -> None:
    breakers = (_status_code, _http_method, _no_slash, _response_time, _payload_size, _client_ip, _blank_id, _too_old)
    for break_rule in case.rng.sample(breakers, case.rng.randrange(3, 7)):
        break_rule(case)


def _long_agent(case: Case) -> None:
    agent = case.record["user_agent"] or "Mozilla/5.0 (é)"
    case.record["user_agent"] = (agent * 300)[: case.rng.randrange(1_025, 4_097)]


def _empty_agent(case: Case) -> None:
    case.record["user_agent"] = ""


def _long_error(case: Case) -> None:
    case.record["status_code"], case.record["error_message"] = 500, HUGE_TEXT[: case.rng.randrange(8_193, 20_001)]


def _empty_error(case: Case) -> None:
    case.record["error_message"] = ""


def _huge_error(case: Case) -> None:
    case.record["status_code"], case.record["error_message"] = 500, HUGE_TEXT


_RECORD: dict[Defect, Callable[[Case], None]] = {
    Defect.STATUS_CODE_RANGE: _status_code,
    Defect.HTTP_METHOD_UNKNOWN: _http_method,
    Defect.PATH_WITHOUT_SLASH: _no_slash,
    Defect.PATH_TOO_LONG: _long_path,
    Defect.RESPONSE_TIME_NEGATIVE: _response_time,
    Defect.PAYLOAD_SIZE_NEGATIVE: _payload_size,
    Defect.CLIENT_IP_INVALID: _client_ip,
    Defect.REQUEST_ID_BLANK: _blank_id,
    Defect.TIMESTAMP_TOO_OLD: _too_old,
    Defect.TIMESTAMP_IN_FUTURE: _in_future,
    Defect.FAR_FUTURE: _far_future,
    Defect.SEVERAL_RULES: _several,
    Defect.USER_AGENT_TOO_LONG: _long_agent,
    Defect.USER_AGENT_EMPTY: _empty_agent,
    Defect.ERROR_MESSAGE_TOO_LONG: _long_error,
    Defect.ERROR_MESSAGE_EMPTY: _empty_error,
    Defect.HUGE_VALUE: _huge_error,
    Defect.LATE_HOURS: _shift((-23 * HOUR_MS, -HOUR_MS)),
    Defect.LATE_DAYS: _shift((-6 * DAY_MS, -DAY_MS)),
}
