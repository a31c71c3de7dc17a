"""Conservation (law 2): every offset of a batch is valid, invalid, a known gap, or lost with the operator's word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from pipelines.ingest.validate import critical, is_undecodable
from pipelines.records import OffsetRange, PartitionCount

HOUR_MS = 3_600_000


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
    event_hour = F.col("timestamp") - F.pmod(F.col("timestamp"), F.lit(HOUR_MS))
    by = judged.groupBy("kafka_partition", "is_valid", F.when(F.col("is_valid"), event_hour).alias("hour_ms"))
    rows = by.agg(F.count("*").alias("count"), F.count_if(is_undecodable()).alias("undecodable")).collect()
    hours = sorted({r["hour_ms"] for r in rows if r["hour_ms"] is not None})
    partitions = sorted({r["kafka_partition"] for r in rows})
    counts = tuple(PartitionCount(p, _sum(rows, p, True), _sum(rows, p, False)) for p in partitions)
    return Tally(counts, tuple(map(_date_and_hour, hours)), sum(r["undecodable"] for r in rows))


def _date_and_hour(hour_ms: int) -> tuple[str, int]:
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=hour_ms)
    return f"{start:%Y-%m-%d}", start.hour


def per_partition(rows: DataFrame | None) -> dict[int, int]:
    """Rows per Kafka partition; nothing for None."""
    if rows is None:
        return {}
    return {r["kafka_partition"]: r["count"] for r in rows.groupBy("kafka_partition").count().collect()}


def by_reason(invalid: DataFrame) -> dict[str, int]:
    """Code of the first critical violation → refused rows, each counted once. Collects one row per code: few.

    In: ``violations``, as in the tables of invalid rows.
    """
    code = F.element_at(critical(F.col("violations")), 1)["code"].alias("code")
    return {r["code"]: r["count"] for r in invalid.groupBy(code).count().collect()}


def move_to_invalid(counts: Iterable[PartitionCount], *moved: Mapping[int, int]) -> tuple[PartitionCount, ...]:
    """Count rows that were valid by the rules as invalid. ``moved``: partition → number, one mapping per reason."""

    def corrected(c: PartitionCount) -> PartitionCount:
        n = sum(m.get(c.partition, 0) for m in moved)
        return PartitionCount(c.partition, c.valid - n, c.invalid + n)

    return tuple(map(corrected, counts))


def missing(ranges: Sequence[OffsetRange], counts: Iterable[PartitionCount]) -> dict[int, int]:
    """Partition → offsets of the batch that gave no row; negative where there are more rows than offsets."""
    seen = {c.partition: c.valid + c.invalid for c in counts}
    left = {r.partition: len(r) - seen.pop(r.partition, 0) for r in ranges}
    left.update({p: -n for p, n in seen.items()})
    return {p: n for p, n in left.items() if n}


def _sum(rows: Sequence[Row], partition: int, is_valid: bool) -> int:
    return sum(r["count"] for r in rows if r["kafka_partition"] == partition and r["is_valid"] == is_valid)
