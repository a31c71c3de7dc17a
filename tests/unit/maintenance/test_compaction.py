"""Which partitions are merged: settled ones with many small files, the worst first."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from pipelines.maintenance.compaction import Partition, Policy, in_groups, worth_compacting

NOW = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
POLICY = Policy(settle_hours=2, min_small_files=4, max_partitions=3)


def hourly(day: int, hour: int, small: int = 9, month: int = 2) -> Partition:
    return Partition(date(2026, month, day), hour, small, small)


@pytest.mark.parametrize(
    ("partition", "is_chosen"),
    [
        (hourly(28, 22), True),  # ended at 23:00, two and a half hours ago
        (hourly(28, 23), False),  # ended at midnight
        (hourly(1, 1, month=3), False),  # the running hour
        (hourly(2, 1, month=3), False),  # timestamps may be ahead of the clock
        (hourly(28, 22, small=4), True),
        (hourly(28, 22, small=3), False),
        (Partition(date(2026, 2, 28), None, 9, 9), False),  # a whole day that ended at midnight
        (Partition(date(2026, 2, 27), None, 9, 9), True),
        (Partition(None, None, 9, 9), True),
    ],
)
def test_what_is_chosen(partition: Partition, is_chosen: bool) -> None:
    assert worth_compacting([partition], NOW, POLICY) == [partition] * is_chosen


def test_a_day_is_settled_as_long_after_its_end_as_an_hour() -> None:
    day = Partition(date(2026, 2, 28), None, 9, 9)
    assert worth_compacting([day], NOW.replace(hour=2, minute=0), POLICY) == [day]


def test_those_with_most_small_files_come_first_and_a_run_is_bounded() -> None:
    few, many, most, older = hourly(20, 1, 5), hourly(20, 2, 7), hourly(20, 3, 50), hourly(19, 3, 5)
    assert worth_compacting([few, many, most, older], NOW, POLICY) == [most, many, older]


def test_groups_hold_everything_once_in_order() -> None:
    partitions = [hourly(n, 0) for n in range(1, 8)]
    assert [len(group) for group in in_groups(partitions, 3)] == [3, 3, 1]
    assert [p for group in in_groups(partitions, 3) for p in group] == partitions
    assert in_groups([], 3) == []
