"""Hours of a reconciliation: windows, which of them are settled, and up to where everything is proven complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)
LOOKS_BACK = timedelta(days=7)
"""How much older than its Kafka timestamp a record may be, and how far back settled hours are looked for."""
LONGEST_DEFAULT = timedelta(days=1)

Window = tuple[datetime, datetime]
"""Event time, UTC, whole hours, without the end."""


def floor_hour(at: datetime) -> datetime:
    """Start of the hour."""
    return at.replace(minute=0, second=0, microsecond=0)


def ceil_hour(at: datetime) -> datetime:
    """Start of the next hour, unless it is one."""
    return floor_hour(at) if floor_hour(at) == at else floor_hour(at) + HOUR


def hours_of(window: Window) -> list[datetime]:
    """Every hour of a window."""
    count = max(0, int((window[1] - window[0]) / HOUR))
    return [window[0] + n * HOUR for n in range(count)]


def in_ms(at: datetime) -> int:
    """Unix time in milliseconds."""
    return round(at.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """The same the other way round, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def settled_until(now: datetime, grace: timedelta, has_passed: Callable[[datetime], bool]) -> datetime:
    """End of the last settled hour: it lies ``grace`` back, and both jobs have passed that moment in Kafka.

    ``has_passed`` is asked whether both have read all that Kafka got before a moment; what it denies for one moment it
    denies for all later ones. Hours older than a week are not asked for.
    """
    newest, oldest = floor_hour(now - grace), floor_hour(now - LOOKS_BACK)
    if has_passed(newest + grace):
        return newest
    low, high = 0, int((newest - oldest) / HOUR)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if has_passed(oldest + middle * HOUR + grace) else (low, middle)
    return oldest + low * HOUR


def late_since(began: datetime, last: datetime | None, settled: datetime | None) -> datetime:
    """How old an hour may be and have got a record since the last run, which began at ``last``.

    What that run could not know has come to Kafka since it began, or behind what both jobs had read by then
    (``settled``), and may be LOOKS_BACK older than its Kafka timestamp.
    """
    return min(at for at in (began, last, settled) if at is not None) - LOOKS_BACK


def default_window(now: datetime, settled: datetime, proven: datetime | None) -> Window:
    """Settled hours that are not proven yet, of the last day; if there are none, today's so far, or yesterday's."""
    start = max(floor_hour(now - LONGEST_DEFAULT), proven or datetime.min.replace(tzinfo=UTC))
    if start < settled:
        return start, settled
    midnight = settled.replace(hour=0)
    return (midnight, settled) if midnight < settled else (midnight - timedelta(days=1), midnight)


def merged(windows: Iterable[Window]) -> list[Window]:
    """The same hours in as few windows as possible, in order."""
    found: list[Window] = []
    for start, end in sorted(w for w in windows if w[0] < w[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def complete_until(
    proven: Iterable[Window], open_hours: Iterable[datetime], before: datetime | None = None
) -> datetime | None:
    """Up to where every hour is proven without a gap, and none has an open finding; ``before``: as it was until now.

    It goes on from where it stood, else from the first hour that ever was proven; hours elsewhere do not move it.
    """
    chain = _chain(merged(proven), before)
    if chain is None:
        return None
    start, end = chain
    return max(start, min([end, *(floor_hour(h) for h in open_hours if h >= start)]))


def never_looked_at(proven: Iterable[Window], before: datetime | None) -> Window | None:
    """The hours at which the watermark stops although later ones are proven."""
    chains = merged(proven)
    chain = _chain(chains, before)
    behind = next((start for start, _ in chains if chain is not None and start > chain[1]), None)
    return None if chain is None or behind is None else (chain[1], behind)


def _chain(chains: Sequence[Window], before: datetime | None) -> Window | None:
    if before is None:
        return chains[0] if chains else None
    return next((c for c in chains if c[0] <= before <= c[1]), (before, before))
