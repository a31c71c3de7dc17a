"""The second level of a reconciliation: from figures that differ to the records behind them.

Only blocks of offsets whose figures differ are read. What is said of a record rests on all who may know it: the table,
the indices, the tables of refused rows, and Kafka while it has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pipelines.contracts.writer import Field
from pipelines.flows.caching import settle
from pipelines.flows.ports import SchemaSource, TableStore
from pipelines.flows.reconcile_duplicates import firsts
from pipelines.flows.reconcile_ports import DocumentFigures, DocumentReader
from pipelines.flows.reconcile_suspects import Suspects
from pipelines.flows.reconcile_truth import Truth
from pipelines.ingest.coordinates import inside
from pipelines.ingest.documents import DAY, documents
from pipelines.ingest.route import event_time
from pipelines.ingest.validate import canonical
from pipelines.reconcile import rows as table_rows
from pipelines.reconcile.compare import AT, FIELDS, is_odd, misdated, side_by_side, taken_apart
from pipelines.reconcile.figures import Place, differing
from pipelines.reconcile.findings import findings
from pipelines.reconcile.holes import doubles, holes, refusals
from pipelines.reconcile.hours import Window, in_ms
from pipelines.reconcile.model import Side
from pipelines.reconcile.sample import chosen
from pipelines.reconcile.spots import Spots
from pipelines.records import COORDINATES, ES_INVALID, INVALID, LEDGER, VALID

MOST_NARROWED = 64
"""Places whose blocks are told apart; where more differ, they are read as a whole."""
FEWEST_NARROWED = 20_000
"""Records that are sooner read than narrowed down."""
MOST_LOOKED_UP = 10_000
"""Documents that are looked for by their id when they are nowhere else."""


@dataclass
class Records:
    """Names the records. ``personal``: fields whose values are masked."""

    topic: str
    tables: TableStore
    sums: DocumentFigures
    reader: DocumentReader
    schemas: SchemaSource
    truth: Truth
    personal: Callable[[], frozenset[str]]
    block_offsets: int

    def find(self, suspects: Suspects, notes: list[str]) -> DataFrame | None:
        """One row per finding, in the columns of the table of findings as far as a comparison knows them."""
        added = self.schemas.current().added
        fields = (*FIELDS, *(f.name for f in added))
        spots = self._spots(suspects)
        rows = self._as_documents(self.tables.read(VALID).where(self._of_topic() & spots.of_rows()), added, fields)
        schema = rows.select(*(f"`{name}`" for name in fields)).schema
        indices = self.sums.indices()
        found = self.reader.read(indices, spots.query(self.topic, self.sums.stray), schema)
        found = _placed(found.where(spots.of_documents() | F.col("es_index").isin(sorted(suspects.strays))))
        odd = settle(self._odd(rows, found, fields, suspects))
        if odd.isEmpty() and not (suspects.points or suspects.short or suspects.refused):
            return None
        rows, found = taken_apart(odd)
        rows = rows.unionByName(self._rows_of_orphans(odd, added, fields))
        found, others = self._looked_up(rows, found, schema, indices, notes)
        odd = settle(self._with_holes(self._odd(rows, found, fields, suspects), suspects))
        told = settle(self._with_witnesses(odd, others, fields))
        if suspects.points:  # of what Kafka has dropped nobody knows whether it ever was a record
            told = told.withColumn("hole", F.when(F.col("is_gone").isNull(), F.col("hole")))
        shown = findings(told, suspects.bounds, self.personal(), self.topic)
        is_meant = F.col("es_index").isin(sorted(suspects.strays)) | (F.col("side") == Side.INVALID.value)
        for window in suspects.windows:
            is_meant = is_meant | _between(F.col("hour"), window)
        return settle(shown.where(is_meant & ~suspects.gone.covers()))

    def drawn(self, window: Window, number: int, seed: int) -> tuple[tuple[int, int], ...]:
        """Coordinates of random rows of the window."""
        rows = self.tables.read(VALID).where(self._of_topic() & table_rows.within(window))
        return chosen(rows, number, seed)

    def _odd(self, rows: DataFrame, found: DataFrame, fields: Sequence[str], suspects: Suspects) -> DataFrame:
        both = side_by_side(rows, found, fields)
        return both if suspects.points else both.where(is_odd(fields))

    def _spots(self, suspects: Suspects) -> Spots:
        """Where to look: places as a whole, or those blocks of them whose figures differ."""
        size = self.block_offsets
        if suspects.points:
            return Spots(size, points=frozenset(suspects.points))
        if suspects.deep:
            return Spots(size, windows=tuple(suspects.windows), strays=frozenset(suspects.strays))
        narrow = {p for p in suspects.places - suspects.whole if suspects.documents.records(p)}
        many = sum(max(suspects.table.records(p), suspects.documents.records(p)) for p in narrow)
        if len(narrow) > MOST_NARROWED or many < FEWEST_NARROWED:
            narrow = set()
        found, left = self._narrowed(narrow, suspects.documents.many) if narrow else (set(), set())
        blocks, narrow = {(p.partition, p.block) for p in found}, narrow - left
        if suspects.strays:
            blocks |= self.sums.stray_blocks(self.topic, suspects.strays, size)
        whole = (suspects.places | suspects.whole) - narrow
        return Spots(size, frozenset(whole), frozenset(blocks), strays=frozenset(suspects.strays))

    def _narrowed(self, places: set[Place], many: set[str]) -> tuple[set[Place], set[Place]]:
        """Blocks that differ, and places that can't be cut."""
        found, left = self.sums.blocks(self.topic, places, self.block_offsets, many)
        here = Spots(self.block_offsets, whole=frozenset(places - left))
        rows = self.tables.read(VALID).where(self._of_topic() & here.of_rows())
        table = table_rows.figures(table_rows.summed(rows, self.block_offsets, found.many).collect())
        return differing(table, found), left

    def _as_documents(self, valid: DataFrame, added: Sequence[Field], fields: Sequence[str]) -> DataFrame:
        """Rows of the valid table as the documents that they should have."""
        computed = F.crc32(canonical().cast("binary")).alias("computed_hash")
        rows = valid.select("*", computed, misdated().alias("misdated")).withColumn("event_time", event_time())
        made = documents(rows, added, ("ingested_at", "computed_hash", "misdated"))
        index = F.concat(F.lit(self.sums.index_prefix), F.lit("-"), F.col(DAY)).alias("es_index")
        at = (F.col("kafka_partition").alias("at_partition"), F.col("kafka_offset").alias("at_offset"))
        ingested = F.unix_millis("ingested_at").alias("ingested_ms")
        times = F.lit(1).cast("bigint").alias("times")
        return made.select(*at, times, *(f"`{name}`" for name in fields), index, ingested, "computed_hash", "misdated")

    def _rows_of_orphans(self, odd: DataFrame, added: Sequence[Field], fields: Sequence[str]) -> DataFrame:
        """Rows, wherever they are, at the coordinates of documents that have none where was looked."""
        orphans = odd.where(F.col("row").isNull()).select(*AT)
        return self._as_documents(self._at(VALID, orphans), added, fields)

    def _looked_up(
        self, rows: DataFrame, found: DataFrame, schema: StructType, indices: Sequence[str], notes: list[str]
    ) -> tuple[DataFrame, DataFrame]:
        """Documents once more with those that have the id of a record which lacks its own, wherever they are.

        Beside them why such a document rightly belongs to another record: ``others``.
        """
        own = found.select(*AT, F.col("es_id").alias("request_id"))
        lacking = rows.join(own, [*AT, "request_id"], "left_anti").select(*AT, F.col("request_id").alias("own_id"))
        lacking = settle(lacking.distinct())
        nobody = lacking.select(*AT, F.lit(None).cast("string").alias("others")).limit(0)
        wanted = lacking.limit(MOST_LOOKED_UP + 1).collect()
        if len(wanted) > MOST_LOOKED_UP:
            notes.append(
                f"more than {MOST_LOOKED_UP:,} documents are missing: looked for by coordinates only, not by id"
            )
        if not wanted or len(wanted) > MOST_LOOKED_UP:
            return found, nobody
        query = {"ids": {"values": [r["own_id"] for r in wanted]}}
        elsewhere = self.reader.read(indices, query, schema)
        elsewhere = settle(elsewhere.join(F.broadcast(lacking), F.col("es_id") == F.col("own_id")).drop("own_id"))
        is_own = (F.col("kafka_partition") == F.col("at_partition")) & (F.col("kafka_offset") == F.col("at_offset"))
        foreign = elsewhere.where(~is_own).alias("d")
        same = [F.col(f"d.{c}") == F.col(f"v.{c}") for c in (*COORDINATES, "request_id")]
        whose = F.concat(F.lit("its request_id is that of "), *_text("d.kafka_partition", "@", "d.kafka_offset"))
        owned = foreign.join(self.tables.read(VALID).alias("v"), same).select(
            *(f"d.{c}" for c in AT), F.concat(whose, F.lit(", whose document it is")).alias("others")
        )
        owned = settle(owned.dropDuplicates(list(AT)))
        mine = elsewhere.join(owned, list(AT), "left_anti")
        rest = found.join(mine.select("es_index", "es_id"), ["es_index", "es_id"], "left_anti")
        return rest.unionByName(mine.select(*rest.columns)), owned

    def _with_holes(self, odd: DataFrame, suspects: Suspects) -> DataFrame:
        """Add what the ledger counts and neither table of ``ingest`` has."""
        if suspects.points:
            hour = F.lit(in_ms(suspects.windows[0][0])).cast("bigint").alias("hole")
            return odd.join(self._points(suspects.points).select(*AT, hour), list(AT), "full_outer")
        if not suspects.short and not suspects.refused:
            return odd.withColumn("hole", F.lit(None).cast("bigint"))
        stored = [self.tables.read(t).where(self._of_topic()) for t in (VALID, INVALID)]
        cells = {(p.partition, p.hour_ms) for p in suspects.short}
        lost = holes(self._batches("ingest"), stored, cells, suspects.refused, in_ms(suspects.windows[0][0]))
        both = lost.unionByName(doubles(stored[1].where(inside(suspects.refused))))
        return odd.join(settle(both), list(AT), "full_outer")

    def _points(self, points: Sequence[tuple[int, int]]) -> DataFrame:
        spark = self.tables.read(VALID).sparkSession
        return spark.createDataFrame(list(points), "at_partition INT, at_offset BIGINT")

    def _with_witnesses(self, odd: DataFrame, others: DataFrame, fields: Sequence[str]) -> DataFrame:
        documents = F.coalesce(F.size("documents"), F.lit(0))
        is_simply_missing = F.coalesce((F.col("rows") == 1) & (documents <= 0), F.lit(False))
        told = self.truth.of(odd.where(~is_simply_missing).select(*AT), fields)
        witnessed = odd.join(told, list(AT), "left")
        if "truth" not in told.columns:  # nothing that Kafka could tell
            silent = (F.lit(None).cast(odd.schema["row"].dataType), F.lit(None).cast("struct<at:bigint,reason:string>"))
            witnessed = witnessed.withColumn("truth", silent[0]).withColumn("refused", silent[1])
        witnessed = self._with_firsts(settle(witnessed))
        for table, name in ((INVALID, "logs_invalid"), (ES_INVALID, "es_invalid")):
            rows = refusals(self._at(table, odd.select(*AT)), name)
            witnessed = witnessed.join(rows, list(AT), "left")
        return witnessed.join(others, list(AT), "left")

    def _with_firsts(self, witnessed: DataFrame) -> DataFrame:
        """Add ``first``: of a valid record without a row the one whose request id it repeats."""
        truth = F.col("truth")
        fresh = witnessed.where(F.col("row").isNull() & truth.isNotNull())
        placed = fresh.select(*AT, truth["request_id"].alias("request_id"), truth["timestamp"].alias("timestamp"))
        found = firsts(placed, self.tables.read(VALID).where(self._of_topic()), self._batches("ingest"))
        return witnessed.join(found, list(AT), "left")

    def _batches(self, job: str) -> DataFrame:
        return self.tables.read(LEDGER).where((F.col("topic") == self.topic) & (F.col("query") == job))

    def _at(self, table: str, places: DataFrame) -> DataFrame:
        """Rows of a table with these coordinates."""
        held = self.tables.read(table).where(self._of_topic())
        same = (F.col("kafka_partition") == F.col("at_partition")) & (F.col("kafka_offset") == F.col("at_offset"))
        return held.join(places.select(*AT).distinct(), same, "left_semi")

    def _of_topic(self) -> Column:
        return F.col("kafka_topic") == self.topic


def _placed(found: DataFrame) -> DataFrame:
    """Documents, held to be the records whose coordinates they have; those without are nobody's, and told elsewhere."""
    has_coordinates = F.col("kafka_partition").isNotNull() & F.col("kafka_offset").isNotNull()
    at = (F.col("kafka_partition").alias("at_partition"), F.col("kafka_offset").alias("at_offset"))
    return found.where(has_coordinates).select(*at, "*")


def _between(hour: Column, window: tuple[datetime, datetime]) -> Column:
    return (hour >= F.lit(window[0])) & (hour < F.lit(window[1]))


def _text(*parts: str) -> list[Column]:
    return [F.lit(p) if p == "@" else F.col(p).cast("string") for p in parts]
