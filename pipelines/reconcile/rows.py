"""Figures of the valid table, in one pass over the columns they need."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from pipelines.reconcile.figures import SUMMED, VALUED, Figures, Place
from pipelines.reconcile.hours import Window

HOUR_MS = 3_600_000
_KEYS = ("kafka_partition", "hour_ms", "block")


def within(window: Window) -> Column:
    """Rows of the valid table that are stored under these hours; in words that prune partitions."""
    (first, last), hour = window, F.col("hour")
    start, end = F.lit(first.date()), F.lit(last.date())
    is_after = (F.col("date") > start) | ((F.col("date") == start) & (hour >= first.hour))
    is_before = (F.col("date") < end) | ((F.col("date") == end) & (hour < last.hour))
    return F.col("date").between(start, end) & is_after & is_before


def summed(rows: DataFrame, block_size: int | None = None, without: Collection[str] = ()) -> DataFrame:
    """Figures of the rows per partition, event hour and block: few rows, however many there were.

    Out: _KEYS (``block`` with a block size only), ``name`` (null for sums, else the field whose ``value`` is counted),
    ``records`` and SUMMED. First all fields with few values at once, then each of them: the second pass sees what is
    left of the first.
    ``without``: fields whose values are too many to be told.
    """
    valued = [name for name in VALUED if name not in without]
    hour = F.col("timestamp") - F.pmod(F.col("timestamp"), F.lit(HOUR_MS))
    keys = [F.col("kafka_partition"), hour.alias("hour_ms")]
    keys += [F.floor(F.col("kafka_offset") / block_size).alias("block")] if block_size else []
    names = _KEYS if block_size else _KEYS[:2]
    sums = [F.sum(_number(name)).alias(f"sum_{name}") for name in SUMMED]
    codes = F.col("warnings")["code"].alias("warnings")
    by = [codes if name == "warnings" else F.col(name) for name in valued]
    groups = rows.groupBy(*keys, *by).agg(F.count("*").alias("records"), *sums)
    pairs = [
        F.struct(F.lit(n).alias("name"), F.col(n).cast("string").alias("value")) for n in valued if n != "warnings"
    ]
    whole = F.struct(F.lit(None).cast("string").alias("name"), F.lit(None).cast("string").alias("value"))
    each = F.explode(_with_codes(F.array(whole, *pairs), valued)).alias("of")
    told = groups.select(*names, "records", *(f"sum_{n}" for n in SUMMED), each)
    totals = [F.sum(c).alias(c) for c in ("records", *(f"sum_{n}" for n in SUMMED))]
    return told.groupBy(*names, F.col("of")["name"].alias("name"), F.col("of")["value"].alias("value")).agg(*totals)


def _number(name: str) -> Column:
    """A summed field of a document, as a row has it."""
    special = {"@timestamp": F.col("timestamp"), "kafka_timestamp": F.unix_millis("kafka_timestamp")}
    return special.get(name, F.col(name))


def _with_codes(told: Column, valued: Collection[str]) -> Column:
    """And each code of the warnings once, as Elasticsearch counts it."""
    if "warnings" not in valued:
        return told
    none = F.array().cast("array<string>")
    codes = F.array_distinct(F.coalesce(F.col("warnings"), none))
    return F.concat(told, F.transform(codes, lambda c: F.struct(F.lit("warnings").alias("name"), c.alias("value"))))


def figures(found: Iterable[Row]) -> Figures:
    """What the rows of ``summed`` say."""
    out = Figures()
    for r in found:
        place = Place(*(r[key] for key in _KEYS if key in r))
        if r["name"] is None:
            out.add(place, r["records"], [r[f"sum_{n}"] for n in SUMMED])
        elif r["value"] is not None:
            out.add_value(place, r["name"], r["value"], r["records"])
    return out
