"""Find records whose ``request_id`` was there before, in the batch or in the hours the batch touches.

Most batches hold none, so the search works on 64-bit hashes first and looks at request ids only where hashes meet.
The first record wins: lowest offset, then partition. A retried request stays in its partition: the order of arrival.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.ingest.coordinates import record_key

_ACCOUNTED = ("kafka_partition", "timestamp", "content_hash")
"""What the ledger needs to know of a row."""


def suspects(judged: DataFrame, known: DataFrame | None) -> DataFrame:
    """Hashes (``id_hash``) of request ids that occur twice in the valid rows of the batch, or there and in ``known``.

    ``known``: request ids that earlier batches stored, one column ``request_id``; None means none.
    """
    here = judged.where("is_valid").select(_id_hash(), F.lit(1).alias("here"), F.lit(0).alias("before"))
    if known is not None:
        here = here.unionByName(known.select(_id_hash(), F.lit(0).alias("here"), F.lit(1).alias("before")))
    tally = here.groupBy("id_hash").agg(F.sum("here").alias("here"), F.max("before").alias("before"))
    return tally.where((F.col("here") > 0) & (F.col("here") + F.col("before") > 1)).select("id_hash")


def losers(judged: DataFrame, known: DataFrame | None, hashes: DataFrame) -> DataFrame:
    """The duplicates themselves: every valid row that is not the first.

    Out: ``record_key``, ``kafka_partition``, ``timestamp``, ``content_hash``.
    """
    rows = judged.where("is_valid").withColumn("id_hash", _id_hash()).join(hashes, "id_hash", "left_semi")
    rows = rows.select("request_id", *_ACCOUNTED, record_key().alias("record_key"))
    rank = F.row_number().over(Window.partitionBy("request_id").orderBy("record_key"))
    ranked = rows.withColumn("rank", rank)
    if known is None:
        again = ranked.where(F.col("rank") > 1)
    else:
        met = known.withColumn("id_hash", _id_hash()).join(hashes, "id_hash", "left_semi")
        met = met.select("request_id", F.lit(True).alias("is_known")).distinct()
        again = ranked.join(met, "request_id", "left").where((F.col("rank") > 1) | F.col("is_known"))
    return again.select("record_key", *_ACCOUNTED)


def _id_hash() -> Column:
    return F.xxhash64("request_id").alias("id_hash")
