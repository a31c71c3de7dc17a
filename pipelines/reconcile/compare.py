"""Rows and documents side by side, by coordinates: which of them are not simply the same.

Both sides come in the same columns: FIELDS of a document, ``at_partition`` and ``at_offset`` for the record that they
are held to be, and ``es_index``. A row's is the index its document belongs into; it has ``ingested_ms`` and
``computed_hash`` as well, and ``misdated``: what of the columns made of its timestamp does not fit it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.records import LOG_FIELDS

AT = ("at_partition", "at_offset")
OF_KAFKA = (*LOG_FIELDS, "schema_id", "content_hash", "kafka_timestamp")
"""What a fresh look at Kafka tells, whatever the rules and schemas are by now."""
FIELDS = (*OF_KAFKA, "@timestamp", "warnings", "kafka_topic", "kafka_partition", "kafka_offset")
"""What every document holds."""
BESIDE = ("es_index", "ingested_ms", "computed_hash", "misdated")
"""What a row has more."""


def misdated() -> Column:
    """Those of ``event_time``, ``date`` and ``hour`` that are not what ``timestamp`` makes of them."""
    made = F.timestamp_millis("timestamp")
    expected = {"event_time": made, "date": F.to_date(made), "hour": F.hour(made)}
    each = [
        F.struct(F.lit(n).alias("field"), e.cast("string").alias("expected"), F.col(n).cast("string").alias("found"))
        for n, e in expected.items()
    ]
    return F.filter(F.array(*each), lambda one: ~one["expected"].eqNullSafe(one["found"]))


def side_by_side(rows: DataFrame, documents: DataFrame, fields: Sequence[str]) -> DataFrame:
    """One row per record: AT, ``rows`` (how many), ``row`` and ``documents`` (array), null where there is none.

    Each of ``rows`` stands for as many as it says in ``times``.
    """
    values = [F.col(f"`{name}`") for name in fields]
    row = F.struct(*values, *BESIDE)
    document = F.struct(*values, "es_index", "es_id")
    held = rows.groupBy(*AT).agg(F.sum("times").alias("rows"), F.first(row).alias("row"))
    found = documents.groupBy(*AT).agg(F.array_sort(F.collect_list(document)).alias("documents"))
    return held.join(found, list(AT), "full_outer")


def taken_apart(both: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Rows and documents again, of what was put side by side."""
    rows = both.where(F.col("row").isNotNull()).select(*AT, F.col("rows").alias("times"), "row.*")
    return rows, both.select(*AT, F.explode("documents").alias("document")).select(*AT, "document.*")


def is_odd(fields: Sequence[str]) -> Column:
    """Whether a record is not there exactly once on both sides, in the right place and with the same content."""
    row, document = F.col("row"), F.element_at("documents", 1)
    same = [row[name].eqNullSafe(document[name]) for name in fields]
    is_single = (F.col("rows") == 1) & (F.size("documents") == 1)
    is_placed = (document["es_id"] == row["request_id"]) & (document["es_index"] == row["es_index"])
    is_intact = row["computed_hash"].isNull() | (row["computed_hash"] == row["content_hash"])
    is_dated = F.size(row["misdated"]) == 0
    return ~F.coalesce(reduce(Column.__and__, [is_single, is_placed, is_intact, is_dated, *same]), F.lit(False))
