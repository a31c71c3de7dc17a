"""Lines of services that already log become records; lines about anything else, and our own, do not."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sdk.capture import Capture, CaptureSettings
from sdk.log_handler import Api6LogHandler, extras
from tests.unit.sdk.capturing import Seen

REQUEST = {"api_endpoint": "/v6/orders/{id}", "http_method": "GET", "status_code": 200, "response_time_ms": 12}


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of its own that is left as it was found."""
    found = logging.getLogger(f"shop.{uuid.uuid4().hex}")
    found.setLevel(logging.DEBUG)
    found.propagate = False
    yield found
    for handler in list(found.handlers):
        found.removeHandler(handler)
        handler.close()


def test_extra_fields_become_the_record(seen: Seen, logger: logging.Logger) -> None:
    logger.addHandler(Api6LogHandler(seen.capture))
    full = {
        **REQUEST,
        "timestamp": now_ms(),
        "request_id": "req-1",
        "client_ip": "::ffff:192.0.2.7",
        "user_agent": "curl/8.5",
        "payload_size": 17,
        "error_message": "odd",
    }
    logger.info("done", extra=full)
    assert seen.one() == {**full, "client_ip": "192.0.2.7"}


def now_ms() -> int:
    return int(time.time() * 1000)


def test_what_is_missing_is_filled(seen: Seen, logger: logging.Logger) -> None:
    logger.addHandler(Api6LogHandler(seen.capture))
    before_ms = now_ms()
    logger.info("done", extra=REQUEST)
    record = seen.one()
    assert before_ms <= record.pop("timestamp") <= now_ms()
    assert uuid.UUID(record.pop("request_id"))
    assert record == {
        **REQUEST,
        "client_ip": "0.0.0.0",
        "user_agent": None,
        "payload_size": 0,
        "error_message": None,
    }


def test_other_names_and_a_filling_of_ones_own(seen: Seen, logger: logging.Logger) -> None:
    read = extras(response_time_ms="duration", api_endpoint="route")

    def fill(line: logging.LogRecord) -> Mapping[str, Any]:
        return {
            "timestamp": now_ms(),
            "request_id": f"line-{line.lineno}",
            "client_ip": "192.0.2.1",
            "user_agent": "",
            "payload_size": 3,
            "error_message": "",
        }

    logger.addHandler(Api6LogHandler(seen.capture, read, fill))
    logger.info("done", extra={"route": "/a", "http_method": "GET", "status_code": "404", "duration": 12.6})
    record = seen.one()
    assert (record["api_endpoint"], record["status_code"], record["response_time_ms"]) == ("/a", 404, 13)
    assert record["request_id"].startswith("line-")
    assert (record["user_agent"], record["error_message"], record["payload_size"]) == (None, None, 3)


def test_errors_tell_what_went_wrong(seen: Seen, logger: logging.Logger) -> None:
    logger.addHandler(Api6LogHandler(seen.capture))
    try:
        raise LookupError("nothing there")
    except LookupError:
        logger.exception("failed", extra={**REQUEST, "status_code": 500})
    logger.error("the %s is away", "stock", extra={**REQUEST, "status_code": 503})
    assert [r["error_message"] for r in seen.records()] == ["LookupError: nothing there", "the stock is away"]


@pytest.mark.parametrize("missing", sorted(REQUEST))
def test_a_line_about_no_request_is_left_alone(seen: Seen, logger: logging.Logger, missing: str) -> None:
    logger.addHandler(Api6LogHandler(seen.capture))
    logger.warning("what a day")
    logger.warning("half", extra={name: value for name, value in REQUEST.items() if name != missing})
    logger.warning("null", extra={**REQUEST, missing: None})
    assert seen.records() == []
    assert seen.capture.losses == {}


def test_levels_and_skipped_endpoints(logger: logging.Logger) -> None:
    seen = Seen(CaptureSettings(skip=frozenset({"/health"})))
    logger.addHandler(Api6LogHandler(seen.capture, level=logging.INFO))
    logger.debug("done", extra=REQUEST)
    logger.info("done", extra={**REQUEST, "api_endpoint": "/health"})
    assert seen.records() == []


@pytest.mark.parametrize(
    "odd", [{"status_code": "fine"}, {"response_time_ms": float("nan")}, {"payload_size": []}, {"user_agent": 7}]
)
def test_a_line_that_can_not_be_a_record_is_counted(seen: Seen, logger: logging.Logger, odd: dict[str, Any]) -> None:
    logger.addHandler(Api6LogHandler(seen.capture))
    logger.info("done", extra={**REQUEST, **odd})
    assert seen.records() == []
    assert seen.capture.losses == {"not_built": 1}


