"""What the first level of a reconciliation knows of all sides, and what of it has to be explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipelines.flows.reconcile_suspects import Suspects
from pipelines.reconcile import ledger as ledgers
from pipelines.reconcile.figures import Figures, Foreign, Place, differing
from pipelines.reconcile.hours import HOUR, Window, from_ms, hours_of, in_ms
from pipelines.reconcile.model import HourCounts, OffsetsCheck
from pipelines.reconcile.retired import Gone
from pipelines.reconcile.witnesses import Bounds
from pipelines.records import OffsetRange

INGEST, INDEX = "ingest", "index"


@dataclass(frozen=True)
class Said:
    """What ledger and Kafka say. ``marks``: partition → (earliest, next) offset of Kafka."""

    topic: str
    jobs: Mapping[str, ledgers.Job]
    marks: Mapping[int, tuple[int, int]]
    checks: Sequence[OffsetsCheck]

    def bounds(self, waits_since: datetime) -> Bounds:
        return Bounds(self.jobs[INGEST].positions, self.jobs[INDEX].positions, in_ms(waits_since))

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

    def refused(self) -> list[OffsetRange]:
        """Offsets of the batches of the window that have refused records."""
        found = self.jobs[INGEST].partitions
        return [OffsetRange(self.topic, n, *p.span) for n, p in sorted(found.items()) if p.span and p.refused]

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
    gone: Gone = field(default_factory=Gone)
    foreign: list[Foreign] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def bounds(self, waits_since: datetime) -> Bounds:
        return self.said.bounds(waits_since)

    @property
    def differs(self) -> bool:
        """Whether any figure does."""
        return bool(self.short or self.ahead or self.refused or self._differing())

    def leave_out(self, gone: Gone) -> None:
        """What was removed for its age is no suspect."""
        self.gone = gone
        self.short = {p for p in self.short if not gone.has_rows(p.hour_ms)}
        self.ahead = {p for p in self.ahead if not gone.has_rows(p.hour_ms) and not gone.has_documents(p.hour_ms)}
        self.refused = tuple(r for r in self.refused if r.partition not in gone.refused)
        self.notes += gone.notes()

    def suspects(self, waits_since: datetime, *, deep: bool) -> Suspects | None:
        """What the second level has to look at; None if there is nothing."""
        places = self._differing()
        whole = {p for p in self.short | self.ahead if p not in places or self._has_surplus(p)}
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
            gone=self.gone,
        )

    def _differing(self) -> set[Place]:
        """Places of the windows where table and documents are not the same, and both should be there."""
        hours = {in_ms(h) for w in self.windows for h in hours_of(w)}
        here = {h for h in hours if not self.gone.has_rows(h) and not self.gone.has_documents(h)}
        return {p for p in differing(self.table, self.documents) if p.hour_ms in here}

    def _has_surplus(self, place: Place) -> bool:
        """Whether both sides hold more than was stored: what both have twice is no difference between them."""
        at, jobs = (place.partition, place.hour_ms), self.said.jobs
        sides = ((self.table, jobs[INGEST]), (self.documents, jobs[INDEX]))
        return all(side.records(place) > job.cells.get(at, (0, 0))[0] for side, job in sides)

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
