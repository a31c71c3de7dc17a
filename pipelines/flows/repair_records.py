"""The records of a chunk as they should be, by source and by the rules that they were judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.writer import Field, SchemaSet
from pipelines.flows.caching import settle
from pipelines.flows.repair_origins import Origin
from pipelines.flows.repair_ports import Known
from pipelines.ingest.documents import DAY, documents
from pipelines.reconcile.model import Kind, Side
from pipelines.reconcile.repair_plan import Place, Source, Step
from pipelines.records import COORDINATES

SOURCE, RULES = "_source", "_rules"
"""Columns beside those of the rows: where a row comes from, and the fingerprint of the rules that judged it."""

REPLAYED = (
    "a recipe made it valid, so Kafka has another value: run `sdp badrows replay` with that recipe and "
    "`where: {status: [replayed], …}`"
)
NOBODY = "nobody has the record any more, or nobody whose copy fits its content hash"


@dataclass
class FoundRecords:
    """Both halves of everything that was found. ``now``: fingerprint of the rules for records without a first try."""

    topic: str
    schemas: SchemaSet
    now: str
    origins: dict[tuple[Place, str], Origin] = field(default_factory=dict)
    _valid: list[DataFrame] = field(default_factory=list)
    _invalid: list[DataFrame] = field(default_factory=list)
    _known: dict[tuple[Place, str, Source], Known] = field(default_factory=dict)
    _refused: dict[tuple[Place, str], tuple[Known, str]] = field(default_factory=dict)

    @property
    def fields(self) -> Sequence[Field]:
        return self.schemas.reader.fields

    def rules_of(self, step: Step) -> str:
        """Fingerprint of the rules by which this step's side judges its record."""
        return self._origin(step).rules or self.now

    def add(self, valid: DataFrame, invalid: DataFrame) -> None:
        """One more source, judged by one rule set."""
        self._valid.append(valid)
        self._invalid.append(invalid)

    def settle(self) -> None:
        """Compute both halves, and learn what there is."""
        if not self._valid:
            return
        self._valid, self._invalid = [_whole(self._valid)], [_whole(self._invalid)]
        place = ("kafka_partition", "kafka_offset", RULES, SOURCE)
        hour = F.unix_seconds(F.date_trunc("hour", "event_time")).alias("hour_s")
        day = F.date_format("event_time", "yyyy.MM.dd").alias(DAY)
        for r in self._valid[0].select(*place, "request_id", day, hour).collect():
            known = Known(Source(r[SOURCE]), r["request_id"], r[DAY], datetime.fromtimestamp(r["hour_s"], UTC))
            self._known[Place(r["kafka_partition"], r["kafka_offset"]), r[RULES], known.source] = known
        hour = F.unix_seconds(F.date_trunc("hour", "kafka_timestamp")).alias("hour_s")
        for r in self._invalid[0].select(*place, "request_id", "error_message", hour).collect():
            known = Known(Source(r[SOURCE]), r["request_id"] or "", "", datetime.fromtimestamp(r["hour_s"], UTC))
            self._refused[Place(r["kafka_partition"], r["kafka_offset"]), r[RULES]] = known, r["error_message"]

    def of(self, step: Step) -> Known | None:
        """The most trusted source of the step that has the record."""
        if step.side is Side.INVALID:
            known, _ = self._refused.get((step.place, self.rules_of(step)), (None, ""))
            return known
        return next((k for source in step.sources if (k := self._in(step, source)) and not _is_other(k, step)), None)

    def why_not(self, step: Step) -> tuple[bool, str]:
        """Of a record without a source: whether some source has it and it is refused, and why."""
        if refused := self._refused.get((step.place, self.rules_of(step))):
            return True, refused[1]
        if self._origin(step).is_replayed:
            return False, REPLAYED
        if (known := self._in(step, Source.KAFKA)) and _is_other(known, step):
            return False, f"in Kafka its place is taken by request_id {known.request_id}: was the topic made anew?"
        return False, NOBODY

    def rows(self, chosen: Mapping[Place, tuple[Step, Source]]) -> DataFrame:
        """Rows of the valid table, one per place, with the batch that read them first."""
        return self._picked(self._valid[0], [(step, source) for step, source in chosen.values()])

    def documents(self, chosen: Mapping[Place, tuple[Step, Source]]) -> DataFrame:
        """The same as documents."""
        return documents(self.rows(chosen), self.schemas.added)

    def bad_rows(self, steps: Sequence[Step]) -> DataFrame:
        """Rows of the invalid table, one per step."""
        return self._picked(self._invalid[0], [(step, Source.KAFKA) for step in steps])

    def _picked(self, rows: DataFrame, chosen: Sequence[tuple[Step, Source]]) -> DataFrame:
        wanted = [
            (self.topic, s.place.partition, s.place.offset, source.value, self.rules_of(s), self._origin(s).batch_id)
            for s, source in chosen
        ]
        columns = f"kafka_topic STRING, kafka_partition INT, kafka_offset BIGINT, {SOURCE} STRING, {RULES} STRING"
        wanted_rows = rows.sparkSession.createDataFrame(wanted, f"{columns}, batch_id BIGINT")
        found = rows.drop("batch_id").join(F.broadcast(wanted_rows), [*COORDINATES, SOURCE, RULES])
        return settle(found.drop(SOURCE, RULES))

    def _origin(self, step: Step) -> Origin:
        return self.origins.get((step.place, step.job), Origin())

    def _in(self, step: Step, source: Source) -> Known | None:
        return self._known.get((step.place, self.rules_of(step), source))


def _whole(parts: Sequence[DataFrame]) -> DataFrame:
    return settle(reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), parts).coalesce(1))


def _is_other(known: Known, step: Step) -> bool:
    """Whether Kafka's record is another one than the finding is about: coordinates must never mean two records."""
    is_sure = step.kind in (Kind.MISSING, Kind.DIFFERS)
    return is_sure and known.source is Source.KAFKA and step.request_id not in (None, known.request_id)
