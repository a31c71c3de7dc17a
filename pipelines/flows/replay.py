"""Bad rows → the steps of a recipe → the same judgement as everything else → tables and Elasticsearch: one replay.

A row that the valid table holds already is neither repaired nor judged: its document is made of what the table holds,
so that a second replay can bring it back, but never change it.

A chunk is written in an order in which a kill anywhere does no harm: documents, valid rows, audit trail, state in
``api6_es_invalid``, state in ``api6_logs_invalid``. The journal knows the chunk before its first write and forgets it
after the last one; what is begun is finished by the next replay, whatever that one is about. Every write carries the
replay's id and the chunk's number, so the second try of it does nothing.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.badrows.plan import BEGINNING, Plan
from pipelines.badrows.recipe import Decode, Encode, Recipe
from pipelines.badrows.registered import Registered
from pipelines.badrows.rows import as_from_kafka, repaired
from pipelines.badrows.steps import Repair
from pipelines.badrows.verdicts import ES_COLUMNS, IN, PLACE, audited, settled, verdicts
from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import SchemaSet
from pipelines.errors import NotConserved, UsageError
from pipelines.flows.caching import settle
from pipelines.flows.ports import DocumentStore, LeaseHolder, LedgerStore, RepairStore, ReplayLog, SchemaSource, Steps
from pipelines.flows.selection import select
from pipelines.ingest.account import tally
from pipelines.ingest.coordinates import PARTITION_BITS, behind, record_key
from pipelines.ingest.documents import documents
from pipelines.ingest.duplicates import losers, suspects
from pipelines.ingest.judge import Judge
from pipelines.ingest.route import Routed, Stamp, route
from pipelines.records import AUDIT, COORDINATES, ES_INVALID, INVALID, VALID, Batch, Outcome

JOB = "replay"
CONFIRMING = ("ingest", "index")
"""A row that one of them has not confirmed may still come again, and would then be open beside its replayed self."""

CHUNK_ROWS = 10_000
CHUNK_S = 10.0
"""With a rate, a chunk has so many seconds' worth of rows."""

SHOWN_REASONS, SHOWN_SAMPLES = 20, 2


@dataclass(frozen=True, slots=True)
class Sample:
    """A row before and after the repair, as bytes."""

    partition: int
    offset: int
    outcome: str
    message: str | None
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a replay would do now. ``waiting``: rows that fit but are not confirmed by both jobs yet.

    ``outcomes``: outcome → rows. ``reasons``: code of a violation or failed step → rows that carry it.
    ``unfinished``: name of the recipe whose replay was cut off and will be finished. ``goes_on``: it is this one.
    """

    matching: int
    waiting: int
    outcomes: dict[str, int]
    reasons: dict[str, int]
    samples: tuple[Sample, ...]
    unfinished: str | None = None
    goes_on: bool = False

    @property
    def would_be_valid(self) -> int:
        return self.outcomes.get(Outcome.REPLAYED, 0)


@dataclass(frozen=True, slots=True)
class Pace:
    """``canary``: rows of the first chunk. ``rate``: rows a second at most, 0 for no limit."""

    canary: int = 100
    rate: float = 0
    chunk_rows: int = CHUNK_ROWS
    keep_going: bool = False

    def rows(self, chunk: int) -> int:
        """How many rows this chunk may have."""
        limit = self.chunk_rows if not self.rate else min(self.chunk_rows, max(1, round(self.rate * CHUNK_S)))
        return min(limit, self.canary) if chunk == 0 and self.canary else limit


@dataclass(slots=True)
class Report:
    """What a replay has done: rows by outcome, and how it ended.

    ``broken_promises``: rows that were valid by schema and rules and did not get in. ``went_on``: with one that was
    cut off; what that had done already is not counted here.
    """

    replay_id: str
    outcomes: Counter[str] = field(default_factory=Counter)
    chunks: int = 0
    broken_promises: int = 0
    stopped_after_canary: bool = False
    stopped: bool = False
    went_on: bool = False

    def add(self, outcomes: Mapping[str, int], promised: int) -> None:
        """One more chunk is done."""
        self.outcomes.update(outcomes)
        self.chunks += 1
        self.broken_promises += promised - sum(outcomes.get(name, 0) for name in IN)

    @property
    def rows(self) -> int:
        return sum(self.outcomes.values())

    @property
    def got_in(self) -> int:
        return sum(self.outcomes[name] for name in IN)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One chunk, or all rows of a dry run, with a verdict each as far as Elasticsearch has not spoken.

    ``held``: what the valid table holds of the rows already. ``routed``: the others.
    """

    rows: DataFrame
    held: DataFrame
    routed: Routed
    schemas: SchemaSet

    @property
    def fresh(self) -> DataFrame:
        """Rows that are valid only now, with the number of the batch that read them from Kafka: a replay is none."""
        first = self.rows.select(*COORDINATES, "batch_id")
        return self.routed.valid.drop("batch_id").join(first, list(COORDINATES))


