"""``sdp.ingest_ledger``: which offsets every batch took and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, datetime

from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.adapters.tables import COLUMNS, Tables
from pipelines.records import LEDGER, Batch, LedgerEntry, OffsetRange


class Ledger:
    """Append and query ledger rows."""

    def __init__(self, spark: SparkSession, tables: Tables, database: str) -> None:
        self._spark, self._tables, self._database = spark, tables, database

    def append(self, batch: Batch, entries: Sequence[LedgerEntry]) -> None:
        """Confirm a batch: one row per partition. Idempotent per (query id, batch)."""
        now = datetime.now(UTC)
        who, today = (batch.query, batch.query_id, batch.batch_id), now.date()
        rows = [
            (*who, *astuple(e.range), e.valid, e.invalid, e.gaps, e.lost, e.rule_set_fingerprint, now, _hours(e), today)
            for e in entries
        ]
        self._tables.append(LEDGER, self._spark.createDataFrame(rows, COLUMNS[LEDGER]).coalesce(1), batch)

    def ranges(self, query_id: str, batch_id: int) -> list[OffsetRange]:
        """The confirmed offsets of one batch; empty if it was never confirmed."""
        found = self._tables.read(LEDGER).where((F.col("query_id") == query_id) & (F.col("batch_id") == batch_id))
        rows = found.select("topic", "partition", "from_offset", "until_offset").collect()
        return sorted(OffsetRange(*row) for row in rows)

    def positions(self, query: str, topic: str) -> dict[int, int]:
        """Partition → offset up to which a job has confirmed everything."""
        found = self._tables.read(LEDGER).where((F.col("query") == query) & (F.col("topic") == topic))
        rows = found.groupBy("partition").agg(F.max("until_offset").alias("until")).collect()
        return {r["partition"]: r["until"] for r in rows}

    def starts_from(self, query: str, topic: str, earliest: dict[int, int]) -> dict[int, int]:
        """Partition → start of the first confirmed batch that lies wholly at or behind ``earliest``."""
        found = self._tables.read(LEDGER).where((F.col("query") == query) & (F.col("topic") == topic))
        whole = F.lit(False)
        for partition, offset in earliest.items():
            whole = whole | ((F.col("partition") == partition) & (F.col("from_offset") >= offset))
        rows = found.where(whole).groupBy("partition").agg(F.min("from_offset").alias("start")).collect()
        return {r["partition"]: r["start"] for r in rows}

    def delete_from(self, query: str, topic: str, starts: dict[int, int]) -> None:
        """Forget what a job confirmed behind ``starts``, which must be batch boundaries or the beginning."""
        mine = (F.col("query") == query) & (F.col("topic") == topic)
        behind = ~F.col("partition").isin(list(starts)) if starts else F.lit(True)
        for partition, offset in starts.items():
            behind = behind | ((F.col("partition") == partition) & (F.col("from_offset") >= offset))
        DeltaTable.forName(self._spark, f"{self._database}.{LEDGER}").delete(mine & behind)


def _hours(entry: LedgerEntry) -> list[tuple[datetime, int, int]]:
    return [(datetime.fromtimestamp(h.hour_ms / 1000, UTC), h.valid, h.content_hash) for h in entry.hours]
