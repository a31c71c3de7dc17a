"""The first level of a reconciliation: figures of all sides, without reading a record into anybody's hands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.flows.ports import TableStore
from pipelines.flows.reconcile_figures import INDEX, INGEST, Compared, Said
from pipelines.flows.reconcile_ports import DocumentFigures, FoundDocuments, Offsets
from pipelines.ingest.coordinates import inside
from pipelines.maintenance.retirement import DOCUMENTS, Count
from pipelines.reconcile import ledger as ledgers
from pipelines.reconcile import rows as table_rows
from pipelines.reconcile.figures import Foreign, Place, differing_from_ledger
from pipelines.reconcile.hours import HOUR, LOOKS_BACK, Window, floor_hour, from_ms, hours_of, in_ms, settled_until
from pipelines.reconcile.retired import Gone
from pipelines.records import COORDINATES, ES_INVALID, INVALID, LEDGER, VALID, OffsetRange, RowStatus


@dataclass
class FirstLevel:
    """Asks every side for its figures. ``retired``: store → what maintenance removed of these days for their age."""

    topic: str
    tables: TableStore
    documents: DocumentFigures
    offsets: Offsets
    retired: Callable[[date, date], Mapping[str, Sequence[Count]]] = lambda *_: {}

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
        compared.foreign = self._foreign(found.foreign)
        compared.notes += [f.told(self.topic) for f in compared.foreign]
        compared.notes += [f"{name} has too many values to be counted: not compared by values" for name in sorted(many)]
        self._against_ledger(compared, {in_ms(h) for w in windows for h in hours_of(w)})
        if compared.differs:
            compared.leave_out(self._gone(windows))
        return compared

    def _gone(self, windows: Sequence[Window]) -> Gone:
        """What was removed for its age: it differs from the ledger, and that is no discrepancy."""
        days = {h.date() for w in windows for h in hours_of(w)}
        found = self.retired(min(days) - LOOKS_BACK, max(days))  # a bad row may be older than its batch
        gone = {store: {c.unit.day for c in found.get(store, ())} & days for store in (VALID, DOCUMENTS)}
        refused = frozenset(c.partition for c in found.get(INVALID, ()))
        return Gone(frozenset(gone[VALID]), frozenset(gone[DOCUMENTS]), refused)

    def _foreign(self, found: Sequence[Foreign]) -> list[Foreign]:
        """Documents that are nobody's: those of other topics that a job has read are at home in these indices too."""
        others = {f.topic for f in found} - {self.topic, ""}
        if others:
            is_other = F.col("topic").isin(sorted(others))
            read = self.tables.read(LEDGER).where((F.col("query") == INDEX) & is_other).select("topic").distinct()
            others -= {r["topic"] for r in read.collect()}
        return [f for f in found if f.topic in {*others, self.topic, ""}]

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
        """Invalid rows of the window's batches by hour, and where they are not those that were refused, each once."""
        ranges = said.refused()
        if not ranges:
            return {}, ()
        rows = self.tables.read(INVALID).where(inside(ranges))
        hour = F.date_trunc("hour", "kafka_timestamp").alias("hour_at")
        held: dict[int, tuple[int, int]] = {}
        by_hour: dict[datetime, int] = {}
        sums = (F.count("*").alias("count"), F.countDistinct("kafka_offset").alias("records"))
        for r in rows.groupBy("kafka_partition", hour).agg(*sums).collect():
            count, records = held.get(r["kafka_partition"], (0, 0))
            held[r["kafka_partition"]] = count + r["count"], records + r["records"]
            at = from_ms(in_ms(r["hour_at"].astimezone()))
            by_hour[at] = by_hour.get(at, 0) + r["count"]
        expected = {p: found.refused for p, found in said.jobs[INGEST].partitions.items()}
        return by_hour, tuple(r for r in ranges if held.get(r.partition, (0, 0)) != (expected[r.partition],) * 2)

    def _valid(self) -> DataFrame:
        return self.tables.read(VALID).where(F.col("kafka_topic") == self.topic)


def _any(conditions: Iterator[Column]) -> Column:
    found = F.lit(False)
    for one in conditions:
        found = found | one
    return found
