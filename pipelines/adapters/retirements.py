"""``sdp.retirements``: how many rows and documents of which day were removed for their age.

An entry is written before the removal (``begun``) and confirmed after it (``done``), so that a kill in between leaves
neither an unexplained hole nor rows that count twice: a ``begun`` entry counts only where its unit is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, date, datetime

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.adapters.tables import COLUMNS, Tables, on_conflict
from pipelines.maintenance.retirement import DOCUMENTS, Count, Retired, Unit
from pipelines.records import ES_INVALID, INVALID, RETIREMENTS, RowStatus

BEGUN, DONE = "begun", "done"
WITH_STATUS = (INVALID, ES_INVALID)


class Retirements:
    """``indices``: names of the daily indices that exist; asked only while the removal of one is not confirmed."""

    def __init__(
        self, spark: SparkSession, tables: Tables, database: str, indices: Callable[[], Sequence[str]]
    ) -> None:
        self._spark, self._tables, self._indices = spark, tables, indices
        self._name = f"{database}.{RETIREMENTS}"

    def begun(self, store: str) -> list[Count]:
        """What is written down and not confirmed to be gone."""
        rows = self._of(store).where(F.col("state") == BEGUN).collect()
        return [Count(Unit(r["unit"], r["status"]), r["topic"], r["partition"], r["rows"]) for r in rows]

    def begin(self, store: str, counts: Iterable[Count]) -> None:
        """Write down what will be removed; takes the place of what was begun before of the same units."""
        counts = list(counts)
        self.forget(store, {c.unit for c in counts})
        now = datetime.now(UTC)
        rows = [(store, c.unit.name, c.unit.status, c.topic, c.partition, c.rows, BEGUN, now) for c in counts]
        if rows:
            frame = self._spark.createDataFrame(rows, COLUMNS[RETIREMENTS]).coalesce(1)
            frame.write.format("delta").mode("append").saveAsTable(self._name)

    @on_conflict
    def confirm(self, store: str, units: Collection[Unit]) -> None:
        """These units are gone."""
        if units:
            is_meant = self._is_begun(store, units)
            self._table.update(is_meant, {"state": F.lit(DONE), "at": F.lit(datetime.now(UTC))})

    @on_conflict
    def forget(self, store: str, units: Collection[Unit]) -> None:
        """These units were not removed after all."""
        if units:
            self._table.delete(self._is_begun(store, units))

    def gone(self, topic: str, first: date, last: date) -> dict[str, list[Count]]:
        """Store → what is gone of it, of these days. No query is made where nothing was ever retired."""
        if not self._tables.exists(RETIREMENTS):
            return {}
        day = F.translate(F.substring("unit", -10, 10), ".", "-")  # 2026-01-31, or the end of an index's name
        is_meant = (F.col("topic") == topic) & day.between(first.isoformat(), last.isoformat())
        rows = self._tables.read(RETIREMENTS).where(is_meant)
        found = rows.groupBy("store", "unit", "status", "partition", "state").agg(F.sum("rows").alias("rows")).collect()
        gone: dict[str, list[Count]] = {}
        for store in {r["store"] for r in found}:
            ours = [(Unit(r["unit"], r["status"]), r) for r in found if r["store"] == store]
            begun = {unit for unit, r in ours if r["state"] == BEGUN}
            held = self._held(store, begun) if begun else set()
            kept = [(unit, r) for unit, r in ours if r["state"] == DONE or unit not in held]
            gone[store] = [Count(unit, topic, r["partition"], r["rows"]) for unit, r in kept]
        return gone

    def retired(self, store: str, topic: str) -> dict[int, Retired]:
        """Kafka partition → what is gone of it."""
        is_begun = F.col("state") == BEGUN
        unit = [F.when(is_begun, F.col(name)).alias(name) for name in ("unit", "status")]  # all that is done is one
        is_replayed = F.col("status") == RowStatus.REPLAYED.value
        sums = [F.sum("rows").alias("rows"), F.sum(F.when(is_replayed, F.col("rows")).otherwise(0)).alias("replayed")]
        ours = self._of(store).where(F.col("topic") == topic)
        found = ours.groupBy("partition", "state", *unit).agg(*sums).collect()
        begun = {Unit(r["unit"], r["status"]) for r in found if r["state"] == BEGUN}
        held = self._held(store, begun) if begun else set()
        gone: dict[int, Retired] = {}
        for r in found:
            if r["state"] == DONE or Unit(r["unit"], r["status"]) not in held:
                so_far = gone.get(r["partition"], Retired())
                gone[r["partition"]] = Retired(so_far.rows + r["rows"], so_far.replayed + r["replayed"])
        return gone

    def _held(self, store: str, units: Collection[Unit]) -> set[Unit]:
        """Those of the units that are still there."""
        if store == DOCUMENTS:
            return {Unit(name) for name in self._indices()} & set(units)
        status = F.col("status") if store in WITH_STATUS else F.lit(None).cast("string")
        days = F.col("date").cast("string").alias("day")
        rows = self._tables.read(store).where(F.col("date").isin(sorted({u.name for u in units})))
        return {Unit(r["day"], r["status"]) for r in rows.select(days, status.alias("status")).distinct().collect()}

    def _of(self, store: str) -> DataFrame:
        return self._tables.read(RETIREMENTS).where(F.col("store") == store)

    def _is_begun(self, store: str, units: Collection[Unit]) -> Column:
        return (F.col("store") == store) & (F.col("state") == BEGUN) & _in(units)

    @property
    def _table(self) -> DeltaTable:
        return DeltaTable.forName(self._spark, self._name)


def _in(units: Collection[Unit]) -> Column:
    """Rows about one of the units."""
    named = F.concat_ws("/", F.col("unit"), F.col("status"))  # concat_ws leaves a null out
    return named.isin(sorted("/".join(filter(None, (u.name, u.status))) for u in units))
