"""The files under the Delta tables, and the removal of rows for their age."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.adapters.retirements import WITH_STATUS
from pipelines.adapters.tables import Tables, on_conflict
from pipelines.errors import DataProblem
from pipelines.maintenance.compaction import Partition
from pipelines.maintenance.retirement import Count, Unit
from pipelines.records import LEDGER, RowStatus

ROLLED_UP = "rolled-up"
"""``query_id`` of a row of the ledger that stands for many old ones."""

_SAFETY = "spark.databricks.delta.retentionDurationCheck.enabled"
_LISTING = "spark.sql.sources.parallelPartitionDiscovery.parallelism"
"""Tasks that list the folders of a table; the default of 10,000 takes minutes for any table, however small."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """Files of before and after; no row was changed."""

    removed: int
    added: int


class TableFiles:
    """Tables of one database; the names must be ours."""

    def __init__(self, spark: SparkSession, tables: Tables, database: str, small_bytes: int) -> None:
        self._spark, self._tables, self._database, self._small_bytes = spark, tables, database, small_bytes

    def existing(self, tables: Sequence[str]) -> list[str]:
        """Those of the tables that have been created."""
        return [name for name in tables if self._spark.catalog.tableExists(f"{self._database}.{name}")]

    def crowded(self, table: str, at_least: int) -> list[Partition]:
        """Partitions with at least so many small files."""
        detail = self._table(table).detail().select("location", "partitionColumns").collect()[0]
        by = [F.col("partitionValues")[name].alias(name) for name in detail["partitionColumns"]]
        is_small = F.sum((F.col("size") < self._small_bytes).cast("int"))
        found = self._files(detail["location"]).groupBy(*by).agg(F.count("*").alias("files"), is_small.alias("small"))
        rows = [r.asDict() for r in found.where(F.col("small") >= at_least).collect()]
        return [_partition(r) for r in rows]

    @on_conflict
    def compact(self, table: str, partitions: Sequence[Partition]) -> Compacted:
        """Merge the files of these partitions; readers and appends go on meanwhile."""
        builder = self._table(table).optimize()
        if condition := _sql(partitions):
            builder = builder.where(condition)
        metrics = builder.executeCompaction().collect()[0]["metrics"]
        return Compacted(int(metrics["numFilesRemoved"]), int(metrics["numFilesAdded"]))

    def removable(self, table: str, hours: int) -> int:
        """Files that ``vacuum`` would delete; Delta counts no further than 1,000."""
        return len(self._vacuum(table, hours, " DRY RUN"))

    def vacuum(self, table: str, hours: int) -> None:
        """Delete files that no version of the last ``hours`` needs, by Delta's own VACUUM."""
        self._vacuum(table, hours)

    def older(self, table: str, day: date, *, drop_open: bool) -> list[Count]:
        """Rows of the days before ``day``, by day, status and Kafka partition; open ones only with ``drop_open``."""
        status = F.col("status") if table in WITH_STATUS else F.lit(None).cast("string")
        where = [F.col("kafka_topic"), F.col("kafka_partition")]
        keys = [F.col("date").cast("string").alias("day"), status.alias("status"), *where]
        rows = self._tables.read(table).where(_older(table, day, drop_open)).groupBy(*keys).count().collect()
        return [Count(Unit(r[0], r[1]), r["kafka_topic"], r["kafka_partition"], r["count"]) for r in rows]

    @on_conflict
    def drop_older(self, table: str, day: date, *, drop_open: bool) -> None:
        """Delete what ``older`` counts, in one commit."""
        self._table(table).delete(_older(table, day, drop_open))

    def foldable(self, day: date) -> int:
        """Rows of the ledger before ``day`` beyond one per job and Kafka partition."""
        old = self._tables.read(LEDGER).where(F.col("date") < F.lit(day))
        return old.count() - old.select("query", "topic", "partition").distinct().count()

    @on_conflict
    def fold_ledger(self, day: date) -> None:
        """Put one row per job and Kafka partition in the place of the ledger's rows before ``day``, in one commit.

        Positions, first offsets and all sums stay as they were. Raises DataProblem if what it would fold does not add
        up: then every row is still needed.
        """
        old = self._tables.read(LEDGER).where(F.col("date") < F.lit(day))
        folded = _folded(old)
        explained = F.col("valid") + F.col("invalid") + F.col("gaps") + F.col("lost")
        if not folded.where(F.col("until_offset") - F.col("from_offset") != explained).isEmpty():
            raise DataProblem(f"the ledger before {day} does not add up: nothing of it was rolled up; see `sdp status`")
        location = self._table(LEDGER).detail().select("location").collect()[0][0]
        writer = folded.coalesce(1).write.format("delta").mode("overwrite")
        writer.option("replaceWhere", f"date < '{day.isoformat()}'").save(location)

    def _vacuum(self, table: str, hours: int, how: str = "") -> list[Any]:
        with self._conf(), self._console_on_stderr():
            return self._spark.sql(f"VACUUM {self._database}.{table} RETAIN {int(hours)} HOURS{how}").collect()

    @contextmanager
    def _conf(self) -> Iterator[None]:
        """What VACUUM needs, for this block: no check of its own, as the flow has made it, and a few tasks only."""
        wanted = {_SAFETY: "false", _LISTING: str(4 * self._spark.sparkContext.defaultParallelism)}
        before = {key: self._spark.conf.get(key, None) for key in wanted}
        for key, value in wanted.items():
            self._spark.conf.set(key, value)
        try:
            yield
        finally:
            for key, old in before.items():
                if old is None:
                    self._spark.conf.unset(key)
                else:
                    self._spark.conf.set(key, old)

    @contextmanager
    def _console_on_stderr(self) -> Iterator[None]:
        """Delta prints what it deleted to the console of Scala, where our result goes."""
        jvm: Any = self._spark.sparkContext._jvm
        console = getattr(getattr(jvm.scala, "Console$"), "MODULE$")
        before = console.out()
        console.setOutDirect(jvm.java.lang.System.err)
        try:
            yield
        finally:
            console.setOutDirect(before)

    def _files(self, location: str) -> DataFrame:
        """One row per file of the newest version: partitionValues, size."""
        jvm: Any = self._spark.sparkContext._jvm
        log = jvm.org.apache.spark.sql.delta.DeltaLog
        snapshot = log.forTableWithSnapshot(self._spark._jsparkSession, location)._2()
        return DataFrame(snapshot.allFiles().toDF(), self._spark).select("partitionValues", "size")

    def _table(self, name: str) -> DeltaTable:
        return DeltaTable.forName(self._spark, f"{self._database}.{name}")


