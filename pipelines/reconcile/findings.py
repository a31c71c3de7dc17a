"""Records that are not the same everywhere → rows of the table of findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from pipelines.reconcile.witnesses import HOUR_MS, Bounds, Record, Said

_NAMES = tuple(f.name for f in fields(Said))
_SAID = f"array<struct<{','.join(f'{name}:string' for name in _NAMES)}>>"
_WITNESSES = (
    *("at_partition", "at_offset", "rows", "row", "documents", "truth", "refused", "first", "is_gone", "is_beyond"),
    "hole",
    *("logs_invalid", "es_invalid", "others"),
)


def findings(odd: DataFrame, bounds: Bounds, personal: frozenset[str], topic: str) -> DataFrame:
    """One row per finding, in the columns of the table of findings as far as a comparison knows them.

    In: the columns of ``side_by_side``; ``truth`` (struct as ``row``), ``refused`` (struct<at: ms, reason>), ``first``,
    ``is_gone``, ``is_beyond``, ``hole`` (hour in ms), ``logs_invalid``, ``es_invalid`` (struct<status, reason, rows,
    at: ms>) and ``others``: see Record. These are records that are known to be odd, so they may pass through Python.
    """
    judge = F.udf(_Judge(bounds, personal), _SAID)
    moment = _known("timestamp", F.col("refused")["at"], F.col("logs_invalid")["at"], F.col("hole"))
    told = odd.select(
        F.lit(topic).alias("kafka_topic"),
        F.col("at_partition").alias("kafka_partition"),
        F.col("at_offset").alias("kafka_offset"),
        _known("request_id").alias("request_id"),
        F.timestamp_millis(moment - F.pmod(moment, F.lit(HOUR_MS))).alias("hour"),
        judge(F.struct(*_WITNESSES)).alias("said"),
    )
    each = told.withColumn("of", F.explode("said")).drop("said")
    shown = each.select("*", *(F.col("of")[name].alias(name) for name in _NAMES)).drop("of")
    nothing = F.lit(None)
    return shown.select("*", nothing.cast("timestamp").alias("closed_at"), nothing.cast("string").alias("closed_by"))


class _Judge:
    """What Python workers do with each record."""

    def __init__(self, bounds: Bounds, personal: frozenset[str]) -> None:
        self._bounds, self._personal = bounds, personal

    def __call__(self, row: Row) -> list[tuple[str | None, ...]]:
        record = _record(row.asDict(recursive=True), self._personal)
        return [tuple(_plain(getattr(said, name)) for name in _NAMES) for said in record.findings(self._bounds)]


def _record(values: Mapping[str, Any], personal: frozenset[str]) -> Record:
    refused, logs, es = values["refused"], values["logs_invalid"], values["es_invalid"]
    return Record(
        partition=values["at_partition"],
        offset=values["at_offset"],
        rows=values["rows"] or 0,
        row=values["row"],
        documents=values["documents"] or (),
        truth=values["truth"],
        refused=refused["reason"] or "" if refused else None,
        first=values["first"],
        is_gone=bool(values["is_gone"]),
        is_beyond=bool(values["is_beyond"]),
        is_hole=values["hole"] is not None,
        logs_invalid=(logs["status"], logs["reason"]) if logs else None,
        logs_rows=logs["rows"] if logs else 0,
        es_invalid=(es["status"], es["reason"]) if es else None,
        others=values["others"],
        personal=personal,
    )


def _plain(value: Any) -> str | None:
    return None if value is None else str(value)


def _known(name: str, *others: Column) -> Column:
    """A field of the record from whoever has it."""
    document = F.when(F.size("documents") > 0, F.element_at("documents", 1)[name])
    return F.coalesce(F.col("row")[name], F.col("truth")[name], document, *others)
