"""``sdp badrows`` from values made by hand: what it shows, what it asks, and its exit codes."""

from __future__ import annotations

import importlib
import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from pipelines import bootstrap, cli
from pipelines.badrows.dissect import Dissected, Piece
from pipelines.badrows.overview import By, Group, Groups, Overview
from pipelines.cli import app, options
from pipelines.cli.badrows import spark_line
from pipelines.errors import SdpError, UsageError
from pipelines.flows.badrows import BadRow
from pipelines.flows.replay_report import Forecast, Pace, Report, Sample

AT = datetime(2026, 1, 31, 12, 0, 5)  # noqa: DTZ001 Spark gives UTC without saying so
SINCE, UNTIL = datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)


def violation(code: str) -> dict[str, Any]:
    return {"code": code, "field": None, "message": "[why]", "severity": "critical", "rule_fingerprint": None}


ROW = BadRow(
    table="api6_logs_invalid",
    row={
        "kafka_topic": "logs",
        "kafka_partition": 5,
        "kafka_offset": 7,
        "kafka_timestamp": AT,
        "raw": b"\x00\x00",
        "key": b"k",
        "headers": [{"key": "h", "value": b"\xff"}],
        "schema_id": None,
        "error_type": "wire",
        "error_message": "why",
        "violations": [violation("short_header")],
        "rule_set_fingerprint": "f",
        "failed_at": AT,
        "status": "open",
        "attempt": 1,
    },
    content=Dissected((Piece("(header)", 0, 2, "00 00", ""),), "2 bytes"),
    key="k",
    headers=(("h", "ff"), ("h", None)),
    tries=(
        {"at": AT, "who": "ana", "recipe": "r", "outcome": "failed_step", "codes": ["short_header"], "message": "m"},
    ),
)


