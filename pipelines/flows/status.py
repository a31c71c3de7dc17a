"""What `sdp status` and the end of `sdp demo` show: positions, sums, and whether everything adds up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.badrows.rows import reason
from pipelines.flows.ports import TableStore
from pipelines.ingest.coordinates import inside
from pipelines.maintenance.retirement import DOCUMENTS, Retired
from pipelines.records import ES_INVALID, INVALID, LEDGER, VALID, OffsetRange, RowStatus


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One job on one partition. ``held_valid``/``held_invalid``: what tables or indices really hold.

    A replayed row is held twice: as valid, and as the invalid row it was. ``unrecoverable`` rows are invalid ones.
    ``retired_*``: rows or documents that maintenance removed for their age, ``retired_replayed`` those of the invalid
    ones that had been replayed.
    """

    partition: int
    kafka_from: int
    kafka_until: int
    first: int
    until: int
    valid: int
    invalid: int
    gaps: int
    lost: int
    held_valid: int
    held_invalid: int
    replayed: int = 0
    unrecoverable: int = 0
    retired_valid: int = 0
    retired_invalid: int = 0
    retired_replayed: int = 0

    @property
    def open(self) -> int:
        """Invalid rows that wait for somebody."""
        return self.held_invalid - self.replayed - self.unrecoverable

    @property
    def lag(self) -> int:
        return self.kafka_until - self.until

    @property
    def problems(self) -> list[str]:
        """Why this partition does not add up; empty when it does."""
        read, explained = self.until - self.first, self.valid + self.invalid + self.gaps + self.lost
        replayed = self.replayed + self.retired_replayed
        valid = f"{self.valid} valid" + (f" and {replayed} were replayed" if replayed else "")
        found_valid = _found(self.held_valid, self.retired_valid)
        found_invalid = _found(self.held_invalid, self.retired_invalid)
        is_valid_fine = self.valid + replayed == self.held_valid + self.retired_valid
        is_invalid_fine = self.invalid == self.held_invalid + self.retired_invalid
        checks = [
            (read == explained, f"{read} offsets read, {explained} explained"),
            (is_valid_fine, f"ledger says {valid}, {found_valid}"),
            (is_invalid_fine, f"ledger says {self.invalid} invalid, {found_invalid}"),
        ]
        return [f"partition {self.partition}: {text}" for is_fine, text in checks if not is_fine]


@dataclass(frozen=True, slots=True)
class JobState:
    """One job: its last confirmed batch, and each partition."""

    job: str
    last_batch: int | None
    last_committed_at: datetime | None
    partitions: tuple[PartitionState, ...]

    @property
    def problems(self) -> list[str]:
        return [text for p in self.partitions for text in p.problems]

    def total(self, name: str) -> int:
        """Sum of one attribute over all partitions."""
        return sum(int(getattr(p, name)) for p in self.partitions)


@dataclass(frozen=True, slots=True)
class Refusals:
    """``rows`` of ``judged`` records that are invalid, and how many for which reason, most frequent first.

    A row with several critical violations counts for the first of them, as in the metrics and `sdp badrows list`.
    """

    rows: int
    judged: int
    reasons: Mapping[str, int]

    @property
    def share(self) -> float:
        return self.rows / self.judged if self.judged else 0.0


class Documents(Protocol):
    """Elasticsearch, as status sees it."""

    def per_partition(self, topic: str) -> dict[int, int]: ...


