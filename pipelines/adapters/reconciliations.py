"""``sdp.reconciliation_runs`` and ``_findings``: what was found, and what has become of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.adapters.sightings import RUN_IDS, seen_by, sightings, with_run_ids
from pipelines.adapters.tables import COLUMNS, OF_JOBS, OF_RECONCILIATION, Tables, on_conflict
from pipelines.errors import UsageError
from pipelines.ingest.coordinates import inside
from pipelines.reconcile.figures import LARGE, SUMMED, VALUED
from pipelines.reconcile.hours import Window, from_ms
from pipelines.reconcile.model import (
    Counts,
    Finding,
    FindingState,
    HourCounts,
    Kind,
    OffsetsCheck,
    OpenFindings,
    Past,
    Run,
    RunState,
    Side,
    Verdict,
)
from pipelines.records import COORDINATES, FINDINGS, RUNS, OffsetRange

LATEST = "latest"
_IDENTITY = ("kafka_topic", "kafka_partition", "kafka_offset", "kind", "side", "field", "es_index", "es_id")
_IN_FIGURES = {*SUMMED, *VALUED} - {*LARGE, "warnings"}
"""Fields that can't change without a change of figures; of LARGE ones the end is lost."""
_SEEN_AGAIN = ("last_run_id", "last_seen", "expected", "found", "reason", "request_id", "hour", "state")


