"""Bad rows come back by a recipe, chunk after chunk: which rows, in which order, and what a cut off replay left.

The journal knows a chunk before its first write and forgets it after the last one; what is begun is finished by the
next replay, whatever that one is about. What becomes of the rows of a chunk: ``replay_chunk``.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.badrows.plan import BEGINNING, Plan
from pipelines.badrows.recipe import Decode, Encode, Recipe
from pipelines.badrows.registered import Registered
from pipelines.badrows.verdicts import PLACE, verdicts
from pipelines.contracts.rules import RuleSet
from pipelines.errors import UsageError
from pipelines.flows.caching import settle
from pipelines.flows.ports import LeaseHolder, LedgerStore, ReplayLog, SchemaSource, TableStore
from pipelines.flows.replay_chunk import ReplayChunk, Written, outcomes_of
from pipelines.flows.replay_report import Forecast, Pace, Report, Sample
from pipelines.flows.selection import select
from pipelines.ingest.coordinates import PARTITION_BITS, behind, record_key
from pipelines.records import INVALID

CONFIRMING = ("ingest", "index")
"""A row that one of them has not confirmed may still come again, and would then be open beside its replayed self."""

SHOWN_REASONS, SHOWN_SAMPLES = 20, 2


@dataclass
class Replay:
    """Replays recipes, one at a time."""

    topic: str
    schemas: SchemaSource
    registered: Callable[[], Registered]
    rules: RuleSet
    tables: TableStore
    ledger: LedgerStore
    journal: ReplayLog
    lease: LeaseHolder
    chunk: ReplayChunk
    stop: threading.Event = field(default_factory=threading.Event)

    def forecast(self, recipe: Recipe, *, mark_unrecoverable: bool = False) -> Forecast:
        """Judge every row that the recipe means, and write nothing. Raises UsageError."""
        plan = self._new_plan(recipe, who="", mark_unrecoverable=mark_unrecoverable)
        before = self._cut_off()
        goes_on = before is not None and before.is_same_command(plan)
        judged = self.chunk.judged(self._open(plan, before.after if before and goes_on else BEGINNING), plan)
        valid = judged.held.unionByName(judged.routed.valid, allowMissingColumns=True)
        found = settle(verdicts(judged.rows, valid, judged.routed.invalid, None))
        outcomes = outcomes_of(found)
        reasons = found.select(F.explode("codes").alias("code")).groupBy("code").count()
        named = reasons.orderBy(F.desc("count"), "code").limit(SHOWN_REASONS).collect()
        is_finished_first = before is not None and before.must_end_first(plan)
        return Forecast(
            matching=sum(outcomes.values()),
            waiting=self._waiting(plan),
            outcomes=outcomes,
            reasons={r["code"]: r["count"] for r in named},
            samples=_samples(found),
            unfinished=before.recipe.name if before and (goes_on or is_finished_first) else None,
            goes_on=goes_on,
        )

    def run(
        self,
        recipe: Recipe,
        who: str,
        pace: Pace,
        *,
        mark_unrecoverable: bool = False,
        on_progress: Callable[[Report], None] = lambda _: None,
    ) -> Report:
        """Replay chunk by chunk until no row is left or ``stop`` is set.

        Raises AlreadyRunning, Unavailable, UsageError.
        """
        with self.lease.held(self.stop.set):
            fresh = self._new_plan(recipe, who, mark_unrecoverable=mark_unrecoverable)
            plan = self._where_it_stands(fresh)
            report = Report(plan.replay_id, went_on=plan.replay_id != fresh.replay_id)
            return self._chunks(plan, fresh, pace, report, on_progress)

    def _where_it_stands(self, fresh: Plan) -> Plan:
        """The same command if it was cut off, else a new replay; then the cut off chunk of another one ends first."""
        before = self._cut_off()
        if before is not None and before.is_same_command(fresh):
            return before if before.upto is not None else before.under(fresh)
        if before is not None and before.must_end_first(fresh):
            self._take(before)
            self.journal.remove()
        return fresh

    def _cut_off(self) -> Plan | None:
        """The replay that was not finished. Raises UsageError if it left half a chunk of another topic's rows."""
        before = self.journal.read()
        if before is None or before.topic == self.topic:
            return before
        if before.upto is None:
            return None  # it stopped between two chunks: nothing is half done
        raise UsageError(
            f"a replay of {before.recipe.name} on topic {before.topic} was cut off within a chunk: finish it first, "
            f"by a replay of any recipe with --set kafka.topic={before.topic}"
        )

    def _chunks(
        self, plan: Plan, fresh: Plan, pace: Pace, report: Report, on_progress: Callable[[Report], None]
    ) -> Report:
        """Chunk by chunk. One that was begun before ends by its own plan, the others go by ``fresh``."""
        while not self.stop.is_set():
            began = time.monotonic()
            if plan.upto is None:
                upto = self._end_of_next_chunk(plan, pace.rows(plan.chunk))
                if upto is None:
                    self.journal.remove()
                    return report
                plan = plan.begun(upto)
                self.journal.write(plan)
            written = self._take(plan)
            is_canary = plan.chunk == 0 and pace.canary > 0
            plan = plan.done().under(fresh)
            self.journal.write(plan)
            report.add(written.outcomes, written.promised)
            on_progress(report)
            if is_canary and report.broken_promises and not pace.keep_going:
                self.journal.remove()
                report.stopped_after_canary = True
                return report
            if pace.rate:
                self.stop.wait(max(0.0, sum(written.outcomes.values()) / pace.rate - (time.monotonic() - began)))
        report.stopped = True
        return report

    def _take(self, plan: Plan) -> Written:
        """Take the chunk that the plan has begun to its sinks. Safe to repeat after a kill at any point."""
        assert plan.upto is not None
        return self.chunk(self._open(plan, plan.after).where(record_key() <= plan.upto), plan)

    def _new_plan(self, recipe: Recipe, who: str, *, mark_unrecoverable: bool) -> Plan:
        registered = self.registered()
        wanted = {a.version for s in recipe.steps if isinstance(a := s.action, Decode | Encode) and a.version}
        if unknown := sorted(wanted - set(registered.ids)):
            there = ", ".join(map(str, sorted(registered.ids)))
            raise UsageError(f"recipe {recipe.name}: no schema version {unknown[0]} in the registry; there are {there}")
        version = self._version(recipe, registered)
        return Plan(uuid.uuid4().hex, self.topic, recipe, who, mark_unrecoverable, self.rules, version)

    def _version(self, recipe: Recipe, registered: Registered) -> int:
        """The registry version to write with: one that the jobs read, else every row would stay invalid."""
        schemas = self.schemas.current()
        if recipe.target is not None:
            if why := schemas.refused.get(registered.ids[recipe.target]):
                raise UsageError(f"recipe {recipe.name}: nothing reads schema version {recipe.target}: {why}")
            return recipe.target
        newest = registered.newest(schemas.writers.keys())
        if newest is None:
            raise UsageError(f"recipe {recipe.name}: the registry has no schema version that the jobs read")
        return newest

    def _open(self, plan: Plan, after: int) -> DataFrame:
        """Rows behind the key ``after`` that the recipe means and that both jobs have confirmed."""
        rows = self._meant(plan).where(~behind(self._confirmed(), self.topic))
        return rows.where((F.col("kafka_offset") >= after >> PARTITION_BITS) & (record_key() > after))

    def _waiting(self, plan: Plan) -> int:
        return self._meant(plan).where(behind(self._confirmed(), self.topic)).count()

    def _meant(self, plan: Plan) -> DataFrame:
        rows = self.tables.read(INVALID).where(F.col("kafka_topic") == self.topic)
        return select(rows, plan.recipe.where, self.schemas.current())

    def _confirmed(self) -> dict[int, int]:
        """Partition → offset up to which both jobs have confirmed everything."""
        first, second = (self.ledger.positions(job, self.topic) for job in CONFIRMING)
        return {p: min(first[p], second[p]) for p in first.keys() & second.keys()}

    def _end_of_next_chunk(self, plan: Plan, rows: int) -> int | None:
        """Key of the last of the next ``rows`` rows; None if there is no row left."""
        keys = self._open(plan, plan.after).select(record_key().alias("key")).orderBy("key").limit(rows)
        found = keys.agg(F.max("key")).collect()[0][0]
        return None if found is None else int(found)


def _samples(found: DataFrame) -> tuple[Sample, ...]:
    """A few rows of each outcome."""
    order = Window.partitionBy("outcome").orderBy("kafka_offset", "kafka_partition")
    few = found.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= SHOWN_SAMPLES)
    rows = few.orderBy("outcome", "rank").select(*PLACE, "outcome", "message", "raw", "value").collect()
    return tuple(
        Sample(
            partition=r["kafka_partition"],
            offset=r["kafka_offset"],
            outcome=r["outcome"],
            message=r["message"],
            before=None if r["raw"] is None else bytes(r["raw"]),
            after=None if r["value"] is None else bytes(r["value"]),
        )
        for r in rows
    )