class FakeRows:
    """One group, one record; notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def overview(self, by: list[By], since: datetime, until: datetime, status: list[str]) -> Overview:
        self.asked.append((by, until - since, status))
        groups = Groups(By.REASON, (Group("short_header", 3, 0.75, (0, 1, 2)),), others=1, other_rows=1)
        return Overview(SINCE, UNTIL, 4, (groups,))

    def one(self, partition: int, offset: int, *, unmask: bool) -> BadRow | None:
        self.asked.append((partition, offset, unmask))
        return ROW if (partition, offset) == (5, 7) else None


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> FakeRows:
    fake = FakeRows()
    monkeypatch.setattr(bootstrap, "bad_rows", lambda settings: fake)
    monkeypatch.setattr(options.out, "width", 120)
    monkeypatch.delenv("SDP_ENV", raising=False)
    return fake


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["badrows", *arguments])


def test_list_shows_count_share_and_trend(rows: FakeRows) -> None:
    result = call("list", "--since", "7d", "--by", "endpoint", "--status", "any")
    assert result.exit_code == 0
    [(by, span, status)] = rows.asked
    assert (by, span.days, status) == ([By.ENDPOINT], 7, [])
    assert "4 bad rows from 2026-01-30 00:00:00 until 2026-01-31 00:00:00 UTC" in result.stdout
    line = next(line for line in result.stdout.splitlines() if "short_header" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["short_header", "3", "75.0%", "▄█"]
    assert "(1 more)" in result.stdout


def test_list_as_json_has_plain_numbers(rows: FakeRows) -> None:
    found = json.loads(call("list", "--json").stdout)
    assert found["total"] == 4
    assert found["by"]["reason"] == {
        "groups": [{"key": "short_header", "count": 3, "share": 0.75, "trend": [0, 1, 2]}],
        "others": {"groups": 1, "count": 1},
    }


@pytest.mark.parametrize(
    ("counts", "line"), [((), ""), ((0, 0), "  "), ((1,), "█"), ((0, 1, 8), " ▁█"), ((1000, 1), "█▁")]
)
def test_a_trend_is_a_line_of_bars(counts: tuple[int, ...], line: str) -> None:
    assert spark_line(counts) == line


@pytest.mark.parametrize("place", [("5", "7"), ("logs-5@7",), ("my-own-logs-5@7",)])
def test_show_takes_coordinates_in_two_ways(rows: FakeRows, place: tuple[str, ...]) -> None:
    result = call("show", *place)
    assert result.exit_code == 0
    assert rows.asked == [(5, 7, False)]
    for text in (
        "logs-5@7",
        "short_header",
        "[why]",
        "00 00",
        "h=ff",
        "ana",
        "failed_step",
        "fields end here: 2 bytes",
    ):
        assert text in result.stdout


def test_show_as_json_is_one_object(rows: FakeRows) -> None:
    found = json.loads(call("show", "5", "7", "--unmask", "--json").stdout)
    assert rows.asked == [(5, 7, True)]
    assert found["pieces"] == [{"name": "(header)", "from": 0, "until": 2, "hex": "00 00", "value": ""}]
    assert (found["key"], found["bytes"]) == ("k", 2)
    assert found["headers"] == [{"key": "h", "value": "ff"}, {"key": "h", "value": None}]
    assert "raw" not in found


ODD = "a\x1b[2J\x9b\u202e\n\ud800"
SPELT_OUT = r"a\x1b[2J\x9b\u202e\n\ud800"


def test_no_value_commands_the_terminal(rows: FakeRows, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = ({"at": AT, "who": ODD, "recipe": "r", "outcome": "o", "codes": [], "message": ODD},)
    content = Dissected((Piece(ODD, 0, 1, "00", ODD),), ODD)
    odd = replace(ROW, key=ODD, headers=((ODD, ODD),), tries=tries, content=content)
    monkeypatch.setattr(rows, "one", lambda *_, **__: odd)
    monkeypatch.setattr(options.out, "width", 400)
    printed = call("show", "5", "7").stdout
    assert printed.count(SPELT_OUT) == 8
    assert all(c.isprintable() for c in printed.replace("\n", ""))
    as_json = call("show", "5", "7", "--json").stdout
    assert all(c.isprintable() for c in as_json.replace("\n", ""))
    assert json.loads(as_json)["key"] == ODD


def test_a_state_that_does_not_exist_starts_no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "bad_rows", lambda settings: pytest.fail("Spark would have been started"))
    result = call("list", "--status", "nope")
    assert isinstance(result.exception, UsageError)


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "5"),
        ("show", "x", "7"),
        ("show", "logs-5@7", "7"),
        ("show", "5", "8"),
        ("list", "--since", "soon"),
        ("list", "--since", "2026-02-01", "--until", "2026-01-01"),
        ("list", "--status", "closed"),
        ("replay", "r.yaml"),
        ("replay", "r.yaml", "--json"),
        ("replay", "r.yaml", "--yes", "--rate", "inf"),
        ("replay", "r.yaml", "--yes", "--rate", "nan"),
        ("replay", "r.yaml", "--yes", "--rate", "-1"),
    ],
)
def test_wrong_use(rows: FakeRows, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["badrows", *arguments])
    assert caught.value.code == 2


class FakeFlow:
    """A replay that does as it is told."""

    def __init__(self, forecast: Forecast, report: Report) -> None:
        self.stop = threading.Event()
        self._forecast, self._report = forecast, report
        self.ran: list[Any] = []

    def forecast(self, recipe: Any, *, mark_unrecoverable: bool) -> Forecast:
        return self._forecast

    def run(self, recipe: Any, who: str, pace: Pace, *, mark_unrecoverable: bool, on_progress: Any) -> Report:
        self.ran.append((who, pace, mark_unrecoverable))
        on_progress(self._report)
        return self._report


SAMPLE = Sample(5, 7, "replayed", None, b"before", b"after")
FORECAST = Forecast(3, 1, {"replayed": 2, "still_invalid": 1}, {"status_code_range": 1}, (SAMPLE,))
FINE = Report("id", Counter({"replayed": 2, "still_invalid": 1}), chunks=1)


def prepared(monkeypatch: pytest.MonkeyPatch, report: Report = FINE, forecast: Forecast = FORECAST) -> FakeFlow:
    flow = FakeFlow(forecast, report)
    kit = SimpleNamespace(flow=flow, recipe=SimpleNamespace(name="r"), fields=lambda raw: {"http_method": str(raw)})
    monkeypatch.setattr(bootstrap, "replay", lambda settings, path: kit)
    monkeypatch.setattr(options.out, "width", 120)
    monkeypatch.delenv("SDP_ENV", raising=False)
    return flow


def test_a_dry_run_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = prepared(monkeypatch)
    result = call("replay", "r.yaml", "--dry-run")
    assert (result.exit_code, flow.ran) == (0, [])
    for text in ("3 rows match", "1 more wait", "2 valid, 1 still_invalid", "1 status_code_range", "b'after'"):
        assert text in result.stdout


def test_options_reach_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = prepared(monkeypatch)
    options = ["--canary", "7", "--rate", "5", "--chunk", "9", "--keep-going", "--mark-unrecoverable", "--as", "ana"]
    result = call("replay", "r.yaml", "--yes", *options)
    assert result.exit_code == 0
    assert flow.ran == [("ana", Pace(canary=7, rate=5, chunk_rows=9, keep_going=True), True)]
    assert "replay id, 1 chunks: 2 replayed, 1 still_invalid" in result.stdout


def test_rows_that_did_not_get_in_are_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Report("id", Counter({"rejected": 1}), chunks=1, broken_promises=1, stopped_after_canary=True)
    prepared(monkeypatch, broken)
    result = call("replay", "r.yaml", "--yes", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["forecast"]["outcomes"] == FORECAST.outcomes
    assert (found["replay"]["outcomes"], found["replay"]["stopped_after_canary"]) == ({"rejected": 1}, True)


def test_a_stop_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(monkeypatch, Report("id", chunks=1, stopped=True))
    result = call("replay", "r.yaml", "--yes")
    assert result.exit_code == 0
    assert "run the same command again to go on" in result.stderr


def test_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = prepared(monkeypatch, forecast=Forecast(0, 0, {}, {}, ()))
    assert call("replay", "r.yaml", "--yes").exit_code == 0
    assert flow.ran == []


@pytest.mark.parametrize(
    ("forecast", "question"),
    [
        (FORECAST, "Replay these 3 rows?"),
        (Forecast(0, 0, {}, {}, (), unfinished="other"), "Finish the replay of other that was cut off?"),
        (Forecast(3, 0, {}, {}, (), unfinished="other"), "Replay these 3 rows?"),
    ],
)
def test_the_question_says_what_happens(monkeypatch: pytest.MonkeyPatch, forecast: Forecast, question: str) -> None:
    flow = prepared(monkeypatch, forecast=forecast)
    module = importlib.import_module("pipelines.cli.replay")
    monkeypatch.setattr(module, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    asked: list[str] = []

    def refuse(text: str, *, err: bool) -> bool:
        asked.append(text)
        return False

    monkeypatch.setattr(typer, "confirm", refuse)
    assert call("replay", "r.yaml").exit_code == 0
    assert (asked, flow.ran) == ([question], [])


def test_a_mistake_in_the_recipe_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDP_ENV", raising=False)
    path = tmp_path / "r.yaml"
    path.write_text("name: r\nwhere: {}\n", encoding="utf-8")
    result = call("replay", str(path), "--dry-run")
    assert isinstance(result.exception, SdpError)
    assert str(result.exception).startswith(f"{path}:2: where: ")