def test_sizes_and_texts_that_are_too_large_are_cut(seen: Seen, logger: logging.Logger) -> None:
    logger.addHandler(Api6LogHandler(seen.capture))
    large = {"payload_size": 2**40, "response_time_ms": 2**40, "user_agent": "x" * 5000, "error_message": "y" * 9000}
    logger.info("done", extra={**REQUEST, **large, "client_ip": "somebody"})
    record = seen.one()
    assert (record["payload_size"], record["response_time_ms"]) == (2**31 - 1, 2**31 - 1)
    assert (len(record["user_agent"]), len(record["error_message"])) == (1024, 8192)
    assert record["client_ip"] == "0.0.0.0"


class Talking:
    """A producer that writes lines about requests to its own log, to that of its client, and to the service's."""

    def __init__(self, service: logging.Logger) -> None:
        self.loggers = [logging.getLogger(name) for name in ("sdk.producer", "confluent_kafka")] + [service]
        self.records: list[Mapping[str, Any]] = []

    def send(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)
        for logger in self.loggers:
            logger.error("sending", extra=REQUEST)


def test_lines_of_the_producer_never_go_round(logger: logging.Logger) -> None:
    sink = Talking(logger)
    capture = Capture(sink)
    handler = Api6LogHandler(capture)
    root = logging.getLogger()
    root.addHandler(handler)
    logger.addHandler(handler)
    try:
        logger.info("done", extra=REQUEST)
        assert capture.drain(30)
        assert capture.drain(30)  # what the first one brought with it
        logging.getLogger("sdk.delivery").error("from a thread of the producer's client", extra=REQUEST)
        assert capture.drain(30)
        assert len(sink.records) == 1
    finally:
        root.removeHandler(handler)
        capture.close()


def test_losses_that_are_logged_do_not_go_round(seen: Seen) -> None:
    handler = Api6LogHandler(seen.capture, read=lambda line: REQUEST)  # takes every line it is given
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        seen.sink.refuse = [RuntimeError("away")]
        logging.getLogger("shop").warning("done")
        assert seen.records() == []
        assert seen.capture.losses == {"RuntimeError": 1}
    finally:
        root.removeHandler(handler)


def test_a_reader_that_fails_is_counted(seen: Seen, logger: logging.Logger) -> None:
    def fails(line: logging.LogRecord) -> Mapping[str, Any]:
        raise LookupError

    logger.addHandler(Api6LogHandler(seen.capture, read=fails))
    logger.info("done")
    assert seen.capture.losses == {"not_built": 1}


def test_close_hands_over_what_waits(seen: Seen, logger: logging.Logger) -> None:
    handler = Api6LogHandler(seen.capture)
    logger.addHandler(handler)
    for _ in range(100):
        logger.info("done", extra=REQUEST)
    handler.close()
    assert len(seen.sink.records) == 100


@pytest.mark.parametrize("odd", [["/a"], {"a": 1}, {"/a"}, 7, b"/a"])
def test_an_endpoint_that_is_no_text_is_no_matter_of_the_service(seen: Seen, logger: logging.Logger, odd: Any) -> None:
    logger.addHandler(Api6LogHandler(seen.capture))
    logger.info("done", extra={**REQUEST, "api_endpoint": odd})
    assert seen.capture.drain(30)
    assert seen.capture.losses == ({"not_built": 1} if isinstance(odd, list | dict) else {})  # else the producer's


def test_a_line_without_a_name_is_no_matter_of_the_service(seen: Seen) -> None:
    Api6LogHandler(seen.capture).handle(logging.makeLogRecord({"name": None, "levelno": logging.INFO, **REQUEST}))
    assert seen.one()["api_endpoint"] == REQUEST["api_endpoint"]


def test_what_waits_is_small_whatever_the_line_says(seen: Seen, logger: logging.Logger) -> None:
    waiting: list[Any] = []
    seen.capture.handover.offer = waiting.append  # type: ignore[method-assign,assignment]
    long = dict.fromkeys(("api_endpoint", "request_id", "user_agent", "error_message", "client_ip"), "x" * 1_000_000)
    logger.addHandler(Api6LogHandler(seen.capture, read=lambda line: {**REQUEST, **long, "more": "x" * 1_000_000}))
    logger.info("done")
    [build] = waiting
    kept = {name: len(value) for name, value in build.args[0].items() if isinstance(value, str)}
    assert kept == {"http_method": 3, **dict.fromkeys(long, 8192)}
