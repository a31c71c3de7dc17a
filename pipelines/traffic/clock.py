"""When things happen: event times over a span, denser by day than by night."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import cos, pi

DAY_MS = 86_400_000
PEAK_MS = 15 * 3_600_000
"""Time of the day (UTC) with most traffic."""

SWING = 0.75
"""Traffic goes from 1 - SWING times the mean at night to 1 + SWING times at the peak."""

KNOTS = 1024


@dataclass(frozen=True, slots=True)
class Timeline:
    """Event times of ``count`` records in the span that ends at ``until_ms``; ``knots`` are its quantiles."""

    count: int
    knots: tuple[float, ...]

    def at(self, index: int) -> int:
        """Event time of a record in ms; grows with the index."""
        place = (index + 0.5) / self.count * KNOTS
        knot = int(place)
        low, high = self.knots[knot], self.knots[knot + 1]
        return int(low + (high - low) * (place - knot))


def timeline(count: int, span_ms: int, until_ms: int) -> Timeline:
    """Spread ``count`` records over the span by the day-and-night curve."""
    start = until_ms - span_ms
    times = [start + span_ms * step / KNOTS for step in range(KNOTS + 1)]
    mass = [0.0, *accumulate((traffic_at(a) + traffic_at(b)) / 2 for a, b in pairwise(times))]
    knots = [times[0], *(_when(mass[-1] * step / KNOTS, mass, times) for step in range(1, KNOTS)), times[-1]]
    return Timeline(count, tuple(knots))


def traffic_at(time_ms: float) -> float:
    """Traffic relative to the day's mean."""
    return 1 + SWING * cos(2 * pi * (time_ms % DAY_MS - PEAK_MS) / DAY_MS)


def _when(target: float, mass: list[float], times: list[float]) -> float:
    place = bisect_left(mass, target)
    part = (target - mass[place - 1]) / (mass[place] - mass[place - 1])
    return times[place - 1] + (times[place] - times[place - 1]) * part
