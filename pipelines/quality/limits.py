"""The limits of a day that its file leaves open: from the settings, and from the days before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta
from statistics import median

from pipelines.quality.expectation import Parameter
from pipelines.settings import QualitySettings


def days_before(day: date, settings: QualitySettings) -> list[date]:
    """The days to compare with, the nearest first, whether or not they have rows."""
    return [day - timedelta(n) for n in range(1, settings.history_days + 1)]


def limits(day: date, volumes: Mapping[date, int], settings: QualitySettings) -> dict[Parameter, float]:
    """Every parameter that has a value on this day. ``volumes``: rows of the days that have any.

    What is compared with the days before is missing if fewer than ``min_history_days`` of them have rows. The usual
    number of rows is their median, so that one odd day does not move it far.
    """
    fixed: dict[Parameter, float] = {
        Parameter.MAX_REFUSED_SHARE: settings.max_refused_share,
        Parameter.LEAST_SHARE_BELOW_500: 1 - settings.max_server_error_share,
    }
    before = [rows for at in days_before(day, settings) if (rows := volumes.get(at, 0))]
    if len(before) < settings.min_history_days:
        return fixed
    usual, tolerance = median(before), settings.volume_tolerance
    return fixed | {
        Parameter.FEWEST_ROWS: max(0, math.ceil(usual * (1 - tolerance))),
        Parameter.MOST_ROWS: math.floor(usual * (1 + tolerance)),
        Parameter.MAX_STATUS_SHIFT: settings.max_status_shift,
    }