class Reconciliations:
    """Runs and findings of one topic."""

    def __init__(self, spark: SparkSession, tables: Tables, database: str, topic: str) -> None:
        self._spark, self._tables, self._database, self._topic = spark, tables, database, topic
        self._is_ready = False

    def prepare(self) -> None:
        """Create the tables, those of the jobs before ours: where ours are, all are."""
        if not self._is_ready and not self._tables.exists(OF_RECONCILIATION[-1]):
            self._tables.create_missing((*OF_JOBS, *OF_RECONCILIATION))
        self._is_ready = True

    def past(self, run_id: str | None) -> Past:
        """What earlier runs leave to the next one, whose id is ``run_id`` if somebody has chosen one."""
        rows = self._runs()
        is_done = F.col("state") == RunState.DONE.value
        adds_up = ~F.exists("offsets", lambda o: (o["uncovered"] > 0) | (o["doubled"] > 0))
        until = F.least("window_until", "settled_until")
        window = F.when(is_done & adds_up, F.struct(F.unix_millis("window_from"), F.unix_millis(until)))
        times = ("started_at", "complete_until", "settled_until")
        last = F.when(is_done, F.struct(*(F.unix_millis(name) for name in times)))
        found = rows.agg(
            F.collect_set(window).alias("windows"),
            F.max(last).alias("last"),
            F.max(F.size("kinds") > 0).alias("had_findings"),
            F.max(F.col("run_id") == F.lit(run_id)).alias("is_known"),
        ).collect()[0]
        began, complete, settled = map(_from_ms, found["last"] or (None, None, None))
        windows = tuple((from_ms(a), from_ms(b)) for a, b in found["windows"] if b is not None and a < b)
        before = self.run(run_id) if run_id is not None and found["is_known"] else None
        return Past(windows, before, began, settled, complete, bool(found["had_findings"]))

    def runs(self, since: datetime) -> list[Run]:
        """Runs that began since then, newest first."""
        recent = self._runs().where(F.col("date") >= F.lit(since.date()))
        return _newest_first(map(_run, recent.collect()))

    def run(self, run_id: str) -> Run | None:
        """One run by its id, or the newest one that is done if it is ``latest``."""
        rows = self._runs()
        if run_id != LATEST:
            found = _newest_first(map(_run, rows.where(F.col("run_id") == run_id).collect()))
        else:
            done = rows.where(F.col("state") == RunState.DONE.value)
            found = [_run(r) for r in done.orderBy(F.desc("started_at")).limit(1).collect()]
        return found[0] if found else None

    def required(self, run_id: str) -> Run:
        """The same. Raises UsageError if there is none."""
        found = self.run(run_id)
        if found is None:
            raise UsageError(f"there is no reconciliation {run_id!r} of {self._topic}: `sdp reconcile` makes one")
        return found

    def save(self, run: Run, *, is_new: bool = True) -> None:
        """Keep a run: one row per id. ``is_new``: nothing is known under its id."""
        names = [f.name for f in fields(Run)]
        values = dict(zip(names, astuple(run), strict=True)) | {"share": run.share, "date": run.started_at.date()}
        values |= {"state": run.state.value, "verdict": run.verdict.value if run.verdict else None}
        schema = COLUMNS[RUNS]
        order = [part.split(" ")[0] for part in _top_level(schema)]
        frame = self._spark.createDataFrame([tuple(values[name] for name in order)], schema).coalesce(1)
        if not is_new:
            self._forget(run.run_id)
        frame.write.format("delta").mode("append").saveAsTable(f"{self._database}.{RUNS}")

    def findings(self) -> DataFrame:
        """All findings of the topic."""
        return with_run_ids(self._tables.read(FINDINGS)).where(F.col("kafka_topic") == self._topic)

    def open_hours(self) -> dict[datetime, OpenFindings]:
        """Hours with an open finding, in order."""
        sums = (F.count("*").alias("findings"), F.max_by("last_run_id", "last_seen").alias("run_id"))
        rows = self._open().groupBy("hour").agg(*sums).orderBy("hour").collect()
        return {r["hour"].astimezone(UTC): OpenFindings(r["findings"], r["run_id"]) for r in rows}

    @on_conflict
    def merge(self, found: DataFrame, run_id: str, at: datetime) -> None:
        """Keep findings; one that is known keeps ``first_seen``, and is open again if it was closed.

        In: the columns of the table but ``run_id``, ``last_run_id``, ``run_ids``, ``first_seen``, ``last_seen``,
        ``date``.
        """
        self._tables.grow(FINDINGS)
        stamped = found.dropDuplicates(list(_IDENTITY)).select(
            F.lit(run_id).alias("run_id"),
            F.lit(run_id).alias("last_run_id"),
            F.array(F.lit(run_id)).alias(RUN_IDS),
            F.lit(at).alias("first_seen"),
            F.lit(at).alias("last_seen"),
            F.lit(at.date()).alias("date"),
            "*",
        )
        same = " AND ".join(f"held.{name} <=> now.{name}" for name in _IDENTITY)
        is_reopened = "held.state NOT IN ('open', 'explained')"
        values: dict[str, str | Column] = {name: f"now.{name}" for name in _SEEN_AGAIN}
        values[RUN_IDS] = sightings("held", "now")
        values |= {
            name: f"CASE WHEN {is_reopened} THEN NULL ELSE held.{name} END" for name in ("closed_at", "closed_by")
        }
        target = DeltaTable.forName(self._spark, f"{self._database}.{FINDINGS}").alias("held")
        merge = target.merge(stamped.alias("now"), same).whenMatchedUpdate(set=values)
        merge.whenNotMatchedInsertAll().execute()

    @on_conflict
    def close_unseen(
        self, windows: Sequence[Window], refused: Sequence[OffsetRange], run_id: str, at: datetime, *, deep: bool
    ) -> None:
        """Call open findings of these hours ``gone`` that the run has not seen again, if it would have seen them.

        ``refused``: where it has looked for invalid rows, which have no event hour. ``at``: when the run began; what
        one that began later has seen stays open.
        """
        self._tables.grow(FINDINGS)
        is_inside = F.lit(False)
        for start, end in windows:
            is_inside = is_inside | ((F.col("hour") >= F.lit(start)) & (F.col("hour") < F.lit(end)))
        is_of_invalid = F.col("side") == Side.INVALID.value
        is_inside = (~is_of_invalid & is_inside) | (is_of_invalid & inside(refused))
        is_stale = (F.col("kafka_topic") == self._topic) & (F.col("state") == FindingState.OPEN.value) & is_inside
        if not deep:  # figures do not show every field
            is_stale = is_stale & ((F.col("kind") != Kind.DIFFERS.value) | F.col("field").isin(sorted(_IN_FIGURES)))
        target = DeltaTable.forName(self._spark, f"{self._database}.{FINDINGS}")
        changes: dict[str, str | Column] = {
            "state": F.lit(FindingState.GONE.value),
            "closed_at": F.lit(at),
            "closed_by": F.lit(run_id),
        }
        target.update(is_stale & ~seen_by(run_id) & (F.col("last_seen") <= F.lit(at)), changes)

    def counts(self, run_id: str) -> Counts:
        """What a run has seen."""
        seen = self.findings().where(seen_by(run_id))
        groups = seen.groupBy("kind", "side").count().orderBy(F.desc("count"), "kind", "side").collect()
        is_lost = F.col("kind") == Kind.MISSING.value
        records = seen.where(F.col("state") == FindingState.OPEN.value).groupBy(*COORDINATES)
        each = records.agg(F.min("hour").alias("hour"), F.max(is_lost).alias("is_lost"))
        sums = (F.count("*").alias("records"), F.count_if("is_lost").alias("lost"))
        hours = each.groupBy("hour").agg(*sums).collect()
        return Counts(
            sum(r["records"] for r in hours),
            sum(r["lost"] for r in hours),
            {r["hour"].astimezone(UTC): r["records"] for r in hours},
            tuple((r["kind"], r["side"], r["count"]) for r in groups),
        )

    def sample(self, run_id: str, limit: int) -> list[Finding]:
        """The first findings that a run saw, in order of their coordinates."""
        seen = self.findings().where(seen_by(run_id))
        rows = seen.orderBy("hour", "kafka_partition", "kafka_offset", "side", "kind").limit(limit).collect()
        return [_finding(r) for r in rows]

    def reasons(self, run_id: str, limit: int = 20) -> list[tuple[str, int]]:
        """Reason → findings of a run, most first."""
        seen = self.findings().where(seen_by(run_id))
        found = seen.groupBy("reason").count().orderBy(F.desc("count"), "reason").limit(limit).collect()
        return [(r["reason"], r["count"]) for r in found if r["reason"] is not None]

    @on_conflict
    def _forget(self, run_id: str) -> None:
        DeltaTable.forName(self._spark, f"{self._database}.{RUNS}").delete(F.col("run_id") == run_id)

    def _runs(self) -> DataFrame:
        return self._tables.read(RUNS).where(F.col("topic") == self._topic)

    def _open(self) -> DataFrame:
        return self.findings().where(F.col("state") == FindingState.OPEN.value)


