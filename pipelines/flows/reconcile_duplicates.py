"""Valid records without a row that nobody has lost: another one had their ``request_id`` before."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.flows.caching import settle
from pipelines.ingest.account import event_hour
from pipelines.reconcile.compare import AT
from pipelines.reconcile.hours import HOUR, from_ms
from pipelines.reconcile.rows import within

_KEY = ("request_id", "hour_ms")


def firsts(records: DataFrame, valid: DataFrame, ledger: DataFrame) -> DataFrame:
    """Those of the records that ``ingest`` calls duplicates: AT, and ``first``, the record that came before, as text.

    ``records``: valid ones that no table holds: AT, ``request_id``, ``timestamp``. ``valid``, ``ledger``: of their
    topic, the latter of ``ingest`` only. As that job does, this looks for a request id in the hours that the record's
    batch touches.
    """
    records = settle(records.select(*AT, "request_id", event_hour().alias("hour_ms")))
    touched = settle(_touched(records, ledger))
    low, high = touched.agg(F.min("hour_ms"), F.max("hour_ms")).collect()[0]
    at = (F.col("kafka_partition").alias("partition"), F.col("kafka_offset").alias("offset"))
    near = valid.limit(0) if low is None else valid.where(within((from_ms(low), from_ms(high) + HOUR)))
    stored = near.select("request_id", event_hour().alias("hour_ms"), *at)
    lost = records.select(*_KEY, F.col("at_partition").alias("partition"), F.col("at_offset").alias("offset"))
    before = stored.withColumn("is_stored", F.lit(True)).unionByName(lost.withColumn("is_stored", F.lit(False)))
    wanted = records.drop("hour_ms").join(touched, list(AT))
    met = before.join(F.broadcast(wanted), list(_KEY)).where(_is_before())
    first = F.min(F.struct("offset", "partition")).alias("first")
    name = F.concat(F.col("first")["partition"].cast("string"), F.lit("@"), F.col("first")["offset"].cast("string"))
    return settle(met.groupBy(*AT).agg(first).select(*AT, name.alias("first")))


def _touched(records: DataFrame, ledger: DataFrame) -> DataFrame:
    """The hours of the records' batches, all partitions of them, and their own, which may hold duplicates only."""
    is_within = (F.col("partition") == F.col("at_partition")) & (F.col("from_offset") <= F.col("at_offset"))
    found = ledger.join(F.broadcast(records), is_within & (F.col("at_offset") < F.col("until_offset")))
    batches = settle(found.select(*AT, "query_id", "batch_id"))
    hours = ledger.join(F.broadcast(batches), ["query_id", "batch_id"]).select(*AT, F.explode("hours").alias("of"))
    in_ms = hours.select(*AT, F.unix_millis(F.col("of")["hour"]).alias("hour_ms"))
    return in_ms.unionByName(records.select(*AT, "hour_ms")).distinct()


def _is_before() -> Column:
    """Whether ``partition`` and ``offset`` came before the record: within a partition the offset tells.

    Of two partitions nobody knows, but what is stored came first: else it would not be. Of two that are lost the one
    with the lower offset counts, as in a batch.
    """
    is_here = F.col("partition") == F.col("at_partition")
    is_same = F.col("offset") == F.col("at_offset")
    is_lower = (F.col("offset") < F.col("at_offset")) | (is_same & (F.col("partition") < F.col("at_partition")))
    return is_lower | (~is_here & F.col("is_stored"))
