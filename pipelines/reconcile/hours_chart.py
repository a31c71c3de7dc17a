"""Chart: records by event hour on the four sides, and below it how far each is from the first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.reconcile.axes import LEFT, RIGHT, WIDTH, ceiling, grid, labels, short, step
from pipelines.reconcile.markup import Markup, tag
from pipelines.reconcile.model import HourCounts
from pipelines.reconcile.wording import COUNTED, counted, shown, utc

TOP, COUNTS, GAP, DIFFERENCES, AXIS = 18, 180, 34, 70, 34
MOST_GROUPS, MOST_LABELS = 48, 12
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Group:
    """Counts of one or several hours, in the order of ``COUNTED``; ``discrepant`` as in an hour's counts."""

    start: datetime
    counts: tuple[int, ...]
    discrepant: int

    @property
    def differences(self) -> tuple[int, ...]:
        """Of each side to the first one."""
        return tuple(count - self.counts[0] for count in self.counts)


def groups(hours: Sequence[HourCounts]) -> tuple[list[Group], timedelta]:
    """The hours in order, several in one where there are many, quiet ones in between; and the length of one."""
    starts = [utc(hour.hour) for hour in hours]
    first, last = min(starts), max(starts)
    each = step((last - first) // HOUR + 1, MOST_GROUPS)
    origin = first if each == HOUR else first.replace(hour=first.hour - first.hour % (min(each, 24 * HOUR) // HOUR))
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * (len(COUNTED) + 1))
    for hour, start in zip(hours, starts, strict=True):
        figures = [*(getattr(hour, name) for name, _ in COUNTED), hour.discrepant]
        place = (start - origin) // each
        sums[place] = [a + b for a, b in zip(sums[place], figures, strict=True)]
    places = range((last - origin) // each + 1)
    return [Group(origin + n * each, tuple(sums[n][:-1]), sums[n][-1]) for n in places], each


def chart(hours: Sequence[HourCounts]) -> Markup:
    """The chart with its title and a text in its place. ``hours``: at least one."""
    found, each = groups(hours)
    differ = any(any(group.differences) for group in found)
    bottom = TOP + COUNTS + (GAP + DIFFERENCES if differ else 0)
    return tag(
        "svg",
        tag("title", "Records by event hour on each side", id="hours-chart-title"),
        tag("desc", _in_words(found, each), id="hours-desc"),
        _counts(found, each),
        _differences(found) if differ else None,
        _time_axis(found, bottom, each),
        viewBox=f"0 0 {WIDTH} {bottom + AXIS}",
        role="img",
        aria_labelledby="hours-chart-title hours-desc",
        class_="chart",
    )


def _in_words(found: list[Group], each: timedelta) -> str:
    span = f"{shown(found[0].start)} until {shown(found[-1].start + each)} UTC"
    sums = (sum(group.counts[n] for group in found) for n in range(len(COUNTED)))
    totals = ", ".join(f"{name} {total:,}" for (_, name), total in zip(COUNTED, sums, strict=True))
    marked = sum(1 for group in found if group.discrepant)
    open_ones = f"{counted(marked, 'bar group')} with open findings" if marked else "no open finding"
    return f"{span}, {counted(each // HOUR, 'hour')} per group: {totals}; {open_ones}. The table below has the figures."


def _counts(found: list[Group], each: timedelta) -> Markup:
    top = ceiling(max(max(group.counts) for group in found))
    zero = TOP + COUNTS
    lines = [grid(zero - part * COUNTS, short(part * top)) for part in (0, 0.5, 1)]
    bars = [_group(found, n, top, each) for n in range(len(found))]
    return tag("g", lines, bars)


def _group(found: list[Group], place: int, top: int, each: timedelta) -> Markup:
    group, (x, width) = found[place], _slot(found, place)
    zero = TOP + COUNTS
    texts = "; ".join(f"{name} {count:,}" for (_, name), count in zip(COUNTED, group.counts, strict=True))
    until = f" until {shown(group.start + each)}" if each != HOUR else ""
    middle = x + width * len(COUNTED) / 2
    mark = f"M{middle - 5:.1f} 4h10l-5 9z" if group.discrepant else None
    return tag(
        "g",
        tag("title", f"{shown(group.start)}{until}: {texts}; {group.discrepant:,} with an open finding"),
        [_bar(n, x + n * width, width, zero, -count / top * COUNTS) for n, count in enumerate(group.counts)],
        tag("path", d=mark, class_="mark") if mark else None,
    )


def _differences(found: list[Group]) -> Markup:
    top = ceiling(max(abs(d) for group in found for d in group.differences))
    zero = TOP + COUNTS + GAP + DIFFERENCES / 2
    lines = [
        grid(zero - part * DIFFERENCES / 2, f"{'+' if part > 0 else ''}{short(part * top)}") for part in (-1, 0, 1)
    ]
    bars = [
        _bar(n, x + n * width, width, zero, -difference / top * DIFFERENCES / 2)
        for place, group in enumerate(found)
        for x, width in [_slot(found, place)]
        for n, difference in enumerate(group.differences)
    ]
    heading = tag("text", "Difference to the ledger of ingest", x=LEFT, y=TOP + COUNTS + GAP - 10, class_="heading")
    return tag("g", heading, lines, bars)


def _slot(found: list[Group], place: int) -> tuple[float, float]:
    """Where the group begins, and the width of one of its bars."""
    slot = (WIDTH - LEFT - RIGHT) / len(found)
    inner = min(slot * 0.8, 80)
    return LEFT + place * slot + (slot - inner) / 2, inner / len(COUNTED)


def _bar(side: int, x: float, width: float, zero: float, height: float) -> Markup | None:
    """A bar from ``zero`` up (negative height) or down; at least a pixel high, so that one record shows."""
    if not height:
        return None
    tall = max(abs(height), 1.0)
    y = zero - tall if height < 0 else zero
    return tag("rect", x=x, y=y, width=max(width - 0.5, 0.5), height=tall, class_=f"side{side + 1}")


def _time_axis(found: list[Group], y: float, each: timedelta) -> Markup:
    width = (WIDTH - LEFT - RIGHT) / len(found)
    texts = []
    for place, hour, date in labels([group.start for group in found], MOST_LABELS):
        x = LEFT + (place + 0.5) * width
        lines = [text for text in (hour if each < 24 * HOUR else "", date) if text]
        texts += [tag("text", text, x=x, y=y + 15 + 14 * n, text_anchor="middle") for n, text in enumerate(lines)]
    return tag("g", texts)