def _older(table: str, day: date, drop_open: bool) -> Column:
    is_old = F.col("date") < F.lit(day)
    return is_old & (F.col("status") != RowStatus.OPEN.value) if table in WITH_STATUS and not drop_open else is_old


def _partition(row: dict[str, Any]) -> Partition:
    day, hour = row.get("date"), row.get("hour")
    return Partition(
        date.fromisoformat(day) if day else None, None if hour is None else int(hour), row["files"], row["small"]
    )


def _sql(partitions: Sequence[Partition]) -> str:
    """The partitions as SQL; empty for a table without any. Values are typed, so nothing else can get in."""
    return " OR ".join(
        f"(date = '{p.date.isoformat()}'" + (f" AND hour = {p.hour:d})" if p.hour is not None else ")")
        for p in partitions
        if p.date is not None
    )


def _folded(old: DataFrame) -> DataFrame:
    """One row per job and Kafka partition, in all columns of the ledger; what can't be summed up is null."""
    sums = [F.sum(name).alias(name) for name in ("valid", "invalid", "gaps", "lost")]
    ends = [F.min("from_offset").alias("from_offset"), F.max("until_offset").alias("until_offset")]
    latest = [F.max(name).alias(name) for name in ("committed_at", "date")]
    found = old.groupBy("query", "topic", "partition").agg(*ends, *sums, *latest)
    found = found.withColumns({"query_id": F.lit(ROLLED_UP), "batch_id": F.lit(0)})
    shape = {field.name: field.dataType for field in old.schema}
    values = {name: F.col(name) if name in found.columns else F.lit(None) for name in shape}
    return found.select(*(values[name].cast(kind).alias(name) for name, kind in shape.items()))
