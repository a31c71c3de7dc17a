"""What Great Expectations looks at: DataFrame → DataFrame, with the columns of ``expectation.COLUMNS``."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.quality.expectation import COLUMNS, Asset
from pipelines.records import RowStatus

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def rows(of_day: DataFrame) -> DataFrame:
    """The rows of the day's partitions, and how their timestamps fit.

    ``ms_into_hour``: from the beginning of the row's partition to ``timestamp``. ``event_time_off_ms``: from
    ``event_time`` to ``timestamp``, 0 as it should be.
    """
    partition_ms = F.unix_date("date").cast("bigint") * DAY_MS + F.col("hour") * HOUR_MS
    derived = of_day.withColumns(
        {
            "ms_into_hour": F.col("timestamp") - partition_ms,
            "event_time_off_ms": F.col("timestamp") - F.unix_millis("event_time"),
        }
    )
    return derived.select(*COLUMNS[Asset.ROWS])


def repeated_ids(of_day: DataFrame) -> DataFrame:
    """Request ids that more than one row of the day has: in how many rows, hours, and rows of one hour at most."""
    in_hour = of_day.where(F.col("request_id").isNotNull()).groupBy("request_id", "hour").count()
    sums = [F.sum("count").alias("rows"), F.max("count").alias("most_in_an_hour"), F.count("*").alias("hours")]
    again = in_hour.groupBy("request_id").agg(*sums).where(F.col("rows") > 1)
    return again.select(*COLUMNS[Asset.REPEATED_IDS])


def hours(of_day: DataFrame, ledger: DataFrame, day: date) -> DataFrame:
    """One row per hour of the day for which ``ingest`` stored something: what the ledger says, and what is there.

    ``ledger``: rows of the ledger of one job and topic, with its column ``hours``.
    """
    parts = ledger.where(F.col("date") >= F.lit(day - timedelta(1))).select(F.explode("hours").alias("part"))
    told = parts.where(F.to_date("part.hour") == F.lit(day)).groupBy(F.hour("part.hour").alias("hour"))
    expected = told.agg(F.sum("part.valid").alias("ledger_rows")).where(F.col("ledger_rows") > 0)
    there = of_day.groupBy("hour").agg(F.count("*").alias("rows"))
    joined = expected.join(there, "hour", "left")
    return joined.withColumn("rows", F.coalesce("rows", F.lit(0))).select(*COLUMNS[Asset.HOURS])


def by_class(valid: DataFrame) -> DataFrame:
    """Rows per day and class of status codes (``2xx``): ``date``, ``status_class``, ``rows``."""
    digit = F.floor(F.col("status_code") / 100).cast("string")
    status_class = F.coalesce(F.concat(digit, F.lit("xx")), F.lit("none"))
    return valid.groupBy("date", status_class.alias("status_class")).agg(F.count("*").alias("rows"))


def status_classes(counts: DataFrame, day: date) -> DataFrame:
    """How the answers of the day, and those of all other days together, spread over the classes.

    ``counts``: see ``by_class``; the day has rows, and so has another one. ``moved`` adds up to the share of answers
    that would have to change their class for both to be the same, 0 to 1.
    """
    is_of_day = F.col("date") == F.lit(day)
    each = counts.groupBy("status_class").agg(
        F.sum(F.when(is_of_day, F.col("rows")).otherwise(0)).alias("here"),
        F.sum(F.when(~is_of_day, F.col("rows")).otherwise(0)).alias("before"),
    )
    totals = each.agg(F.sum("here").alias("all_here"), F.sum("before").alias("all_before"))
    shares = each.crossJoin(F.broadcast(totals)).select(
        "status_class",
        (F.col("here") / F.col("all_here")).alias("share"),
        (F.col("before") / F.col("all_before")).alias("usual_share"),
    )
    moved = F.abs(F.col("share") - F.col("usual_share")) / 2
    return shares.withColumn("moved", moved).select(*COLUMNS[Asset.STATUS_CLASSES])


def records(counts: DataFrame, invalid: DataFrame, day: date) -> DataFrame:
    """One row: valid rows of the day, refused ones, and their share. A replayed row is a valid one by now.

    ``invalid``: the day's rows of ``api6_logs_invalid``, which is the day of the Kafka timestamp.
    """
    valid = counts.where(F.col("date") == F.lit(day)).agg(F.coalesce(F.sum("rows"), F.lit(0)).alias("valid"))
    is_refused = F.col("status") != RowStatus.REPLAYED.value
    refused = invalid.agg(F.count(F.when(is_refused, F.lit(1))).alias("refused"))
    read = F.col("valid") + F.col("refused")
    share = F.when(read > 0, F.col("refused") / read).otherwise(F.lit(0.0))
    return valid.crossJoin(refused).withColumn("refused_share", share).select(*COLUMNS[Asset.RECORDS])
