"""Spans and times as commands take them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import typer

from pipelines.cli.window import parse_when, parse_window

NOW = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("now", NOW),
        ("90s", datetime(2026, 1, 31, 11, 58, 35, tzinfo=UTC)),
        ("15m", datetime(2026, 1, 31, 11, 45, 5, tzinfo=UTC)),
        ("2h", datetime(2026, 1, 31, 10, 0, 5, tzinfo=UTC)),
        ("1.5h", datetime(2026, 1, 31, 10, 30, 5, tzinfo=UTC)),
        ("7d", datetime(2026, 1, 24, 12, 0, 5, tzinfo=UTC)),
        ("1w", datetime(2026, 1, 24, 12, 0, 5, tzinfo=UTC)),
        ("0s", NOW),
        ("2026-01-30", datetime(2026, 1, 30, tzinfo=UTC)),
        ("2026-01-30T06:30:00", datetime(2026, 1, 30, 6, 30, tzinfo=UTC)),
        ("2026-01-30T06:30:00Z", datetime(2026, 1, 30, 6, 30, tzinfo=UTC)),
        ("2026-01-30T06:30:00+02:00", datetime(2026, 1, 30, 4, 30, tzinfo=UTC)),
    ],
)
def test_times_and_spans(text: str, when: datetime) -> None:
    found = parse_when(text, NOW)
    assert found == when
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "2",
        "h",
        "2 h",
        "-2h",
        "2y",
        "2H",
        "2h30m",
        "yesterday",
        "2026-02-30",
        "12:00",
        "9999999999d",
        "1e3s",
        "٢h",
    ],
)
def test_nonsense_is_wrong_use(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected now, a span such as 90s, 15m, 2h or 7d"):
        parse_when(text, NOW)


def test_a_time_of_another_zone_comes_back_in_utc() -> None:
    assert parse_when("2026-01-30T06:30:00+02:00", NOW.astimezone(timezone(timedelta(hours=2)))).tzinfo is UTC


def test_a_window_has_its_ends_in_order() -> None:
    assert parse_window("2h", "1h", NOW) == (NOW - timedelta(hours=2), NOW - timedelta(hours=1))
    for since, until in (("1h", "2h"), ("now", "now"), ("2026-02-01", "now")):
        with pytest.raises(typer.BadParameter, match=f"--since {since} is not before --until {until}"):
            parse_window(since, until, NOW)