@dataclass(frozen=True, slots=True)
class _Written:
    outcomes: dict[str, int]
    promised: int


@dataclass
class Replay:
    """Replays recipes, one at a time."""

    topic: str
    schemas: SchemaSource
    registered: Callable[[], Registered]
    rules: RuleSet
    tables: RepairStore
    ledger: LedgerStore
    store: DocumentStore
    journal: ReplayLog
    lease: LeaseHolder
    on_step: Steps
    keep_rules: Callable[[RuleSet, Batch], None]
    stop: threading.Event = field(default_factory=threading.Event)
    judge: Judge = field(default_factory=Judge)

    def forecast(self, recipe: Recipe, *, mark_unrecoverable: bool = False) -> Forecast:
        """Judge every row that the recipe means, and write nothing. Raises UsageError."""
        plan = self._new_plan(recipe, who="", mark_unrecoverable=mark_unrecoverable)
        before = self._cut_off()
        goes_on = before is not None and before.is_same_command(plan)
        judged = self._judged(self._open(plan, before.after if before and goes_on else BEGINNING), plan)
        valid = judged.held.unionByName(judged.routed.valid, allowMissingColumns=True)
        found = settle(verdicts(judged.rows, valid, judged.routed.invalid, None))
        outcomes = _outcomes(found)
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
            self._chunk(before)
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
            written = self._chunk(plan)
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

    def _chunk(self, plan: Plan) -> _Written:
        """Take one chunk to its sinks. Safe to repeat after a kill at any point."""
        assert plan.upto is not None
        at = datetime.now(UTC)
        batch = Batch(JOB, plan.replay_id, plan.chunk, ())
        self.keep_rules(plan.rules, batch)
        rows = self._open(plan, plan.after).where(record_key() <= plan.upto)
        judged = self._judged(rows, plan)
        fresh = settle(judged.fresh)
        valid = settle(judged.held.unionByName(fresh, allowMissingColumns=True))
        promised = valid.count()
        self.on_step("judged", batch)
        rejects = self._send(valid, judged.schemas, batch) if promised else None
        self.on_step("documents_written", batch)
        found = settle(verdicts(judged.rows, valid, judged.routed.invalid, rejects))
        outcomes = _outcomes(found)
        if outcomes:  # none if a kill came after the last write
            self._store(fresh, found, plan, at, batch)
        self.store.forget(batch)
        return _Written(outcomes, promised)

    def _send(self, valid: DataFrame, schemas: SchemaSet, batch: Batch) -> DataFrame | None:
        """Write the documents; what Elasticsearch refused, or None."""
        self.store.prepare(schemas.reader.fields)
        self.store.write(documents(valid, schemas.added), batch)
        rejects = self.store.rejects(batch)
        return None if rejects is None else settle(rejects)

    def _store(self, fresh: DataFrame, found: DataFrame, plan: Plan, at: datetime, batch: Batch) -> None:
        """Valid rows, audit trail, states."""
        replayed = found.where(F.col("outcome") == Outcome.REPLAYED.value).select(*COORDINATES)
        self._insert(settle(fresh.join(replayed, list(COORDINATES), "left_semi")), batch)
        self.on_step("valid_written", batch)
        now = settle(settled(found, plan))
        self.tables.append(AUDIT, audited(now, plan, at), batch)
        self.on_step("audit_written", batch)
        self._set_states(now, batch)

    def _insert(self, valid: DataFrame, batch: Batch) -> None:
        """Insert the valid rows, and count what the table really holds of them."""
        expected = valid.count()
        if not expected:
            return
        self.tables.insert_missing(VALID, valid)
        held = self._copies(valid).count()
        if held != expected:
            raise NotConserved(JOB, batch.batch_id, [f"{VALID} holds {held} of its rows, expected {expected}"])

    def _set_states(self, now: DataFrame, batch: Batch) -> None:
        """The state in ``api6_logs_invalid`` comes last: it decides whether a row is taken again."""
        state = ("status", "attempt")
        self._update_some(ES_INVALID, now.where(~F.col("stays")), state, batch)
        self._update_some(ES_INVALID, now.where("stays"), ("attempt",), _part(batch, "stays"))
        self._update_some(ES_INVALID, now.where("es_error_type IS NOT NULL"), ES_COLUMNS, _part(batch, "refused"))
        self.on_step("es_states_written", batch)
        self._update_some(INVALID, now, state, batch)
        self.on_step("states_written", batch)

    def _update_some(self, table: str, rows: DataFrame, columns: Sequence[str], batch: Batch) -> None:
        if not rows.isEmpty():
            self.tables.update(table, rows.select(*COORDINATES, "date", *columns), columns, batch)

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

    def _judged(self, rows: DataFrame, plan: Plan) -> _Judged:
        """Repair the rows that are not valid yet, and judge them as the jobs do."""
        stamp = Stamp(plan.chunk, datetime.now(UTC), plan.rules, self.schemas.current())
        taken = ("kafka_timestamp", "key", "headers", "raw", "batch_id", "status", "attempt", "date")
        wanted = settle(rows.select(*COORDINATES, *taken))
        held = settle(self._copies(wanted))
        marks = held.select(*COORDINATES, F.lit(True).alias("is_held"))
        marked = wanted.join(marks, list(COORDINATES), "left")
        marked = settle(marked.withColumn("is_held", F.coalesce("is_held", F.lit(False))))
        repair = Repair(plan.recipe.steps, self.registered(), plan.version, frozenset(plan.rules.personal))
        open_rows = settle(marked.where(~F.col("is_held")).transform(repaired(repair)))
        judged = settle(as_from_kafka(open_rows).transform(self.judge(stamp.schemas, stamp.rules)))
        routed = route(judged, self._duplicates(judged), stamp)
        all_rows = open_rows.unionByName(marked.where("is_held"), allowMissingColumns=True)
        return _Judged(settle(all_rows), held, routed, stamp.schemas)

    def _duplicates(self, judged: DataFrame) -> DataFrame | None:
        """As ``ingest`` finds them, but in whole days: an index holds one, and a row that is replayed must not replace
        the document of a later one.
        """
        days = sorted({date for date, _ in tally(judged).hours})
        if not days:
            return None
        wanted = judged.where("is_valid").select("request_id").distinct()
        stored = self.tables.read(VALID).where(F.col("date").isin(days)).select("request_id")
        known = settle(stored.join(wanted, "request_id", "left_semi"))
        hashes = settle(suspects(judged, known))
        return settle(losers(judged, known, hashes)) if hashes.count() else None

    def _copies(self, rows: DataFrame) -> DataFrame:
        """Rows of the valid table with these coordinates."""
        ends = rows.agg(F.min("kafka_offset"), F.max("kafka_offset")).collect()[0]
        near = (F.col("kafka_topic") == self.topic) & F.col("kafka_offset").between(F.lit(ends[0]), F.lit(ends[1]))
        return self.tables.read(VALID).where(near).join(rows.select(*COORDINATES), list(COORDINATES), "left_semi")


def _part(batch: Batch, name: str) -> Batch:
    """One of several updates of a table in the same chunk, each of which is made once."""
    return Batch(JOB, f"{batch.query_id}-{name}", batch.batch_id, ())


def _outcomes(found: DataFrame) -> dict[str, int]:
    """Outcome → rows. Raises NotConserved if a row has none."""
    counts = {r["outcome"]: r["count"] for r in found.groupBy("outcome").count().collect()}
    if None in counts:
        raise NotConserved(JOB, 0, [f"{counts[None]} rows have no verdict"])
    return counts


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
