"""The axes of a chart: its width, where values lie, what stands at the ticks."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from pipelines.reconcile.markup import Markup, tag
from pipelines.reconcile.wording import utc

WIDTH, LEFT, RIGHT = 720, 64, 12
"""Of every chart, in its own units; ``LEFT`` is the room for the ticks' texts."""
_STEPS_H = (1, 2, 3, 6, 12, 24)


def ceiling(most: int) -> int:
    """A round number at or above ``most``: 1, 2, 4 or 5 times a power of ten; 1 for nothing."""
    if most < 1:
        return 1
    power = 10 ** (len(str(most)) - 1)
    return int(next(n * power for n in (1, 2, 4, 5, 10) if n * power >= most))


def short(number: float) -> str:
    """``950``, ``12k``, ``1.5M``."""
    if abs(number) >= 1_000_000:
        return f"{number / 1_000_000:g}M"
    return f"{number / 1_000:g}k" if abs(number) >= 10_000 else f"{number:,g}"


def step(hours: int, most: int) -> timedelta:
    """How many hours one mark stands for, so that there are no more than ``most``: whole days beyond a day."""
    for one in _STEPS_H:
        if hours <= one * most:
            return timedelta(hours=one)
    return timedelta(days=math.ceil(hours / 24 / most))


def labels(times: list[datetime], most: int) -> list[tuple[int, str, str]]:
    """(index, hour, date) of at most ``most`` of ``times``; the date only where it is another one than before."""
    every = max(1, math.ceil(len(times) / most))
    picked = [(n, utc(times[n])) for n in range(0, len(times), every)]
    found, before = [], ""
    for n, moment in picked:
        date = f"{moment:%m-%d}"
        found.append((n, f"{moment:%H:%M}", "" if date == before else date))
        before = date
    return found


def grid(y: float, text: str) -> Markup:
    """A line across the chart, and what it stands for."""
    return tag(
        "g",
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"),
        tag("text", text, x=LEFT - 6, y=y + 4, text_anchor="end"),
    )
