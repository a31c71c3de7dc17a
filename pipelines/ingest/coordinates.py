"""Conditions on coordinates (law 1)."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.records import OffsetRange

PARTITION_BITS = 12
"""Kafka partitions fit in 12 bits, offsets in the other 51 of a positive long."""


def record_key() -> Column:
    """Partition and offset of one topic as one long that sorts by offset, then partition."""
    return F.shiftleft(F.col("kafka_offset"), PARTITION_BITS) + F.col("kafka_partition").cast("bigint")


def inside(ranges: Iterable[OffsetRange]) -> Column:
    """Rows whose coordinates lie in one of the ranges."""
    found = F.lit(False)
    for r in ranges:
        if len(r):
            within = F.col("kafka_offset").between(r.from_offset, r.until_offset - 1)
            found = found | ((F.col("kafka_topic") == r.topic) & (F.col("kafka_partition") == r.partition) & within)
    return found


def behind(starts: dict[int, int], topic: str) -> Column:
    """Rows of the topic at or behind the start of their partition; partitions without a start count as a whole."""
    found = ~F.col("kafka_partition").isin(list(starts)) if starts else F.lit(True)
    for partition, offset in starts.items():
        found = found | ((F.col("kafka_partition") == partition) & (F.col("kafka_offset") >= offset))
    return (F.col("kafka_topic") == topic) & found
