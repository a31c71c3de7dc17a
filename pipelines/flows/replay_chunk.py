"""One chunk of a replay: bad rows → the steps of a recipe → the same judgement as everything else → all sinks.

A row that the valid table holds already is neither repaired nor judged: its document is made of what the table holds,
so that a second replay can bring it back, but never change it.

A chunk is written in an order in which a kill anywhere does no harm: documents, valid rows, audit trail, state in
``api6_es_invalid``, state in ``api6_logs_invalid``. Every write carries the replay's id and the chunk's number, so the
second try of it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.badrows.plan import Plan
from pipelines.badrows.registered import Registered
from pipelines.badrows.rows import as_from_kafka, repaired
from pipelines.badrows.steps import Repair
from pipelines.badrows.verdicts import ES_COLUMNS, audited, settled, verdicts
from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import SchemaSet
from pipelines.errors import NotConserved
from pipelines.flows.caching import settle
from pipelines.flows.ports import DocumentStore, RepairStore, SchemaSource, Steps
from pipelines.ingest.account import Tally, tally
from pipelines.ingest.documents import documents
from pipelines.ingest.duplicates import losers, suspects
from pipelines.ingest.judge import Judge
from pipelines.ingest.route import Routed, Router, Stamp
from pipelines.records import AUDIT, COORDINATES, ES_INVALID, INVALID, VALID, Batch, Outcome

JOB = "replay"


@dataclass(frozen=True, slots=True)
class Judged:
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
class Written:
    """What became of a chunk: outcome → rows. ``promised``: rows that were valid before Elasticsearch spoke."""

    outcomes: dict[str, int]
    promised: int


@dataclass
class ReplayChunk:
    """Judges rows by a plan, and takes them to the sinks."""

    topic: str
    schemas: SchemaSource
    registered: Callable[[], Registered]
    tables: RepairStore
    store: DocumentStore
    on_step: Steps
    keep_rules: Callable[[RuleSet, Batch], None]
    judge: Judge = field(default_factory=Judge)
    route: Router = field(default_factory=Router)

    def __call__(self, rows: DataFrame, plan: Plan) -> Written:
        """Take the chunk's rows to their sinks. Safe to repeat after a kill at any point."""
        at = datetime.now(UTC)
        batch = Batch(JOB, plan.replay_id, plan.chunk, ())
        self.keep_rules(plan.rules, batch)
        judged = self.judged(rows, plan)
        fresh = settle(judged.fresh)
        valid = settle(judged.held.unionByName(fresh, allowMissingColumns=True))
        promised = valid.count()
        self.on_step("judged", batch)
        rejects = self._send(valid, judged.schemas, batch) if promised else None
        self.on_step("documents_written", batch)
        found = settle(verdicts(judged.rows, valid, judged.routed.invalid, rejects))
        outcomes = outcomes_of(found)
        if outcomes:  # none if a kill came after the last write
            self._store(fresh, found, plan, at, batch)
        self.store.forget(batch)
        return Written(outcomes, promised)

    def judged(self, rows: DataFrame, plan: Plan) -> Judged:
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
        counted = tally(judged)
        routed = self.route(judged, self._duplicates(judged, counted), stamp, explained=counted.undecodable > 0)
        all_rows = open_rows.unionByName(marked.where("is_held"), allowMissingColumns=True)
        return Judged(settle(all_rows), held, routed, stamp.schemas)

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

    def _duplicates(self, judged: DataFrame, counted: Tally) -> DataFrame | None:
        """As ``ingest`` finds them, but in whole days: an index holds one, and a row that is replayed must not replace
        the document of a later one.
        """
        days = sorted({date for date, _ in counted.hours})
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


def outcomes_of(found: DataFrame) -> dict[str, int]:
    """Outcome → rows. Raises NotConserved if a row has none."""
    counts = {r["outcome"]: r["count"] for r in found.groupBy("outcome").count().collect()}
    if None in counts:
        raise NotConserved(JOB, 0, [f"{counts[None]} rows have no verdict"])
    return counts
