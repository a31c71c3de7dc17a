"""How records should be: read from all that still has them, and judged by the rules of their first try.

Values of Kafka and of the tables of bad rows take the way of every batch. Rows and documents are judged anew as well;
one that no longer fits its content hash is not believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from typing import Protocol

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import SchemaSet
from pipelines.flows.caching import settle
from pipelines.flows.ports import SchemaSource, TableStore
from pipelines.flows.reconcile_duplicates import firsts
from pipelines.flows.repair_origins import Origin, frame_of, origins, rows_at
from pipelines.flows.repair_ports import DocumentFinder, KnownRules
from pipelines.flows.repair_records import RULES, SOURCE, FoundRecords
from pipelines.ingest.coordinates import record_key
from pipelines.ingest.judge import Judge
from pipelines.ingest.route import COLUMN_TYPES, Routed, Router, Stamp
from pipelines.ingest.stored import judge_stored
from pipelines.reconcile.compare import AT
from pipelines.reconcile.model import Side
from pipelines.reconcile.repair_documents import OWN, rows_of
from pipelines.reconcile.repair_plan import JOB_OF, Action, Place, Source, Step
from pipelines.reconcile.repair_reads import reads
from pipelines.records import COORDINATES, ES_INVALID, INVALID, LEDGER, VALID, OffsetRange, RowStatus

_VALUES = ("topic", "partition", "offset", "timestamp", "key", "value", "headers")
_BAD_ROWS = (*COORDINATES, "kafka_timestamp", "key", "raw", "headers")
"""The same columns, as Spark's Kafka source and as the tables of bad rows name them."""


class RecordReader(Protocol):
    """Kafka, read by ranges."""

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]: ...
    def read(self, ranges: Sequence[OffsetRange]) -> DataFrame: ...


