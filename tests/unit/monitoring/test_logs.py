"""Logs are one JSON object per line, with batch id and coordinates, never a payload."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from pipelines.errors import InvalidRuleFile, SinkUnavailable
from pipelines.monitoring import logs
from pipelines.monitoring.logs import BatchLog
from pipelines.records import Batch, OffsetRange

BATCH = Batch("ingest", "query-1", 7, (OffsetRange("logs", 0, 5, 9), OffsetRange("logs", 3, 0, 100)))
WHO = {"job": "ingest", "batch_id": 7, "query_id": "query-1", "level": "info"}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure(stream=stream)
    yield stream
    structlog.reset_defaults()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(now=50.0)
    found.monotonic = lambda: found.now
    monkeypatch.setattr(logs, "time", found)
    return found


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "has_colours"), [(io.StringIO(), False), (Terminal(), True)])
def test_pretty_lines_have_colours_on_a_terminal_only(stream: io.StringIO, has_colours: bool) -> None:
    logs.configure(pretty=True, stream=stream)
    BatchLog("ingest").retry(ConnectionRefusedError("refused"), 2.0)
    structlog.reset_defaults()
    assert "refused" in stream.getvalue()
    assert ("\x1b" in stream.getvalue()) is has_colours


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    """Every line parsed; its time is checked and taken out."""
    found = [json.loads(line) for line in written.getvalue().splitlines()]
    for line in found:
        at = datetime.fromisoformat(line.pop("timestamp"))
        assert at.tzinfo is not None
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    return found


def test_the_first_line_of_a_batch_carries_its_coordinates(written: io.StringIO) -> None:
    BatchLog("ingest").step("started", BATCH)
    offsets = ["logs-0 [5, 9)", "logs-3 [0, 100)"]
    assert lines(written) == [WHO | {"event": "batch_started", "offsets": offsets, "records": 104}]


def test_the_other_lines_carry_the_seconds_since_the_step_before(written: io.StringIO, clock: SimpleNamespace) -> None:
    log = BatchLog("ingest")
    clock.now += 1_000  # waiting for the batch is no step
    log.step("started", BATCH)
    clock.now += 1.2344
    log.step("judged", BATCH)
    clock.now += 2
    log.step("done", BATCH)
    assert lines(written)[1:] == [
        WHO | {"event": "batch_judged", "seconds": 1.234},
        WHO | {"event": "batch_done", "seconds": 2.0},
    ]


@pytest.mark.parametrize(("refused", "level"), [(20, "info"), (21, "warning")])
def test_more_than_two_percent_refused_is_a_warning(written: io.StringIO, refused: int, level: str) -> None:
    batch = Batch("ingest", "query-1", 7, (OffsetRange("logs", 0, 0, 400), OffsetRange("logs", 3, 5, 605)))
    BatchLog("ingest").refused(batch, {"null_value": 1, "trailing_bytes": refused - 1})
    [line] = lines(written)
    assert line == {
        "job": "ingest",
        "level": level,
        "event": "batch_refused",
        "batch_id": 7,
        "records": 1_000,
        "refused": refused,
        "share": refused / 1_000,
        "reasons": {"trailing_bytes": refused - 1, "null_value": 1},
    }
    assert list(line["reasons"]) == ["trailing_bytes", "null_value"]


def test_a_retry_says_why_and_how_long_it_pauses(written: io.StringIO) -> None:
    BatchLog("index").retry(SinkUnavailable("Elasticsearch", "http://e", "429 too many\n\tat x.y(Z.java)"), 1.94)
    [line] = lines(written)
    assert line == {
        "job": "index",
        "level": "warning",
        "event": "retry",
        "error": "Elasticsearch at http://e is not available: 429 too many",
        "pause_s": 1.9,
    }


def test_a_retry_names_the_innermost_cause_of_trouble_in_the_jvm(written: io.StringIO) -> None:
    said = """An error occurred while calling o3602.collectToPython.
: org.apache.spark.SparkException: Job aborted
\tat org.apache.spark.SomeException.of(X.scala:1)
Caused by: java.net.ConnectException: Connection refused
\t... 12 more
"""
    BatchLog("ingest").retry(RuntimeError(said), 0)
    assert lines(written)[0]["error"] == "java.net.ConnectException: Connection refused"


@pytest.mark.parametrize(
    ("error", "shown"),
    [(KeyError(), "KeyError"), (None, "NoneType"), (ValueError("x" * 1_000_000), "x" * 500), (OSError("\n"), "")],
)
def test_a_retry_is_one_short_line_whatever_failed(
    written: io.StringIO, error: BaseException | None, shown: str
) -> None:
    BatchLog("index").retry(error, 0)
    assert len(written.getvalue().splitlines()) == 1
    assert lines(written)[0]["error"] == shown


def test_what_became_of_a_new_rule_file(written: io.StringIO) -> None:
    log = BatchLog("ingest")
    log.rules_swapped("aaaa", "bbbb")
    log.rules_refused(InvalidRuleFile("hdfs://rules.yaml", 7, "not YAML: a\nb"), "bbbb")
    assert lines(written) == [
        {"job": "ingest", "level": "info", "event": "rules_swapped", "before": "aaaa", "after": "bbbb"},
        {
            "job": "ingest",
            "level": "error",
            "event": "rules_refused",
            "error": "hdfs://rules.yaml:7: not YAML: a\nb",
            "kept": "bbbb",
        },
    ]


def test_a_gateway_that_did_not_take_the_metrics_is_a_warning(written: io.StringIO) -> None:
    BatchLog("ingest").push_failed("http://gateway:9091", OSError("timed out"))
    BatchLog("ingest").push_failed("http://gateway:9091", TimeoutError())
    line = {"job": "ingest", "level": "warning", "event": "push_failed", "gateway": "http://gateway:9091"}
    assert lines(written) == [line | {"error": "timed out"}, line | {"error": "TimeoutError"}]


def test_texts_of_any_kind_stay_on_one_line(written: io.StringIO) -> None:
    odd = Batch("ingest", 'q"\n\u2028', 1, (OffsetRange("t\n", 0, 0, 1),))
    BatchLog("ingest").step("started", odd)
    assert written.getvalue().count("\n") == 1
    assert lines(written)[0]["query_id"] == 'q"\n\u2028'


def test_a_person_gets_text(written: io.StringIO) -> None:
    logs.configure(pretty=True, stream=written)
    BatchLog("ingest").step("started", BATCH)
    assert "batch_started" in written.getvalue()
    assert not written.getvalue().startswith("{")


def test_only_spark_s_bridge_is_silenced() -> None:
    root = logging.getLogger()
    before = list(root.filters)
    logs.without_py4j()
    try:
        for path, is_shown in (("/venv/py4j/java_gateway.py", False), ("/venv/elastic_transport/_node.py", True)):
            record = logging.LogRecord("root", logging.ERROR, path, 1, "interrupted", None, None)
            assert bool(root.filter(record)) == is_shown
        assert not logging.getLogger("py4j.clientserver").isEnabledFor(logging.ERROR)
        assert logging.getLogger("elastic_transport").isEnabledFor(logging.ERROR)
    finally:
        root.filters[:] = before
