"""A random sample that anybody can draw again: the same seed and the same rows give the same records."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_AT = ("kafka_partition", "kafka_offset")


def chosen(rows: DataFrame, number: int, seed: int) -> tuple[tuple[int, int], ...]:
    """``number`` coordinates (partition, offset), each as probable as any other; fewer if there are not so many.

    Those with the smallest hashes, so nothing is sorted but the best of each task.
    """
    drawn = rows.select(*_AT).orderBy(F.xxhash64(F.lit(seed), *_AT), *_AT).limit(number)
    return tuple(sorted({(r["kafka_partition"], r["kafka_offset"]) for r in drawn.collect()}))
