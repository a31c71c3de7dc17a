"""Event times: a day has a peak and a night, and time never runs backwards."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.traffic.clock import timeline, traffic_at

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIDNIGHT_MS = 19_700 * DAY_MS


def test_peak_in_the_afternoon_and_quiet_at_night() -> None:
    times = timeline(24_000, DAY_MS, MIDNIGHT_MS)
    hours = Counter(times.at(i) % DAY_MS // HOUR_MS for i in range(24_000))
    assert hours.most_common(1)[0][0] in (14, 15)
    assert min(hours, key=lambda h: hours[h]) in (2, 3)
    assert hours[15] / hours[3] == pytest.approx(traffic_at(15.5 * HOUR_MS) / traffic_at(3.5 * HOUR_MS), rel=0.05)


@given(st.integers(1, 500), st.integers(0, 40 * DAY_MS), st.integers(41 * DAY_MS, 20_000 * DAY_MS))
def test_times_rise_within_the_span(count: int, span_ms: int, until_ms: int) -> None:
    times = timeline(count, span_ms, until_ms)
    found = [times.at(i) for i in range(count)]
    assert found == sorted(found)
    assert until_ms - span_ms <= found[0]
    assert found[-1] <= until_ms
