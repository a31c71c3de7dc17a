"""Kafka → Elasticsearch, and what it or the rules refuse → ``api6_es_invalid`` → ledger: the story of one batch."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyspark.sql import DataFrame

from pipelines.contracts.rules import RuleSet
from pipelines.errors import NotConserved
from pipelines.flows.balance import Balance
from pipelines.flows.caching import keep
from pipelines.flows.ports import DocumentStore, LedgerStore, Outcomes, SchemaSource, Steps, TableStore
from pipelines.ingest.account import by_hour, by_reason, move_to_invalid, tally, with_content
from pipelines.ingest.documents import documents, refused_by_rules, rejected
from pipelines.ingest.duplicates import losers, suspects
from pipelines.ingest.judge import Judge
from pipelines.ingest.route import Routed, Router, Stamp
from pipelines.records import ES_INVALID, Batch, LedgerEntry


@dataclass(frozen=True)
class IndexBatch:
    """Takes one micro-batch to Elasticsearch. Safe to repeat after a kill: documents replace themselves.

    ``on_outcome`` hears at every try how many rows are valid, and how many were refused by reason.
    """

    schemas: SchemaSource
    rules: RuleSet
    store: DocumentStore
    tables: TableStore
    ledger: LedgerStore
    balance: Balance
    on_step: Steps
    on_outcome: Outcomes
    judge: Judge = field(default_factory=Judge)
    route: Router = field(default_factory=Router)

    def __call__(self, records: DataFrame, batch: Batch) -> None:
        """Judge, send the valid documents, collect what was refused, balance, write the ledger."""
        stamp = Stamp(batch.batch_id, datetime.now(UTC), self.rules, self.schemas.current())
        with ExitStack() as cache:
            judged = keep(records.transform(self.judge(stamp.schemas, self.rules)), cache)
            counted = tally(judged)
            self.on_step("judged", batch)
            hashes = keep(suspects(judged, None), cache)
            duplicates = keep(losers(judged, None, hashes), cache) if hashes.count() else None
            routed = self.route(judged, duplicates, stamp, explained=counted.undecodable > 0)
            self.store.prepare(stamp.schemas.reader.fields)
            self.store.write(documents(routed.valid, stamp.schemas.added), batch)
            self.on_step("documents_written", batch)
            rejects = self.store.rejects(batch)
            counts = move_to_invalid(counted.counts, by_hour(duplicates), by_hour(with_content(rejects, judged)))
            entries = self.balance.entries(batch, counts)
            reasons = dict[str, int]()
            if sum(e.invalid for e in entries):
                refused = keep(self._refused(judged, routed, rejects, stamp), cache)
                self.tables.append(ES_INVALID, refused, batch)
                reasons = by_reason(refused)
            self.on_outcome(batch, entries, reasons)
            self.on_step("invalid_written", batch)
        self._confirm(batch, entries)

    def _refused(self, judged: DataFrame, routed: Routed, rejects: DataFrame | None, stamp: Stamp) -> DataFrame:
        by_rules = refused_by_rules(routed.invalid)
        return by_rules if rejects is None else by_rules.unionByName(rejected(judged, rejects, stamp))

    def _confirm(self, batch: Batch, entries: list[LedgerEntry]) -> None:
        """Count what the table really took, then write the ledger: from here on the batch is done."""
        expected = sum(e.invalid for e in entries)
        held = self.tables.committed(ES_INVALID, batch) if expected else 0
        if held != expected:
            raise NotConserved(batch.query, batch.batch_id, [f"{ES_INVALID} holds {held} rows, expected {expected}"])
        self.ledger.append(batch, entries)
        self.on_step("ledger_written", batch)
        self.store.forget(batch)
