"""Rows of ``api6_logs_invalid``: which a recipe means, their repair in Spark, and groups of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.badrows.recipe import Where
from pipelines.badrows.steps import Failed, Repair
from pipelines.records import Severity

TREND_PARTS = 24
"""The trend of a group: rows in each of so many equal parts of the time looked at."""

NO_KEY = "–"

_REPAIRED = "value binary, step int, kind string, code string, message string"


def meant(where: Where) -> Column:
    """Rows that fulfil the conditions, ``endpoint`` left aside: it is inside the value."""
    found = F.col("status").isin([s.value for s in where.status])
    if where.codes:
        found &= F.exists("violations", lambda v: _is_critical(v) & v["code"].isin(list(where.codes)))
    if where.stages:
        found &= F.col("error_type").isin([s.value for s in where.stages])
    if where.schema_ids:
        found &= F.col("schema_id").isin(list(where.schema_ids))
    if where.partitions:
        ranges = [_in_range(o.partition, o.start, o.until) for o in where.partitions]
        found &= reduce(or_, ranges)
    return found & between(where.since, where.until)


def between(since: datetime | None, until: datetime | None) -> Column:
    """Rows that Kafka got in ``[since, until)``; on days as well, so that other files are not opened."""
    found = F.lit(True)
    if since is not None:
        found &= (F.col("kafka_timestamp") >= F.lit(since)) & (F.col("date") >= F.lit(since.date()))
    if until is not None:
        found &= (F.col("kafka_timestamp") < F.lit(until)) & (F.col("date") <= F.lit(until.date()))
    return found


def reason() -> Column:
    """Code of the first critical violation."""
    return F.element_at(critical(), 1)["code"]


def critical() -> Column:
    """The violations of a row that refuse it; the others are warnings."""
    return F.filter("violations", _is_critical)


def repaired(repair: Repair) -> Callable[[DataFrame], DataFrame]:
    """Add ``value`` (the repaired bytes) and ``failed`` (struct<step, kind, code, message>, null where it worked).

    These rows are known to be bad and few, so they may pass through Python (law 9).
    """
    if not repair.steps:
        none = F.lit(None).cast("struct<step:int,kind:string,code:string,message:string>")
        return lambda rows: rows.select("*", F.col("raw").alias("value"), none.alias("failed"))

    def one(raw: bytearray | None) -> tuple[bytearray | None, int | None, str | None, str | None, str | None]:
        found = repair(None if raw is None else bytes(raw))
        if isinstance(found, Failed):
            return None, found.step, found.kind, str(found.code), found.message
        return None if found is None else bytearray(found), None, None, None, None

    column = F.udf(one, _REPAIRED)("raw")
    parts = F.struct(*(F.col(f"_repair.{name}").alias(name) for name in ("step", "kind", "code", "message")))
    failed = F.when(F.col("_repair.code").isNotNull(), parts)

    def transform(rows: DataFrame) -> DataFrame:
        done = rows.withColumn("_repair", column)
        return done.withColumn("value", F.col("_repair.value")).withColumn("failed", failed).drop("_repair")

    return transform


def as_from_kafka(rows: DataFrame) -> DataFrame:
    """Repaired rows in the columns of Spark's Kafka source, those left out whose repair failed."""
    names = {"topic": "kafka_topic", "partition": "kafka_partition", "offset": "kafka_offset"}
    renamed = [F.col(ours).alias(theirs) for theirs, ours in names.items()]
    sound = rows.where(F.col("failed").isNull())
    return sound.select(*renamed, F.col("kafka_timestamp").alias("timestamp"), "key", "value", "headers")


def grouped(rows: DataFrame, by: Column, since: datetime, until: datetime) -> DataFrame:
    """``key``, ``count`` and ``trend`` (array of TREND_PARTS counts) of rows that Kafka got in ``[since, until)``."""
    part_s = (until - since) / timedelta(seconds=TREND_PARTS)
    age_s = F.col("kafka_timestamp").cast("double") - since.timestamp()
    part = F.least(F.floor(age_s / part_s), F.lit(TREND_PARTS - 1))
    counts = [F.count(F.when(F.col("part") == n, True)).alias(f"part_{n}") for n in range(TREND_PARTS)]
    keyed = rows.select(F.coalesce(by.cast("string"), F.lit(NO_KEY)).alias("key"), part.alias("part"))
    groups = keyed.groupBy("key").agg(F.count("*").alias("count"), *counts)
    return groups.select("key", "count", F.array(*(f"part_{n}" for n in range(TREND_PARTS))).alias("trend"))


def _is_critical(violation: Column) -> Column:
    return violation["severity"] == Severity.CRITICAL.value


def _in_range(partition: int, start: int, until: int | None) -> Column:
    found = (F.col("kafka_partition") == partition) & (F.col("kafka_offset") >= start)
    return found if until is None else found & (F.col("kafka_offset") < until)
