"""Conservation (law 2): every offset of a batch is valid, invalid, a known gap, or lost with the operator's word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from pipelines.ingest.validate import critical, is_undecodable
from pipelines.records import HourSum, OffsetRange, PartitionCount

HOUR_MS = 3_600_000
Moved = Mapping[int, tuple[HourSum, ...]]
"""Partition → valid rows that turned out to be invalid, by event hour."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One pass over a judged batch: rows per partition, and the event hours (date, hour) its valid rows touch.

    ``undecodable``: rows that are not exactly one record.
    """

    counts: tuple[PartitionCount, ...]
    hours: tuple[tuple[str, int], ...]
    undecodable: int = 0


def tally(judged: DataFrame) -> Tally:
    """Count a judged batch. Collects one row per partition and hour, which the rules' time window bounds."""
    by = judged.groupBy("kafka_partition", "is_valid", F.when(F.col("is_valid"), event_hour()).alias("hour_ms"))
    rows = by.agg(*_sums(), F.count_if(is_undecodable()).alias("undecodable")).collect()
    hours = sorted({r["hour_ms"] for r in rows if r["hour_ms"] is not None})
    partitions = sorted({r["kafka_partition"] for r in rows})
    counts = tuple(_count(p, [r for r in rows if r["kafka_partition"] == p]) for p in partitions)
    return Tally(counts, tuple(map(_date_and_hour, hours)), sum(r["undecodable"] for r in rows))


def event_hour() -> Column:
    """Start of the hour that ``timestamp`` lies in, Unix time in milliseconds."""
    return F.col("timestamp") - F.pmod(F.col("timestamp"), F.lit(HOUR_MS))


def _date_and_hour(hour_ms: int) -> tuple[str, int]:
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=hour_ms)
    return f"{start:%Y-%m-%d}", start.hour


def by_hour(rows: DataFrame | None) -> Moved:
    """Valid rows per Kafka partition and event hour; nothing for None. In: ``timestamp``, ``content_hash``."""
    if rows is None:
        return {}
    found = rows.groupBy("kafka_partition", event_hour().alias("hour_ms")).agg(*_sums()).collect()
    return {p: _hours([r for r in found if r["kafka_partition"] == p]) for p in {r["kafka_partition"] for r in found}}


def with_content(rejects: DataFrame | None, judged: DataFrame) -> DataFrame | None:
    """The rows behind rejects, which are known by coordinates alone: in the columns that ``by_hour`` takes."""
    if rejects is None:
        return None
    wanted = judged.select("kafka_partition", "kafka_offset", "timestamp", "content_hash")
    return wanted.join(rejects.select("kafka_partition", "kafka_offset"), ["kafka_partition", "kafka_offset"])


def by_reason(invalid: DataFrame) -> dict[str, int]:
    """Code of the first critical violation → refused rows, each counted once. Collects one row per code: few.

    In: ``violations``, as in the tables of invalid rows.
    """
    code = F.element_at(critical(F.col("violations")), 1)["code"].alias("code")
    return {r["code"]: r["count"] for r in invalid.groupBy(code).count().collect()}


def move_to_invalid(counts: Iterable[PartitionCount], *moved: Moved) -> tuple[PartitionCount, ...]:
    """Count rows that were valid by the rules as invalid. ``moved``: one mapping per reason."""

    def corrected(c: PartitionCount) -> PartitionCount:
        gone = [h for m in moved for h in m.get(c.partition, ())]
        n = sum(h.valid for h in gone)
        return PartitionCount(c.partition, c.valid - n, c.invalid + n, _without(c.hours, gone))

    return tuple(map(corrected, counts))


def missing(ranges: Sequence[OffsetRange], counts: Iterable[PartitionCount]) -> dict[int, int]:
    """Partition → offsets of the batch that gave no row; negative where there are more rows than offsets."""
    seen = {c.partition: c.valid + c.invalid for c in counts}
    left = {r.partition: len(r) - seen.pop(r.partition, 0) for r in ranges}
    left.update({p: -n for p, n in seen.items()})
    return {p: n for p, n in left.items() if n}


def _sums() -> tuple[Column, Column]:
    return F.count("*").alias("count"), F.sum("content_hash").alias("content_hash")


def _count(partition: int, rows: Sequence[Row]) -> PartitionCount:
    hours = _hours([r for r in rows if r["is_valid"]])
    return PartitionCount(
        partition, sum(h.valid for h in hours), sum(r["count"] for r in rows if not r["is_valid"]), hours
    )


def _hours(rows: Sequence[Row]) -> tuple[HourSum, ...]:
    return tuple(sorted(HourSum(r["hour_ms"], r["count"], r["content_hash"]) for r in rows))


def _without(hours: Iterable[HourSum], gone: Sequence[HourSum]) -> tuple[HourSum, ...]:
    def less(h: HourSum) -> HourSum:
        of_hour = [g for g in gone if g.hour_ms == h.hour_ms]
        return HourSum(
            h.hour_ms, h.valid - sum(g.valid for g in of_hour), h.content_hash - sum(g.content_hash for g in of_hour)
        )

    return tuple(left for left in map(less, hours) if left.valid)
