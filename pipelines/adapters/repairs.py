"""Findings as a repair takes them, its audit trail in ``sdp.reconciliation_audit``, and the end of what is clean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.adapters.sightings import seen_by, with_run_ids
from pipelines.adapters.table_repairs import TableRepairs
from pipelines.adapters.tables import COLUMNS
from pipelines.errors import UsageError
from pipelines.ingest.coordinates import PARTITION_BITS, record_key
from pipelines.reconcile.model import Finding, FindingState, Kind, RunState, Side
from pipelines.reconcile.repair_plan import Change, Outcome
from pipelines.reconcile.repair_state import RepairState
from pipelines.records import FINDINGS, REPAIRS, RUNS, Batch

LATEST = "latest"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,127}")
"""What a run may be called."""

_IDENTITY = ("kafka_topic", "kafka_partition", "kafka_offset", "kind", "side", "field", "es_index", "es_id")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Repairs:
    """The tables of reconciliation, as a repair reads and writes them."""

    def __init__(self, spark: SparkSession, tables: TableRepairs, database: str, topic: str) -> None:
        self._spark, self._tables, self._database, self._topic = spark, tables, database, topic

    def meant(self, asked: str) -> tuple[str, bool]:
        """The run that is meant by an id or ``latest``, and whether it looked at more than figures.

        Raises UsageError if there is none.
        """
        if not RUN_ID.fullmatch(asked):
            raise UsageError(f"no run can be called {asked!r}: give an id that `sdp reconcile` has printed, or latest")
        runs = self._tables.read(RUNS).where((F.col("topic") == self._topic) & (F.col("state") == RunState.DONE.value))
        if asked != LATEST:
            runs = runs.where(F.col("run_id") == asked)
        is_deep = (F.coalesce("deep", F.lit(False)) | (F.coalesce("sampled", F.lit(0)) > 0)).alias("is_deep")
        found = runs.orderBy(F.desc("started_at")).select("run_id", is_deep).first()
        if found is None:
            which = "no reconciliation is done yet" if asked == LATEST else f"no reconciliation {asked} is done"
            raise UsageError(f"{which} for topic {self._topic}: run: sdp reconcile")
        return found["run_id"], found["is_deep"]

    def version(self) -> int:
        """Of the table of findings, now."""
        newest = DeltaTable.forName(self._spark, f"{self._database}.{FINDINGS}").history(1).first()
        return int(newest["version"]) if newest is not None else 0

    def count(self, state: RepairState) -> int:
        """Findings that are still to be repaired."""
        return self._behind(state).count()

    def end_of_next(self, state: RepairState, records: int) -> int | None:
        """Key of the last of the next so many records; None if there is none left."""
        keys = self._behind(state).select(record_key().alias("key")).distinct().orderBy("key").limit(records)
        found = keys.agg(F.max("key")).collect()[0][0]
        return None if found is None else int(found)

    def findings(self, state: RepairState) -> list[Finding]:
        """Those of the chunk that was begun."""
        assert state.upto is not None
        times = [F.unix_seconds(name).alias(name) for name in ("hour", "first_seen")]
        told = ("run_id", "request_id", *_IDENTITY)
        rows = self._behind(state).where(record_key() <= state.upto).select(*told, *times)
        return [_finding(row) for row in rows.collect()]

    def append(self, changes: Sequence[Change], state: RepairState, batch: Batch) -> None:
        """Write the audit trail of a chunk, once however often it is tried."""
        at = datetime.now(UTC)
        rows = [_audited(change, state, at) for change in changes]
        if rows:
            self._tables.append(REPAIRS, self._spark.createDataFrame(rows, COLUMNS[REPAIRS]).coalesce(1), batch)

    def close(self, state: RepairState, again: Sequence[str]) -> tuple[int, int]:
        """Close what was repaired and what the runs ``again`` did not find any more.

        How many findings this repair has closed, and how many are open: of its own, and newly found ones.
        """
        now = with_run_ids(self._tables.read(FINDINGS))
        is_open = F.col("state") == FindingState.OPEN.value
        still = now.where(is_open & seen_by(*again)).select(_identity()).distinct()
        mine = self._snapshot(state).select(*_IDENTITY, _identity())
        done = self._tables.read(REPAIRS).where(
            (F.col("repair_id") == state.repair_id) & (F.col("outcome") == Outcome.DONE.value)
        )
        touched = ["kafka_topic", "kafka_partition", "kafka_offset", "kind", "side"]
        clean = mine.join(done.select(*touched).distinct(), touched, "left_semi").join(still, "identity", "left_anti")
        self._close(clean.select("identity").distinct().localCheckpoint(), state)
        now = self._tables.read(FINDINGS).withColumn("identity", _identity())
        of_mine = now.where(F.col("closed_by") == state.repair_id).count()
        found = mine.select("identity").unionByName(still).distinct()
        left = now.where(is_open).join(found, "identity", "left_semi").select("identity").distinct().count()
        return of_mine, left

    def _close(self, clean: DataFrame, state: RepairState) -> None:
        closed = {
            "state": F.lit(FindingState.REPAIRED.value),
            "closed_at": F.lit(datetime.now(UTC)),
            "closed_by": F.lit(state.repair_id),
        }
        may_close = F.col("held.state").isin(FindingState.OPEN.value, FindingState.GONE.value)
        self._tables.set_where(FINDINGS, clean, _identity("held.") == F.col("changes.identity"), may_close, closed)

    def _behind(self, state: RepairState) -> DataFrame:
        is_behind = (F.col("kafka_offset") >= state.after >> PARTITION_BITS) & (record_key() > state.after)
        return self._snapshot(state).where(is_behind)

    def _snapshot(self, state: RepairState) -> DataFrame:
        """Open findings of the run, as they were when the repair began."""
        table = f"{self._database}.{FINDINGS}"
        then = self._spark.sql(f"SELECT * FROM {table} VERSION AS OF {int(state.version)}")  # noqa: S608 an int
        is_open = (F.col("kafka_topic") == self._topic) & (F.col("state") == FindingState.OPEN.value)
        return with_run_ids(then).where(is_open & seen_by(state.run_id))


def _identity(table: str = "") -> Column:
    """What makes two findings the same one, null or not, as one text."""
    return F.to_json(F.struct(*(F.col(f"{table}{name}").alias(name) for name in _IDENTITY))).alias("identity")


def _finding(row: Row) -> Finding:
    given: dict[str, Any] = row.asDict()
    times = {name: _EPOCH + timedelta(seconds=given[name]) for name in ("hour", "first_seen")}
    return Finding(**{**given, **times, "kind": Kind(given["kind"]), "side": Side(given["side"])})


def _audited(change: Change, state: RepairState, at: datetime) -> tuple[Any, ...]:
    """In the order of the table's columns."""
    step = change.step
    place = (state.topic, step.place.partition, step.place.offset)
    what = (step.request_id, step.kind.value, step.side.value, step.action.value)
    came_to = (change.source.value if change.source else None, change.outcome.value)
    who = (state.repair_id, state.run_id, at, state.who)
    return (*who, *place, *what, *came_to, step.es_index, step.es_id, change.message, at.date())
