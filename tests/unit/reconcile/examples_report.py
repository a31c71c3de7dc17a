"""Runs made by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pipelines.reconcile.model import (
    Finding,
    FindingState,
    HourCounts,
    Kind,
    OffsetsCheck,
    Run,
    RunState,
    Side,
    Verdict,
)
from pipelines.reconcile.report import Report

DAY = datetime(2026, 1, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hours(*lost_at: int) -> tuple[HourCounts, ...]:
    """A day of 1,000 records an hour; at each hour of ``lost_at`` one document is missing."""
    counts = [HourCounts(DAY + n * HOUR, 1_000, 1_000, 1_000, 1_000, invalid=20) for n in range(24)]
    for n in lost_at:
        counts[n] = replace(counts[n], documents=counts[n].documents - 1, discrepant=counts[n].discrepant + 1)
    return tuple(counts)


OFFSETS = (
    OffsetsCheck("ingest", 0, 500, 24_480, 0, 24_480, 24_480, 0, 0, 0),
    OffsetsCheck("index", 0, 500, 24_480, 0, 24_400, 24_400, 0, 0, 3),
)

CLEAN = Run(
    run_id="2026-01-31T00-30-00",
    topic="api6-logs",
    started_at=DAY + timedelta(hours=24, minutes=30),
    finished_at=DAY + timedelta(hours=24, minutes=31),
    window_from=DAY,
    window_until=DAY + timedelta(days=1),
    state=RunState.DONE,
    verdict=Verdict.OK,
    records=24_000,
    sampled=100,
    seed=7,
    complete_until=DAY + timedelta(days=1),
    hours=hours(),
    offsets=OFFSETS,
    seconds={"ledger": 1.25, "documents": 12.5},
)
WARNING = replace(
    CLEAN,
    verdict=Verdict.WARNING,
    discrepant=3,
    lost=2,
    complete_until=DAY + 14 * HOUR,
    hours=hours(14, 20, 20),
    kinds=(("missing", "elasticsearch", 2), ("extra", "elasticsearch", 1), ("accounted_as_invalid", "valid", 1)),
    notes=("Kafka has deleted the offsets before 500: the ledger stands for them.",),
)
ESCALATE = replace(WARNING, verdict=Verdict.ESCALATE, discrepant=300, lost=300)
FAILED = replace(
    CLEAN,
    state=RunState.FAILED,
    verdict=None,
    records=0,
    complete_until=None,
    hours=(),
    offsets=(),
    failure="Elasticsearch at http://es:9200 is not available: refused",
)
EMPTY = replace(CLEAN, records=0, hours=(), offsets=(), sampled=0, seed=None, complete_until=None, seconds={})

MISSING = Finding(
    run_id=WARNING.run_id,
    kafka_topic="api6-logs",
    kafka_partition=5,
    kafka_offset=3384,
    request_id="b7acda9f-0001",
    kind=Kind.MISSING,
    side=Side.ELASTICSEARCH,
    hour=DAY + 14 * HOUR,
    first_seen=DAY + timedelta(hours=24, minutes=30),
    es_index="api6-logs-valid-2026.01.30",
    es_id="b7acda9f-0001",
    reason="the ledger of index has it, no index does",
)
DIFFERS = replace(
    MISSING,
    kind=Kind.DIFFERS,
    kafka_offset=3385,
    field="status_code",
    expected="200",
    found="500",
    state=FindingState.REPAIRED,
    closed_by="repair-1",
    reason=None,
)


def past(days: int, **changes: object) -> Run:
    """A run so many days before, by default clean."""
    return replace(CLEAN, run_id=f"run-{days}", started_at=CLEAN.started_at - timedelta(days=days), **changes)  # type: ignore[arg-type]


HISTORY = (
    *(past(days) for days in (1, 2, 3, 5, 7, 8, 11, 12, 13, 20, 21, 25, 29)),
    past(4, verdict=Verdict.INVESTIGATE, discrepant=48),
    past(6, state=RunState.FAILED, verdict=None),
    past(10, verdict=Verdict.ESCALATE, discrepant=600, lost=600),
    past(15, verdict=Verdict.WARNING, discrepant=1, lost=1),
    past(31, verdict=Verdict.ESCALATE, discrepant=24_000),
)
FULL = Report(
    WARNING,
    findings=(MISSING, DIFFERS),
    history=HISTORY,
    top_reasons=(("the ledger of index has it, no index does", 2), ("no such record in Kafka", 1)),
)
