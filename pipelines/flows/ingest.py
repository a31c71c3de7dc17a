"""Kafka → ``api6_logs_valid`` and ``api6_logs_invalid`` → ledger: the story of one batch."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.rules import RuleSet
from pipelines.errors import NotConserved
from pipelines.flows.balance import Balance
from pipelines.flows.caching import keep
from pipelines.flows.ports import LedgerStore, Outcomes, SchemaSource, Steps, TableStore
from pipelines.ingest.account import Tally, by_hour, by_reason, move_to_invalid, tally
from pipelines.ingest.coordinates import inside
from pipelines.ingest.dead_letters import dead_letters
from pipelines.ingest.duplicates import losers, suspects
from pipelines.ingest.judge import Judge
from pipelines.ingest.route import Router, Stamp
from pipelines.records import INVALID, VALID, Batch, LedgerEntry


class DeadLetters(Protocol):
    """The dead letter topic."""

    def send(self, messages: DataFrame) -> None: ...


@dataclass(frozen=True)
class IngestBatch:
    """Takes one micro-batch to the tables. Safe to repeat after a kill at any point (law 3).

    ``on_outcome`` hears at every try how many rows are valid, and how many were refused by reason.
    """

    schemas: SchemaSource
    rules: RuleSet
    tables: TableStore
    dead_letters: DeadLetters
    ledger: LedgerStore
    balance: Balance
    on_step: Steps
    on_outcome: Outcomes
    judge: Judge = field(default_factory=Judge)
    route: Router = field(default_factory=Router)

    def __call__(self, records: DataFrame, batch: Batch) -> None:
        """Judge, find duplicates, balance, write invalid, then valid, then the ledger."""
        with ExitStack() as cache:
            stamp = Stamp(batch.batch_id, datetime.now(UTC), self.rules, self.schemas.current())
            judged = keep(records.transform(self.judge(stamp.schemas, self.rules)), cache)
            counted = tally(judged)
            self.on_step("judged", batch)
            duplicates = self._duplicates(judged, counted, batch, cache)
            counts = move_to_invalid(counted.counts, by_hour(duplicates))
            entries = self.balance.entries(batch, counts)
            self.on_step("balanced", batch)
            self.tables.evolve(VALID, stamp.schemas.reader.fields)
            routed = self.route(judged, duplicates, stamp, explained=counted.undecodable > 0)
            is_any_refused = sum(e.invalid for e in entries) > 0
            reasons = self._refuse(keep(routed.invalid, cache), counted, batch) if is_any_refused else {}
            self.on_outcome(batch, entries, reasons)
            self.on_step("invalid_written", batch)
            if sum(e.valid for e in entries):
                self.tables.append(VALID, routed.valid, batch)
            self.on_step("valid_written", batch)
        self._confirm(batch, entries)

    def _refuse(self, invalid: DataFrame, counted: Tally, batch: Batch) -> dict[str, int]:
        """Keep every invalid row in the table, send on what can't be decoded, and count how many there are of each."""
        self.tables.append(INVALID, invalid, batch)
        if counted.undecodable:
            self.on_step("invalid_appended", batch)
            self.dead_letters.send(dead_letters(invalid))
        return by_reason(invalid)

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
