"""The first level of a reconciliation: figures of all sides, without reading a record into anybody's hands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.flows.ports import TableStore
from pipelines.flows.reconcile_ports import DocumentFigures, FoundDocuments, Offsets
from pipelines.flows.reconcile_records import Suspects
from pipelines.ingest.coordinates import inside
from pipelines.reconcile import ledger as ledgers
from pipelines.reconcile import rows as table_rows
from pipelines.reconcile.figures import Figures, Place, differing, differing_from_ledger
from pipelines.reconcile.findings import Bounds
from pipelines.reconcile.hours import HOUR, Window, floor_hour, from_ms, hours_of, in_ms, settled_until
from pipelines.reconcile.model import HourCounts, OffsetsCheck
from pipelines.records import COORDINATES, ES_INVALID, INVALID, LEDGER, VALID, OffsetRange, RowStatus

INGEST, INDEX = "ingest", "index"


@dataclass(frozen=True)
class Said:
    """What ledger and Kafka say. ``marks``: partition → (earliest, next) offset of Kafka."""

    topic: str
    jobs: Mapping[str, ledgers.Job]
    marks: Mapping[int, tuple[int, int]]
    checks: Sequence[OffsetsCheck]

    def bounds(self, waits_since: datetime) -> Bounds:
        return Bounds(self.jobs[INGEST].positions, self.jobs[INDEX].positions, waits_since)

    def reopened(self, window: Window, proven: Sequence[Window], since: datetime) -> list[Window]:
        """Hours outside of the window that were proven, and have got records after ``since``."""
        changed: dict[int, datetime] = {}
        for job in self.jobs.values():
            for hour, at in job.changed.items():
                changed[hour] = max(at, changed.get(hour, at))
        late = [from_ms(hour) for hour, at in changed.items() if at > since]
        return [
            (hour, hour + HOUR)
            for hour in late
            if not window[0] <= hour < window[1] and any(start <= hour < end for start, end in proven)
        ]

    def notes(self) -> Iterator[str]:
        """What a reader must know."""
        eaten = sum(max(0, earliest - self._first(p)) for p, (earliest, _) in self.marks.items())
        if eaten:
            yield f"Kafka's retention has eaten {eaten:,} offsets: the ledger stands for them"
        for name, job in self.jobs.items():
            if job.unproven:
                yield (
                    f"{name}: {job.unproven:,} valid records are of batches whose hours the ledger does not know: for "
                    f"their hours it proves nothing, table and documents were compared with each other only"
                )
            unexplained = sum(p.unexplained for p in job.partitions.values())
            if unexplained:
                yield f"{name}: batches of the ledger took {unexplained:,} offsets of which they give no account"
            if not job.partitions:
                yield f"{name} has not confirmed any batch"

    def _first(self, partition: int) -> int:
        found = self.jobs[INGEST].partitions.get(partition)
        return found.first if found else self.marks[partition][0]


@dataclass
class Compared:
    """All figures of the windows, and where they are not the same."""

    topic: str
    said: Said
    windows: Sequence[Window]
    table: Figures
    documents: Figures
    strays: Mapping[str, int]
    invalid: Mapping[datetime, int]
    refused: tuple[OffsetRange, ...]
    short: set[Place] = field(default_factory=set)
    ahead: set[Place] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def bounds(self, waits_since: datetime) -> Bounds:
        return self.said.bounds(waits_since)

    def suspects(self, waits_since: datetime, *, deep: bool) -> Suspects | None:
        """What the second level has to look at; None if there is nothing."""
        hours = {in_ms(h) for w in self.windows for h in hours_of(w)}
        places = {p for p in differing(self.table, self.documents) if p.hour_ms in hours}
        whole = self.short | self.ahead
        if not (places or whole or self.refused or self.strays or deep):
            return None
        return Suspects(
            self.windows,
            self.bounds(waits_since),
            self.table,
            self.documents,
            places,
            whole,
            self.short,
            self.refused,
            set(self.strays),
            deep=deep,
        )

    def hours(self) -> list[HourCounts]:
        """Records of every hour on all sides, all partitions together."""
        ingest, index = (_by_hour(self.said.jobs[name].cells) for name in (INGEST, INDEX))
        table, documents = _records(self.table), _records(self.documents)
        return [
            HourCounts(
                hour,
                ingest.get(in_ms(hour), 0),
                table.get(in_ms(hour), 0),
                index.get(in_ms(hour), 0),
                documents.get(in_ms(hour), 0),
                self.invalid.get(hour, 0),
            )
            for window in self.windows
            for hour in hours_of(window)
        ]

    def spans(self, window: Window) -> list[OffsetRange]:
        """Offsets of the batches of ``ingest`` that put records into the window."""
        hours = {in_ms(h) for h in hours_of(window)}
        spans: dict[int, tuple[int, int]] = {}
        for (partition, hour), (start, end) in self.said.jobs[INGEST].spans.items():
            if hour in hours:
                low, high = spans.get(partition, (start, end))
                spans[partition] = min(low, start), max(high, end)
        return [OffsetRange(self.topic, p, *span) for p, span in sorted(spans.items())]


@dataclass
class FirstLevel:
    """Asks every side for its figures."""

    topic: str
    tables: TableStore
    documents: DocumentFigures
    offsets: Offsets

    def ledger(self, window: Window, since: datetime, now: datetime) -> Said:
        """The ledger as it is now, and Kafka's ends. ``since``: how far back single hours are told."""
        rows = self.tables.read(LEDGER).where((F.col("topic") == self.topic) & F.col("query").isin(INGEST, INDEX))
        hours = (min(window[0], floor_hour(since)), max(window[1], floor_hour(now) + 24 * HOUR))
        found = ledgers.jobs(ledgers.summed(rows, hours, window).collect())
        jobs = {name: found.get(name, ledgers.Job()) for name in (INGEST, INDEX)}
        marks = self.offsets.watermarks(self.topic)
        checks = [check for name, job in jobs.items() for check in ledgers.checks(name, job, marks)]
        return Said(self.topic, jobs, marks, checks)

    def settled(self, said: Said, now: datetime, grace: timedelta) -> datetime:
        """End of the last hour of which everything must be everywhere by now."""
        positions = [said.jobs[name].positions for name in (INGEST, INDEX)]

        def passed(ends: Mapping[int, int]) -> bool:
            return all(p.get(k, said.marks[k][0]) >= end for p in positions for k, end in ends.items())

        if passed({p: latest for p, (_, latest) in said.marks.items()}):
            return floor_hour(now - grace)
        return settled_until(now, grace, lambda moment: passed(self.offsets.first_since(self.topic, moment)))

    def compare(self, said: Said, windows: Sequence[Window]) -> Compared:
        """Figures of documents, then of the table: what a job has confirmed before is in both."""
        self.documents.refresh()
        found: FoundDocuments = self.documents.hours(self.topic, windows)
        many = found.figures.many
        rows = self._valid().where(_any(table_rows.within(w) for w in windows))
        table = table_rows.figures(table_rows.summed(rows, without=many).collect())
        table.many |= many
        invalid, refused = self._invalid(said)
        compared = Compared(self.topic, said, windows, table, found.figures, found.strays, invalid, refused)
        compared.notes += [f"{name} has too many values to be counted: not compared by values" for name in sorted(many)]
        self._against_ledger(compared, {in_ms(h) for w in windows for h in hours_of(w)})
        return compared

    def _against_ledger(self, compared: Compared, hours: set[int]) -> None:
        """Places where a side is not what its job has confirmed, replayed rows counted in."""
        jobs, sides = compared.said.jobs, {INGEST: compared.table, INDEX: compared.documents}
        for name, source in ((INGEST, INVALID), (INDEX, ES_INVALID)):
            if jobs[name].unproven:
                continue
            cells = dict(jobs[name].cells)
            differ = differing_from_ledger(cells, sides[name], hours)
            if differ:
                for at, (records, hashes) in self._replayed(source, differ).items():
                    valid, known = cells.get(at, (0, 0))
                    cells[at] = (valid + records, known + hashes)
                differ = differing_from_ledger(cells, sides[name], hours)
            (compared.short if name == INGEST else compared.ahead).update(differ)

    def _replayed(self, source: str, places: set[Place]) -> dict[tuple[int, int], tuple[int, int]]:
        """(Partition, hour) → valid rows that a replay put there, and their hashes: the ledger does not know them."""
        hours = [from_ms(p.hour_ms) for p in places]
        rows = self._valid().where(table_rows.within((min(hours), max(hours) + HOUR)))
        replayed = self.tables.read(source).where(F.col("status") == RowStatus.REPLAYED.value).select(*COORDINATES)
        back = rows.join(replayed.distinct(), list(COORDINATES), "left_semi")
        hour = F.floor(F.col("timestamp") / table_rows.HOUR_MS) * table_rows.HOUR_MS
        sums = (F.count("*").alias("records"), F.sum("content_hash").alias("hashes"))
        found = back.groupBy("kafka_partition", hour.alias("hour_ms")).agg(*sums).collect()
        return {(r["kafka_partition"], r["hour_ms"]): (r["records"], r["hashes"]) for r in found}

    def _invalid(self, said: Said) -> tuple[dict[datetime, int], tuple[OffsetRange, ...]]:
        """Invalid rows of the window's batches by hour, and where they are not as many as were refused."""
        expected = {p: found for p, found in said.jobs[INGEST].partitions.items() if found.span and found.refused}
        if not expected:
            return {}, ()
        ranges = {p: OffsetRange(self.topic, p, *found.span) for p, found in expected.items() if found.span}
        rows = self.tables.read(INVALID).where(inside(ranges.values()))
        hour = F.date_trunc("hour", "kafka_timestamp").alias("hour_at")
        held: dict[int, int] = {}
        by_hour: dict[datetime, int] = {}
        for r in rows.groupBy("kafka_partition", hour).count().collect():
            held[r["kafka_partition"]] = held.get(r["kafka_partition"], 0) + r["count"]
            at = from_ms(in_ms(r["hour_at"].astimezone()))
            by_hour[at] = by_hour.get(at, 0) + r["count"]
        return by_hour, tuple(ranges[p] for p, found in expected.items() if held.get(p, 0) != found.refused)

    def _valid(self) -> DataFrame:
        return self.tables.read(VALID).where(F.col("kafka_topic") == self.topic)


def _any(conditions: Iterator[Column]) -> Column:
    found = F.lit(False)
    for one in conditions:
        found = found | one
    return found


def _by_hour(cells: Mapping[tuple[int, int], tuple[int, int]]) -> dict[int, int]:
    out: dict[int, int] = {}
    for (_, hour), (records, _) in cells.items():
        out[hour] = out.get(hour, 0) + records
    return out


def _records(figures: Figures) -> dict[int, int]:
    out: dict[int, int] = {}
    for place, sums in figures.sums.items():
        out[place.hour_ms] = out.get(place.hour_ms, 0) + int(sums[0])
    return out
