"""Offsets that the ledger counts and no table holds, and those that a table of bad rows holds more than once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.reconcile.hours import from_ms
from pipelines.records import OffsetRange


def holes(
    ledger: DataFrame,
    stored: Sequence[DataFrame],
    cells: Collection[tuple[int, int]],
    ranges: Collection[OffsetRange],
    hole_ms: int,
) -> DataFrame:
    """Offsets of the batches concerned that are in none of the tables: ``at_partition``, ``at_offset``, ``hole``.

    ``cells``: (partition, hour in ms); their batches are those that put a record there. ``ranges``: of other batches.
    ``hole``: the hour in ms that the record may be of, as far as anybody knows; ``hole_ms`` for those of ``ranges``.
    Gaps of the topic are among them.
    Finding the gaps between sorted offsets costs one sort of these batches' coordinates, and no list of all offsets.
    """
    batches = _batches(ledger, cells, ranges, hole_ms)
    spans = F.broadcast(batches.select("partition", "from_offset", "until_offset", "hole"))
    held = reduce(DataFrame.unionByName, (t.select("kafka_partition", "kafka_offset") for t in stored))
    is_inside = (F.col("kafka_partition") == F.col("partition")) & (F.col("kafka_offset") >= F.col("from_offset"))
    found = held.join(spans, is_inside & (F.col("kafka_offset") < F.col("until_offset")))
    key = ("partition", "from_offset", "until_offset", "hole")
    before = spans.select(*key, (F.col("from_offset") - 1).alias("kafka_offset"))
    behind = spans.select(*key, F.col("until_offset").alias("kafka_offset"))
    offsets = found.select(*key, "kafka_offset").union(before).union(behind)
    order = Window.partitionBy("partition", "from_offset", "until_offset").orderBy("kafka_offset")
    gaps = offsets.withColumn("last", F.lag("kafka_offset").over(order)).where(
        F.col("kafka_offset") - F.col("last") > 1
    )
    missing = F.explode(F.sequence(F.col("last") + 1, F.col("kafka_offset") - 1)).alias("at_offset")
    each = gaps.select(F.col("partition").alias("at_partition"), missing, "hole")
    return each.dropDuplicates(["at_partition", "at_offset"])


def doubles(bad_rows: DataFrame) -> DataFrame:
    """Coordinates that are there more than once, in the columns of ``holes``; ``hole`` is null."""
    each = bad_rows.groupBy(*_at()).count().where("count > 1")
    return each.select("at_partition", "at_offset", F.lit(None).cast("bigint").alias("hole"))


def refusals(bad_rows: DataFrame, name: str) -> DataFrame:
    """One row per coordinates with what the witness ``name`` says: struct<status, reason, rows, at: ms>."""
    first = [F.first("status").alias("status"), F.first("error_message").alias("reason")]
    of_all = [F.count("*").alias("rows"), F.min(F.unix_millis("kafka_timestamp")).alias("at")]
    return bad_rows.groupBy(*_at()).agg(F.struct(*first, *of_all).alias(name))


def _at() -> tuple[Column, Column]:
    return F.col("kafka_partition").alias("at_partition"), F.col("kafka_offset").alias("at_offset")


def _batches(
    ledger: DataFrame, cells: Collection[tuple[int, int]], ranges: Collection[OffsetRange], hole_ms: int
) -> DataFrame:
    spark = ledger.sparkSession
    wanted = spark.createDataFrame(
        [(p, from_ms(h), h) for p, h in sorted(cells)], "partition INT, hour TIMESTAMP, hole BIGINT"
    )
    each = ledger.select("partition", "from_offset", "until_offset", F.explode("hours").alias("of"))
    each = each.withColumn("hour", F.col("of")["hour"]).join(F.broadcast(wanted), ["partition", "hour"])
    of_cells = each.groupBy("partition", "from_offset", "until_offset").agg(F.min("hole").alias("hole"))
    spans = [(r.partition, r.from_offset, r.until_offset, hole_ms) for r in ranges]
    return of_cells.unionByName(spark.createDataFrame(spans, of_cells.schema))
