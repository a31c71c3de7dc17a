"""The life of a daily index by the day in its name, from tables written by hand."""

from __future__ import annotations

from datetime import date

import pytest

from pipelines.maintenance.indices import Action, Ages, Index, Phase, day_of, due, past_hot, phase_of

AGES = Ages(hot_days=30, delete_days=90)
TODAY = date(2026, 6, 30)


@pytest.mark.parametrize(
    ("day", "phase"),
    [
        (date(2026, 7, 1), Phase.HOT),
        (date(2026, 6, 30), Phase.HOT),
        (date(2026, 6, 1), Phase.HOT),  # 29 days
        (date(2026, 5, 31), Phase.WARM),  # 30 days
        (date(2026, 4, 2), Phase.WARM),  # 89 days
        (date(2026, 4, 1), Phase.EXPIRED),  # 90 days
        (date(2024, 2, 29), Phase.EXPIRED),
    ],
)
def test_the_phase_of_a_day(day: date, phase: Phase) -> None:
    assert phase_of(day, TODAY, AGES) is phase


@pytest.mark.parametrize(
    ("day", "is_read_only", "segments", "actions"),
    [
        ("2026-06-01", False, 0, []),
        ("2026-06-01", True, 9, []),
        ("2026-05-31", False, 0, [Action.BLOCK, Action.MERGE]),
        ("2026-05-31", True, 5, [Action.MERGE]),
        ("2026-05-31", True, 1, []),
        ("2026-05-31", True, 0, []),  # an empty index has no segment
        ("2026-04-01", False, 0, [Action.DELETE]),
        ("2026-04-01", True, 1, [Action.DELETE]),
    ],
)
def test_what_is_due(day: str, is_read_only: bool, segments: int, actions: list[Action]) -> None:
    assert due(Index("logs", date.fromisoformat(day), is_read_only, segments), TODAY, AGES) == actions


def test_past_hot() -> None:
    days = [date(2026, 6, 30), date(2026, 5, 31), date(2026, 1, 1)]
    assert [i.day for i in past_hot([Index("x", day, False) for day in days], TODAY, AGES)] == days[1:]


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("logs-2026.01.31", date(2026, 1, 31)),
        ("logs-2026.02.30", None),
        ("logs-2026.1.31", None),
        ("logs-2026.01.31-backup", None),
        ("logs-2026.01.31\n", None),
        ("more-logs-2026.01.31", None),
        ("logs-more-2026.01.31", None),
        ("logsx2026.01.31", None),
        ("logs-२०२६.01.31", None),
        ("logs", None),
        ("", None),
    ],
)
def test_only_exact_names_are_ours(name: str, day: date | None) -> None:
    assert day_of(name, "logs") == day


def test_a_prefix_is_no_pattern() -> None:
    assert day_of("lags-2026.01.31", "l.gs") is None
