"""Kafka → ``api6_logs_valid`` and ``api6_logs_invalid`` → ledger: the story of one batch."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.rules import RuleSet
from pipelines.errors import NotConserved
from pipelines.flows.balance import Balance
from pipelines.flows.caching import keep
from pipelines.flows.ports import LedgerStore, SchemaSource, Steps, TableStore
from pipelines.ingest.account import Tally, move_to_invalid, per_partition, tally
from pipelines.ingest.coordinates import inside
from pipelines.ingest.duplicates import losers, suspects
from pipelines.ingest.judge import Judge
from pipelines.ingest.route import Stamp, route
from pipelines.records import INVALID, VALID, Batch, LedgerEntry


@dataclass(frozen=True)
class IngestBatch:
    """Takes one micro-batch to the tables. Safe to repeat after a kill at any point (law 3)."""

    schemas: SchemaSource
    rules: RuleSet
    tables: TableStore
    ledger: LedgerStore
    balance: Balance
    on_step: Steps
    judge: Judge = field(default_factory=Judge)

    def __call__(self, records: DataFrame, batch: Batch) -> None:
        """Judge, find duplicates, balance, write invalid, then valid, then the ledger."""
        with ExitStack() as cache:
            stamp = Stamp(batch.batch_id, datetime.now(UTC), self.rules, self.schemas.current())
            judged = keep(records.transform(self.judge(stamp.schemas, self.rules)), cache)
            counted = tally(judged)
            self.on_step("judged", batch)
            duplicates = self._duplicates(judged, counted, batch, cache)
            counts = move_to_invalid(counted.counts, per_partition(duplicates))
            entries = self.balance.entries(batch, counts)
            self.on_step("balanced", batch)
            routed = route(judged, duplicates, stamp)
            if sum(e.invalid for e in entries):
                self.tables.append(INVALID, routed.invalid, batch)
            self.on_step("invalid_written", batch)
            if sum(e.valid for e in entries):
                self.tables.append(VALID, routed.valid, batch)
            self.on_step("valid_written", batch)
        self._confirm(batch, entries)

    def _duplicates(self, judged: DataFrame, counted: Tally, batch: Batch, cache: ExitStack) -> DataFrame | None:
        """Coordinates of the duplicates, or None when, as nearly always in clean traffic, there are none."""
        known = self._known_ids(counted, batch)
        hashes = keep(suspects(judged, known), cache)
        return keep(losers(judged, known, hashes), cache) if hashes.count() else None

    def _known_ids(self, counted: Tally, batch: Batch) -> DataFrame | None:
        """Request ids of earlier batches in the hours that this batch touches; its own rows, if replayed, left out."""
        if not counted.hours:
            return None
        hours = F.concat_ws(" ", F.col("date").cast("string"), F.col("hour").cast("string"))
        touched = hours.isin([f"{date} {hour}" for date, hour in counted.hours])
        in_days = F.col("date").isin(sorted({date for date, _ in counted.hours}))
        return self.tables.read(VALID).where(in_days & touched & ~inside(batch.ranges)).select("request_id")

    def _confirm(self, batch: Batch, entries: list[LedgerEntry]) -> None:
        """Count what the tables really took, then write the ledger: from here on the batch is done."""
        for table, expected in ((VALID, sum(e.valid for e in entries)), (INVALID, sum(e.invalid for e in entries))):
            held = self.tables.committed(table, batch) if expected else 0
            if held != expected:
                raise NotConserved(batch.query, batch.batch_id, [f"{table} holds {held} rows, expected {expected}"])
        self.on_step("counted", batch)
        self.ledger.append(batch, entries)
        self.on_step("ledger_written", batch)
