"""Which partitions of a table are worth compacting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta


@dataclass(frozen=True, slots=True)
class Partition:
    """The files of one partition, ``small`` of them small. ``date``, ``hour`` (UTC): None without such a column."""

    date: date | None
    hour: int | None
    files: int
    small: int

    @property
    def ends_at(self) -> datetime | None:
        """When the wall clock leaves it; None for a table without partitions."""
        if self.date is None:
            return None
        begin = datetime.combine(self.date, time(self.hour or 0), UTC)
        return begin + (timedelta(days=1) if self.hour is None else timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class Policy:
    """``settle_hours``: how long a partition rests after its end. ``max_partitions``: of one table in one run."""

    settle_hours: int
    min_small_files: int
    max_partitions: int


def worth_compacting(partitions: Iterable[Partition], now: datetime, policy: Policy) -> list[Partition]:
    """Settled partitions with many small files, those with most of them first.

    A job still writes to a partition that has not settled: merging its files now means merging them twice.
    """
    latest_end = now - timedelta(hours=policy.settle_hours)
    chosen = [
        p for p in partitions if p.small >= policy.min_small_files and (p.ends_at is None or p.ends_at <= latest_end)
    ]
    chosen.sort(key=lambda p: (-p.small, p.ends_at or now))
    return chosen[: policy.max_partitions]


def in_groups(partitions: Sequence[Partition], size: int) -> list[Sequence[Partition]]:
    """Consecutive parts of at most ``size``: each is a commit of its own, so that a stop keeps what is done."""
    return [partitions[start : start + size] for start in range(0, len(partitions), size)]