@dataclass(frozen=True)
class Status:
    """Reads the state of both jobs. Counts by coordinates, never by trust in the ledger alone."""

    topic: str
    watermarks: Callable[[], Mapping[int, tuple[int, int]]]
    tables: TableStore
    documents: Documents
    complete_until: Callable[[], datetime | None] = lambda: None
    """The completeness watermark."""
    retired: Callable[[str], Mapping[int, Retired]] = lambda _: {}
    """Store → Kafka partition → what maintenance removed for its age."""

    def ingest(self) -> JobState:
        """Kafka to Delta."""
        return self._state("ingest", VALID, self._count(VALID), INVALID)

    def index(self) -> JobState:
        """Kafka to Elasticsearch. Raises SinkUnavailable."""
        return self._state("index", DOCUMENTS, self.documents.per_partition(self.topic), ES_INVALID)

    def reasons(self) -> dict[str, int]:
        """Code of the first critical violation → invalid rows, most frequent first."""
        return _reasons(self.tables.read(INVALID).where(F.col("kafka_topic") == self.topic))

    def refusals(self, since: datetime) -> tuple[Refusals, Refusals | None]:
        """What ``ingest`` refused in all batches that it confirmed from ``since`` on, and in the last of them, if any.

        Rows that were replayed in the meantime are valid rows by now: they do not count as refused.
        """
        is_ours = (F.col("query") == "ingest") & (F.col("topic") == self.topic)
        recent = self.tables.read(LEDGER).where(is_ours & (F.col("committed_at") >= F.lit(since)))
        last = recent.orderBy(F.desc("committed_at")).select("query_id", "batch_id").first()
        if last is None:
            return Refusals(0, 0, {}), None
        is_last = (F.col("query_id") == last["query_id"]) & (F.col("batch_id") == last["batch_id"])
        return self._refused(recent), self._refused(recent.where(is_last))

    def _refused(self, ledger: DataFrame) -> Refusals:
        """Of the offsets in these rows of the ledger. A partition's offsets follow each other in time."""
        bounds = [F.min("from_offset").alias("start"), F.max("until_offset").alias("end")]
        sums = F.sum(F.col("valid") + F.col("invalid")).alias("judged")
        found = ledger.groupBy("partition").agg(*bounds, sums).collect()
        read = [OffsetRange(self.topic, r["partition"], r["start"], r["end"]) for r in found]
        rows = self.tables.read(INVALID).where(inside(read) & (F.col("status") != RowStatus.REPLAYED.value))
        return Refusals(rows.count(), sum(r["judged"] for r in found), _reasons(rows))

    def samples(self, per_code: int = 1, at_most: int = 12) -> DataFrame:
        """A few bad rows: coordinates, first critical code, message, start of the raw value in hex."""
        rows = self.tables.read(INVALID).where(F.col("kafka_topic") == self.topic)
        shown = rows.select(
            "kafka_partition",
            "kafka_offset",
            reason().alias("code"),
            "error_message",
            F.substring(F.hex("raw"), 1, 24).alias("raw_hex"),
        )
        return shown.dropDuplicates(["code"]).orderBy("code").limit(at_most * per_code)

    def _state(self, job: str, valid: str, held_valid: Mapping[int, int], invalid: str) -> JobState:
        bad, retired_valid, retired_invalid = self._by_status(invalid), self.retired(valid), self.retired(invalid)
        ledger = self.tables.read(LEDGER).where((F.col("query") == job) & (F.col("topic") == self.topic))
        sums = [F.sum(c).alias(c) for c in ("valid", "invalid", "gaps", "lost")]
        bounds = [F.min("from_offset").alias("first"), F.max("until_offset").alias("until")]
        found = [r.asDict() for r in ledger.groupBy("partition").agg(*bounds, *sums).collect()]
        rows = {r.pop("partition"): r for r in found}
        last = ledger.orderBy(F.desc("committed_at")).select("batch_id", "committed_at").first()
        partitions = []
        for p, (earliest, latest) in sorted(self.watermarks().items()):
            untouched = {"first": earliest, "until": earliest, "valid": 0, "invalid": 0, "gaps": 0, "lost": 0}
            of_status = bad.get(p, {})
            held = {"held_valid": held_valid.get(p, 0), "held_invalid": sum(of_status.values())}
            held |= {s.value: of_status.get(s, 0) for s in (RowStatus.REPLAYED, RowStatus.UNRECOVERABLE)}
            gone = retired_invalid.get(p, Retired())
            held |= {"retired_valid": retired_valid.get(p, Retired()).rows}
            held |= {"retired_invalid": gone.rows, "retired_replayed": gone.replayed}
            partitions.append(PartitionState(p, earliest, latest, **rows.get(p, untouched), **held))
        return JobState(job, last[0] if last else None, last[1] if last else None, tuple(partitions))

    def _by_status(self, table: str) -> dict[int, dict[str, int]]:
        rows = self.tables.read(table).where(F.col("kafka_topic") == self.topic)
        found: dict[int, dict[str, int]] = {}
        for r in rows.groupBy("kafka_partition", "status").count().collect():
            found.setdefault(r["kafka_partition"], {})[r["status"]] = r["count"]
        return found

    def _count(self, table: str) -> dict[int, int]:
        rows = self.tables.read(table).where(F.col("kafka_topic") == self.topic)
        return {r["kafka_partition"]: r["count"] for r in rows.groupBy("kafka_partition").count().collect()}


def _found(held: int, retired: int) -> str:
    return f"found {held}" + (f" and {retired} retired" if retired else "")


def _reasons(rows: DataFrame) -> dict[str, int]:
    """Code of the first critical violation → rows, each counted once as in the metrics; most frequent first."""
    found = rows.groupBy(reason().alias("code")).count().orderBy(F.desc("count"), "code").collect()
    return {r["code"]: r["count"] for r in found}