@dataclass
class Truth:
    """Finds the records of some steps in every source that one of them names. ``rules``: those of a batch of now."""

    topic: str
    schemas: SchemaSource
    tables: TableStore
    broker: RecordReader
    finder: DocumentFinder
    known_rules: KnownRules
    rules: Callable[[], RuleSet]
    judge: Judge = field(default_factory=Judge)
    route: Router = field(default_factory=Router)

    def of(self, steps: Sequence[Step]) -> FoundRecords:
        """Look the records up. Raises Unavailable."""
        schemas, now = self.schemas.current(), self.rules()
        found = FoundRecords(self.topic, schemas, now.fingerprint)
        if not steps:
            return found
        self.tables.evolve(VALID, schemas.reader.fields)
        places = sorted({s.place for s in steps})
        found.origins = origins(self.tables, self.topic, places, settle(frame_of(self.tables, self.topic, places)))
        values = {source: self._values(source, steps, found.origins, schemas) for source in Source}
        known = {**self.known_rules.by_fingerprint(), now.fingerprint: now}
        for fingerprint in sorted({found.rules_of(s) for s in steps}):
            same = [s for s in steps if found.rules_of(s) == fingerprint]
            stamp = Stamp(0, datetime.now(UTC), known.get(fingerprint, now), schemas)
            judged = {s: self._judged(s, frame, same, stamp) for s, frame in values.items() if frame is not None}
            duplicates = self._duplicates(same, list(judged.values()))
            for source, rows in judged.items():
                routed = self.route(rows, duplicates, stamp, explained=True)
                found.add(*_marked(routed, source, fingerprint))
        found.settle()
        return found

    def _values(
        self, source: Source, steps: Sequence[Step], known: dict[tuple[Place, str], Origin], schemas: SchemaSet
    ) -> DataFrame | None:
        """What a source has of the records that some step would take from it; None for nothing."""
        asked = [s for s in steps if source in s.sources]
        if source in (Source.KAFKA, Source.INVALID):
            asked = [s for s in asked if not known.get((s.place, s.job), Origin()).is_replayed]
        places = sorted({s.place for s in asked})
        if not places:
            return None
        read: dict[Source, Callable[[Sequence[Place]], DataFrame | None]] = {
            Source.KAFKA: self._from_kafka,
            Source.INVALID: self._from_bad_rows,
            Source.TABLE: self._from_table,
            Source.DOCUMENT: lambda p: self._from_documents(p, schemas),
        }
        frame = read[source](places)
        return None if frame is None else settle(frame)

    def _judged(self, source: Source, frame: DataFrame, steps: Sequence[Step], stamp: Stamp) -> DataFrame:
        """What a source has, judged by one rule set."""
        at = frame_of(self.tables, self.topic, sorted({s.place for s in steps}))
        if source in (Source.TABLE, Source.DOCUMENT):
            judged = frame.transform(judge_stored(stamp.schemas, stamp.rules))
        else:
            judged = frame.transform(self.judge(stamp.schemas, stamp.rules))
        return settle(judged.join(F.broadcast(at), list(COORDINATES), "left_semi"))

    def _duplicates(self, steps: Sequence[Step], judged: Sequence[DataFrame]) -> DataFrame | None:
        """What ``ingest`` refused though schema and rules find nothing wrong with it was a duplicate.

        And so is what would be inserted beside the row that has its request id.
        """
        refused = sorted({s.place for s in steps if s.side is Side.INVALID})
        inserted = sorted({s.place for s in steps if s.action is Action.INSERT_ROW})
        if not refused and not inserted:
            return None
        found = frame_of(self.tables, self.topic, refused).select(*COORDINATES[1:])
        if inserted and judged:
            at = frame_of(self.tables, self.topic, inserted)
            named = [rows.where("is_valid").select(*COORDINATES, "request_id", "timestamp") for rows in judged]
            fresh = reduce(DataFrame.unionByName, named).join(F.broadcast(at), list(COORDINATES), "left_semi")
            placed = fresh.distinct().toDF("topic", *AT, "request_id", "timestamp")
            found = found.union(firsts(placed, self._of_topic(VALID), self._batches()).select(*AT))
        return found.select(record_key().alias("record_key"))

    def _of_topic(self, table: str) -> DataFrame:
        return self.tables.read(table).where(F.col("kafka_topic") == self.topic)

    def _batches(self) -> DataFrame:
        is_ours = (F.col("topic") == self.topic) & (F.col("query") == JOB_OF[Side.TABLE])
        return self.tables.read(LEDGER).where(is_ours)

    def _from_kafka(self, places: Sequence[Place]) -> DataFrame | None:
        marks = self.broker.watermarks(self.topic)
        held = {p: range(*ends) for p, ends in marks.items()}
        there = [p for p in places if p.offset in held.get(p.partition, range(0))]
        found = None
        for ranges in reads(self.topic, there):
            frame = self.broker.read(ranges).select(*_VALUES)
            found = frame if found is None else found.unionByName(frame)
        if found is None:
            return None
        at = frame_of(self.tables, self.topic, there).toDF(*_VALUES[:3])
        return found.join(F.broadcast(at), list(_VALUES[:3]), "left_semi")

    def _from_bad_rows(self, places: Sequence[Place]) -> DataFrame:
        """Untouched values; of rows that a recipe made valid they say nothing."""
        is_untouched = (F.col("kafka_topic") == self.topic) & (F.col("status") != RowStatus.REPLAYED.value)
        at = frame_of(self.tables, self.topic, places)
        both = [
            rows_at(self.tables.read(table).where(is_untouched), places, at).select(*_BAD_ROWS)
            for table in (INVALID, ES_INVALID)
        ]
        return both[0].unionByName(both[1]).dropDuplicates(list(COORDINATES)).toDF(*_VALUES)

    def _from_table(self, places: Sequence[Place]) -> DataFrame:
        return rows_at(self._of_topic(VALID), places, frame_of(self.tables, self.topic, places))

    def _from_documents(self, places: Sequence[Place], schemas: SchemaSet) -> DataFrame:
        columns = {f.name: COLUMN_TYPES[f.type] for f in schemas.reader.fields}
        documents = self.finder.at(self.topic, places)
        rows = rows_of(((self.topic, d.place.partition, d.place.offset, d.source) for d in documents), columns)
        types = {**OWN, "kafka_timestamp": "timestamp", **columns}
        schema = ", ".join(f"`{name}` {kind}" for name, kind in types.items())
        coordinates = "kafka_topic STRING, kafka_partition INT, kafka_offset BIGINT"
        return self.tables.read(VALID).sparkSession.createDataFrame(rows, f"{coordinates}, {schema}")


def _marked(routed: Routed, source: Source, fingerprint: str) -> tuple[DataFrame, DataFrame]:
    """With the source and the rules that the rows come from; of several intact copies one is as good as another."""
    marks = {SOURCE: F.lit(source.value), RULES: F.lit(fingerprint)}
    valid, invalid = (half.withColumns(marks) for half in (routed.valid, routed.invalid))
    return valid.dropDuplicates(list(COORDINATES)), invalid
