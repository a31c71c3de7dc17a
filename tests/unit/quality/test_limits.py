"""Limits that follow from settings and from the days before."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from pipelines.quality.expectation import Parameter
from pipelines.quality.limits import days_before, limits
from pipelines.settings import QualitySettings

DAY = date(2026, 3, 1)
SETTINGS = QualitySettings(
    volume_tolerance=0.25, max_server_error_share=0.125, max_status_shift=0.3, max_refused_share=0.02
)


def volumes(*rows: int) -> dict[date, int]:
    """Of the days before, the nearest first."""
    return {DAY - timedelta(n): count for n, count in enumerate(rows, start=1)}


def test_the_days_before_are_those_of_the_calendar() -> None:
    few = QualitySettings(history_days=3)
    assert days_before(DAY, few) == [date(2026, 2, 28), date(2026, 2, 27), date(2026, 2, 26)]


def test_the_usual_is_the_median_which_one_odd_day_does_not_move() -> None:
    found = limits(DAY, volumes(1000, 1000, 90_000), SETTINGS)
    assert found == {
        Parameter.FEWEST_ROWS: 750,
        Parameter.MOST_ROWS: 1250,
        Parameter.MAX_STATUS_SHIFT: 0.3,
        Parameter.MAX_REFUSED_SHARE: 0.02,
        Parameter.LEAST_SHARE_BELOW_500: 0.875,
    }


@pytest.mark.parametrize(
    "before",
    [(), (5, 5), (5, 0, 5, 0, 0, 0, 0), (0, 0, 0, 0, 0, 5, 5, 5, 5, 5)],
    ids=["none", "two", "two of seven", "the third one is too long ago"],
)
def test_too_few_days_with_rows_give_no_limits_from_them(before: tuple[int, ...]) -> None:
    assert limits(DAY, volumes(*before), SETTINGS).keys() == {
        Parameter.MAX_REFUSED_SHARE,
        Parameter.LEAST_SHARE_BELOW_500,
    }


def test_the_day_itself_and_later_days_do_not_count() -> None:
    known = volumes(4, 8, 4, 8) | {DAY: 10**6, DAY + timedelta(1): 10**6}
    found = limits(DAY, known, SETTINGS)
    assert (found[Parameter.FEWEST_ROWS], found[Parameter.MOST_ROWS]) == (5, 7)  # 6 ± 1.5, inward


def test_a_tolerance_above_one_asks_for_nothing_at_the_lower_end() -> None:
    wide = QualitySettings(volume_tolerance=2)
    found = limits(DAY, volumes(10, 10, 10), wide)
    assert (found[Parameter.FEWEST_ROWS], found[Parameter.MOST_ROWS]) == (0, 30)