def _newest_first(runs: Any) -> list[Run]:
    return sorted(runs, key=lambda run: run.started_at, reverse=True)


def _top_level(schema: str) -> list[str]:
    """The columns of a DDL text."""
    parts, depth, last = [], 0, 0
    for at, letter in enumerate(schema):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append(schema[last:at].strip())
            last = at + 1
    return [*parts, schema[last:].strip()]


def _run(row: Row) -> Run:
    values = _utc(row.asDict(recursive=True))
    hours = tuple(HourCounts(**_utc(h)) for h in values["hours"] or ())
    offsets = tuple(OffsetsCheck(**o) for o in values["offsets"] or ())
    kinds = tuple((k["kind"], k["side"], k["findings"]) for k in values["kinds"] or ())
    own = {f.name: values[f.name] for f in fields(Run)}
    own |= {"hours": hours, "offsets": offsets, "kinds": kinds, "notes": tuple(values["notes"] or ())}
    own |= {"state": RunState(values["state"]), "seconds": dict(values["seconds"] or {})}
    own |= {"verdict": Verdict(values["verdict"]) if values["verdict"] else None}
    return Run(**own)


def _from_ms(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def _finding(row: Row) -> Finding:
    values = _utc(row.asDict())
    own = {f.name: values[f.name] for f in fields(Finding)}
    own |= {"kind": Kind(own["kind"]), "side": Side(own["side"]), "state": FindingState(own["state"])}
    return Finding(**own)


def _utc(values: dict[str, Any]) -> dict[str, Any]:
    """Spark gives times without a zone: those of this process."""
    return {k: v.astimezone(UTC) if isinstance(v, datetime) else v for k, v in values.items()}
