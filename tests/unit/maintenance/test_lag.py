"""Lag in records and in time, held against its limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.maintenance.lag import JobLag, Limits, PartitionLag

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
FIRST = PartitionLag(0, position=40, earliest=10, latest=100, oldest_at=NOW - timedelta(seconds=90))
SECOND = PartitionLag(1, position=100, earliest=10, latest=100)


def job(*partitions: PartitionLag, records: int = 60, age_s: float = 90) -> JobLag:
    return JobLag("ingest", NOW, Limits(records, age_s), partitions)


def test_records_and_age_of_a_job() -> None:
    third = PartitionLag(2, 0, 0, 7, NOW - timedelta(seconds=30))
    found = job(FIRST, SECOND, third)
    assert [p.records for p in found.partitions] == [60, 0, 7]
    assert (found.records, found.oldest_s) == (67, 90)
    assert [found.age_s(p) for p in found.partitions] == [90, None, 30]


def test_a_limit_is_still_allowed() -> None:
    assert job(FIRST, SECOND).problems == []


@pytest.mark.parametrize(
    ("found", "problems"),
    [
        (job(FIRST, records=59), ["ingest: 60 records wait, more than 59"]),
        (job(FIRST, age_s=89), ["ingest: the oldest record has waited for 90 s, more than 89 s"]),
        (
            job(replace(FIRST, earliest=50)),
            ["ingest: 10 offsets of partition 0 were deleted by Kafka before they were read"],
        ),
        (job(SECOND, records=0, age_s=0), []),
        (job(replace(FIRST, oldest_at=None), age_s=1), []),
        (job(replace(FIRST, oldest_at=NOW + timedelta(hours=1)), age_s=1), []),
        (job(), []),
    ],
)
def test_what_is_above_its_limit(found: JobLag, problems: list[str]) -> None:
    assert found.problems == problems
