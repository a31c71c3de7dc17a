"""What is wrong with a record that is not simply the same everywhere: one finding per thing that is wrong.

In: the columns of ``side_by_side``, and what other witnesses say of the same coordinates, null where they are silent:

``truth``: FIELDS and ``es_index``; Kafka has the record, and it is valid. ``refused``: struct<at: ms, reason>; Kafka
has it, and it is invalid. ``is_gone``: Kafka has dropped it. ``hole``: hour in ms; the ledger counts it, and neither
table of ``ingest`` has it. ``logs_invalid``, ``es_invalid``: struct<status, reason>; rows of these tables. ``others``:
why the document of its id is rightly that of another record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.evaluate import MASK
from pipelines.reconcile.compare import OF_KAFKA
from pipelines.reconcile.model import FindingState, Kind, Side
from pipelines.records import RowStatus

HOUR_MS = 3_600_000
_PARTS = ("kind", "side", "field", "expected", "found", "es_index", "es_id", "reason", "state")
_NONE = f"array<struct<{','.join(f'{name}:string' for name in _PARTS)}>>"

NO_ROW = "Kafka has it, and it is valid; neither valid nor invalid holds it"
NO_ROW_REPLAYED = "a replay brought it back, and the row is gone"
NOBODY_KNOWS = "the ledger counts it, neither valid nor invalid holds it, and Kafka has dropped it"
NO_DOCUMENT = "the job has confirmed it, and no index holds it"
LATE = "the index job has not come so far, for longer than reconcile.grace_minutes"
NO_RECORD = "no valid record has these coordinates"
AGAIN = "the same record once more"
ELSEWHERE = "its timestamp belongs into another index"
OTHER_VALUE = "it is not what Kafka has"
OTHER_THAN_ROW = "it is not what the table holds; Kafka was not asked or has dropped the record"
OTHER_HASH = "the ten fields give another hash"


@dataclass(frozen=True)
class Bounds:
    """Up to where each job must have stored everything (partition → offset), and since when a row waits too long."""

    ingest: Mapping[int, int]
    index: Mapping[int, int]
    waits_since: datetime


def findings(odd: DataFrame, fields: Sequence[str], bounds: Bounds, personal: frozenset[str], topic: str) -> DataFrame:
    """One row per finding, in the columns of the table of findings as far as a comparison knows them."""
    told = _Told(fields, bounds, personal)
    moment = told.known("timestamp", F.col("refused")["at"], F.col("hole"))
    each = _prepared(odd).select(
        F.lit(topic).alias("kafka_topic"),
        F.col("at_partition").alias("kafka_partition"),
        F.col("at_offset").alias("kafka_offset"),
        told.known("request_id").alias("request_id"),
        F.timestamp_millis(moment - F.pmod(moment, F.lit(HOUR_MS))).alias("hour"),
        F.explode(told.all()).alias("of"),
    )
    shown = each.select("*", *(F.col("of")[name].alias(name) for name in _PARTS)).drop("of")
    nothing = F.lit(None)
    return shown.select("*", nothing.cast("timestamp").alias("closed_at"), nothing.cast("string").alias("closed_by"))


class _Told:
    """The findings of one record, as expressions; each gives an array, empty or null where there is nothing to say."""

    def __init__(self, fields: Sequence[str], bounds: Bounds, personal: frozenset[str]) -> None:
        self._fields, self._personal = fields, personal
        self._row, self._documents = F.col("row"), F.col("documents")
        self._is_replayed = _is_replayed()
        self._is_refused = F.col("logs_invalid").isNotNull() & ~self._is_replayed
        self._truth = F.col("usable")
        self._has_row, self._has_truth = self._row.isNotNull(), self._truth.isNotNull()
        self._is_known = self._has_row | self._has_truth
        self._by_ingest, self._by_index = _before(bounds.ingest), _before(bounds.index)
        self._waits = _is(self._row["ingested_at"] < F.lit(bounds.waits_since))
        self._id, self._place = F.col("own_id"), F.col("place")
        self._own, self._proper, self._best = F.col("own"), F.col("proper"), F.col("best")

    def known(self, name: str, *others: Column) -> Column:
        """A field of the record from whoever has it."""
        return F.coalesce(self._row[name], F.col("truth")[name], _first(self._documents)[name], *others)

    def all(self) -> Column:
        """Everything that is wrong."""
        parts = [*self._of_table(), *self._of_documents(), *self._of_content()]
        return F.concat(*(F.coalesce(part.cast(_NONE), F.array().cast(_NONE)) for part in parts))

    def _of_table(self) -> list[Column]:
        hole, is_gone = F.col("hole").isNotNull(), _is(F.col("is_gone"))
        without = ~self._has_row & ~self._is_refused & self._by_ingest
        reason = F.when(self._is_replayed, NO_ROW_REPLAYED).otherwise(NO_ROW)
        refused = F.concat(F.lit("Kafka has it, and it is invalid: "), F.col("refused")["reason"])
        is_accounted = ~self._has_row & self._is_refused & (F.size(self._documents) > 0)
        is_extra = without & ~self._has_truth & ~self._is_replayed & ~(hole & is_gone)
        times = F.concat(F.col("rows").cast("string"), F.lit(" rows of it"))
        extra = F.transform(self._documents, lambda d: _one(Kind.EXTRA, Side.ELASTICSEARCH, F.lit(NO_RECORD), d))
        return [
            _when(F.col("rows") > 1, _one(Kind.DOUBLED, Side.TABLE, times)),
            _when(without & (self._has_truth | self._is_replayed), _one(Kind.MISSING, Side.TABLE, reason)),
            _when(without & hole & is_gone, _one(Kind.MISSING, Side.TABLE, F.lit(NOBODY_KNOWS))),
            _when(without & hole & F.col("refused").isNotNull(), _one(Kind.MISSING, Side.INVALID, refused)),
            _when(is_accounted, _explained(Side.TABLE, F.col("logs_invalid")["reason"])),
            F.when(is_extra, extra),
        ]

    def _of_documents(self) -> list[Column]:
        is_kept_out = F.col("es_invalid").isNotNull() & (F.col("es_invalid")["status"] != RowStatus.REPLAYED.value)
        lacks = self._is_known & (F.size(self._own) == 0)
        is_owned = F.col("others").isNotNull()
        is_missing = lacks & ~is_kept_out & ~is_owned & (self._by_index | self._waits)
        reason = F.when(self._by_index, NO_DOCUMENT).otherwise(LATE)
        strangers = F.filter(self._documents, lambda d: d["es_id"] != self._id)
        displaced = F.filter(self._own, lambda d: d["es_index"] != self._place)
        is_there = F.size(self._proper) > 0
        doubled = F.transform(strangers, lambda d: _one(Kind.DOUBLED, Side.ELASTICSEARCH, F.lit(AGAIN), d))
        copies = F.transform(displaced, lambda d: _one(Kind.DOUBLED, Side.ELASTICSEARCH, F.lit(AGAIN), d))
        moved = F.transform(displaced, lambda d: _one(Kind.MISPLACED, Side.ELASTICSEARCH, F.lit(ELSEWHERE), d))
        missing = _one(Kind.MISSING, Side.ELASTICSEARCH, reason, es_index=self._place, es_id=self._id)
        return [
            _when(lacks & is_kept_out, _explained(Side.ELASTICSEARCH, F.col("es_invalid")["reason"])),
            _when(lacks & ~is_kept_out & is_owned, _explained(Side.ELASTICSEARCH, F.col("others"))),
            _when(is_missing, missing),
            F.when(self._is_known, doubled),
            F.when(is_there, copies).otherwise(moved),
        ]

    def _of_content(self) -> list[Column]:
        """Row against Kafka, document against Kafka or else the row, row against its own hash."""
        texts = F.array(*map(self._texts, self._fields))
        row = F.filter(texts, lambda t: t["of_kafka"] & ~t["row"].eqNullSafe(t["truth"]))
        document = F.filter(texts, lambda t: t["is_comparable"] & ~t["document"].eqNullSafe(t["expected"]))
        reason = F.when(self._has_truth, OTHER_VALUE).otherwise(OTHER_THAN_ROW)
        kept, computed = self._row["content_hash"], self._row["computed_hash"]
        hashed = {"field": F.lit("content_hash"), "expected": computed, "found": kept}
        is_same_as_truth = _is(self._truth["content_hash"] != kept)
        return [
            F.when(
                self._has_row & self._has_truth,
                F.transform(row, lambda t: _differs(Side.TABLE, t["truth"], t["row"], t, F.lit(OTHER_VALUE))),
            ),
            F.when(
                self._is_known & self._best.isNotNull(),
                F.transform(
                    document,
                    lambda t: _differs(Side.ELASTICSEARCH, t["expected"], t["document"], t, reason, self._best),
                ),
            ),
            _when(
                _is(computed != kept) & ~is_same_as_truth, _one(Kind.DIFFERS, Side.TABLE, F.lit(OTHER_HASH), **hashed)
            ),
        ]

    def _texts(self, name: str) -> Column:
        """One field on all sides as text. What only the row tells is not held against a document without one."""
        of_kafka = name in OF_KAFKA
        row, truth, document = (side[name].cast("string") for side in (self._row, self._truth, self._best))
        expected = F.when(self._has_truth, truth).otherwise(row) if of_kafka else row
        return F.struct(
            F.lit(name).alias("name"),
            F.lit(name in self._personal).alias("is_personal"),
            F.lit(of_kafka).alias("of_kafka"),
            (F.lit(of_kafka) | self._has_row).alias("is_comparable"),
            row.alias("row"),
            truth.alias("truth"),
            document.alias("document"),
            expected.alias("expected"),
        )


def _prepared(odd: DataFrame) -> DataFrame:
    """Add what the findings ask for again and again.

    ``usable``: the truth, unless it is that of an invalid row, which a replay may have changed. ``own_id``, ``place``:
    where the document belongs. ``own``, ``proper``: the documents under that id, and those of them in the right index;
    ``best``: the one whose content counts.
    """
    usable = F.when(F.col("logs_invalid").isNull(), F.col("truth"))
    documents = F.coalesce("documents", F.array().cast(odd.schema["documents"].dataType))
    known = odd.withColumn("usable", usable).withColumn("documents", documents)
    for name, of in (("own_id", "request_id"), ("place", "es_index")):
        value = F.when(F.col("usable").isNotNull(), F.col("usable")[of]).otherwise(F.col("row")[of])
        known = known.withColumn(name, value)
    known = known.withColumn("own", F.filter("documents", lambda d: d["es_id"] == F.col("own_id")))
    known = known.withColumn("proper", F.filter("own", lambda d: d["es_index"] == F.col("place")))
    return known.withColumn("best", F.coalesce(_first(F.col("proper")), _first(F.col("own"))))


def _is_replayed() -> Column:
    return _is(F.col("logs_invalid")["status"] == RowStatus.REPLAYED.value)


def _one(kind: Kind, side: Side, reason: Column, document: Column | None = None, **more: Column) -> Column:
    given = {"kind": F.lit(kind.value), "side": F.lit(side.value), "reason": reason, **more}
    given.setdefault("state", F.lit(FindingState.OPEN.value))
    if document is not None:
        given |= {"es_index": document["es_index"], "es_id": document["es_id"]}
    return F.struct(*(given.get(name, F.lit(None)).cast("string").alias(name) for name in _PARTS))


def _explained(side: Side, reason: Column) -> Column:
    return _one(Kind.ACCOUNTED_AS_INVALID, side, reason, state=F.lit(FindingState.EXPLAINED.value))


def _differs(
    side: Side, expected: Column, found: Column, texts: Column, reason: Column, document: Column | None = None
) -> Column:
    def shown(value: Column) -> Column:
        return F.when(texts["is_personal"] & value.isNotNull(), MASK).otherwise(value)

    values = {"field": texts["name"], "expected": shown(expected), "found": shown(found)}
    return _one(Kind.DIFFERS, side, reason, document, **values)


def _when(condition: Column, finding: Column) -> Column:
    return F.when(condition, F.array(finding))


def _first(documents: Column) -> Column:
    return F.when(F.size(documents) > 0, F.element_at(documents, 1))


def _is(condition: Column) -> Column:
    return F.coalesce(condition, F.lit(False))


def _before(positions: Mapping[int, int]) -> Column:
    """Whether the record lies before the position of its partition."""
    found = F.lit(False)
    for partition, offset in positions.items():
        found = found | ((F.col("at_partition") == partition) & (F.col("at_offset") < offset))
    return found
