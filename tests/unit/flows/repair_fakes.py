"""A platform in memory that a repair can mend: Kafka, rows and documents are dicts, and every write can be cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from pyspark.sql import DataFrame

from pipelines.contracts.writer import Field
from pipelines.errors import UsageError
from pipelines.flows.repair import Repair
from pipelines.flows.repair_chunk import RepairChunk
from pipelines.flows.repair_ports import Known
from pipelines.flows.trouble import Patience
from pipelines.reconcile.model import Finding, Kind, Side
from pipelines.reconcile.repair_plan import Change, Outcome, Place, Source, Step
from pipelines.reconcile.repair_state import RepairState
from pipelines.records import VALID, Batch
from tests.unit.flows.fakes import TOPIC, FakeLease, FakeStop

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
DAY, RIGHT = "2026.03.01", "logs-2026.03.01"
Address = tuple[str, str]


class Killed(BaseException):
    """The process dies here."""


@dataclass
class Platform:
    """``kafka``, ``bad`` and rows: place → content; documents: (index, id) → (place, content).

    ``findings``: what a reconciliation has named. ``journal``: what the repair's journal holds. All of it outlives a
    process; ``diary`` and ``at_step`` are of one.
    """

    kafka: dict[Place, str]
    rows: dict[Place, list[str]]
    docs: dict[Address, tuple[Place, str]]
    findings: list[Finding] = field(default_factory=list)
    bad: dict[Place, str] = field(default_factory=dict)
    refusing: dict[Place, str] = field(default_factory=dict)
    journal: RepairState | None = None
    audit: dict[tuple[str, int], list[Change]] = field(default_factory=dict)
    closed: set[Finding] = field(default_factory=set)
    looked_at: list[tuple[datetime, datetime]] = field(default_factory=list)
    diary: list[str] = field(default_factory=list)
    at_step: Callable[[str, int], Any] = lambda *_: None

    @classmethod
    def sound(cls, records: int) -> Platform:
        places = [Place(n % 3, n // 3) for n in range(records)]
        content = {place: content_of(place) for place in places}
        docs = {(RIGHT, id_of(p)): (p, text) for p, text in content.items()}
        return cls(dict(content), {p: [text] for p, text in content.items()}, docs)

    def find(self, kind: Kind, side: Side, place: Place, **more: Any) -> None:
        who = more.pop("request_id", id_of(place))
        self.findings.append(
            Finding("run-1", TOPIC, place.partition, place.offset, who, kind, side, HOUR, HOUR, **more)
        )

    def process(self, stop: FakeStop | None = None) -> Repair:
        """A repair as one process has it."""

        def told(step: str, batch: Batch) -> None:
            self.diary.append(step)
            self.at_step(step, batch.batch_id)

        chunk = RepairChunk(FakeTruth(self), FakeRows(self), FakeDocuments(self), FakeBook(self), told)
        patience = Patience("the repair", 300, stop=stop or FakeStop())
        return Repair(TOPIC, FakeBook(self), FakeLog(self), FakeLease(), chunk, self._again, patience)

    def _again(self, since: datetime, until: datetime, deep: bool) -> str:
        assert deep
        self.diary.append("reconciled")
        self.at_step("reconciled", 0)
        self.looked_at.append((since, until))
        return "run-2"

    def is_right(self, finding: Finding) -> bool:
        place = Place(finding.kafka_partition, finding.kafka_offset)
        if finding.side is Side.TABLE:
            return self.rows.get(place) == [content_of(place)]
        mine = {at: text for at, (where, text) in self.docs.items() if where == place}
        return mine == ({} if finding.kind is Kind.EXTRA else {(RIGHT, id_of(place)): content_of(place)})


def id_of(place: Place) -> str:
    return f"r-{place.partition}-{place.offset}"


def content_of(place: Place) -> str:
    return f"content of {place.partition}@{place.offset}"


def key(place: Place) -> int:
    return (place.offset << 12) + place.partition


@dataclass
class FakeRecords:
    on: Platform
    fields: Sequence[Field] = ()

    def of(self, step: Step) -> Known | None:
        source = next((s for s in step.sources if self._content(step.place, s)), None)
        return None if source is None else Known(source, id_of(step.place), DAY, HOUR)

    def why_not(self, step: Step) -> tuple[bool, str]:
        return False, "nobody has it"

    def rows(self, chosen: Mapping[Place, tuple[Step, Source]]) -> DataFrame:
        found = {place: self._content(place, source) for place, (_, source) in chosen.items()}
        return cast(DataFrame, found)

    documents = rows

    def bad_rows(self, steps: Sequence[Step]) -> DataFrame:
        raise NotImplementedError

    def _content(self, place: Place, source: Source) -> str | None:
        """As the truth does, it believes neither altered rows nor altered documents."""
        held: dict[Source, list[str | None]] = {
            Source.KAFKA: [self.on.kafka.get(place)],
            Source.TABLE: [*self.on.rows.get(place, [])],
            Source.DOCUMENT: [text for where, text in self.on.docs.values() if where == place],
            Source.INVALID: [self.on.bad.get(place)],
        }
        return content_of(place) if content_of(place) in held[source] else None


@dataclass
class FakeTruth:
    on: Platform

    def of(self, steps: Sequence[Step]) -> FakeRecords:
        return FakeRecords(self.on)


@dataclass
class FakeRows:
    on: Platform

    def replace(self, table: str, rows: DataFrame) -> None:
        assert table == VALID
        self.on.rows |= {place: [text] for place, text in cast(dict[Place, str], rows).items()}

    def insert_missing(self, table: str, rows: DataFrame) -> None:
        raise NotImplementedError


@dataclass
class FakeDocuments:
    on: Platform

    def prepare(self, fields: Sequence[Field]) -> None: ...

    def overwrite(self, docs: DataFrame, batch: Batch) -> dict[Place, str]:
        for place, text in cast(dict[Place, str], docs).items():
            if place not in self.on.refusing:
                self.on.docs[RIGHT, id_of(place)] = place, text
        return {p: why for p, why in self.on.refusing.items() if p in cast(dict[Place, str], docs)}

    def remove(self, doomed: Sequence[tuple[str, str, Place]]) -> dict[Address, str | None]:
        held = {(index, id_): self.on.docs.get((index, id_), (place, ""))[0] for index, id_, place in doomed}
        kept = {(i, d): "another record has its id by now" for i, d, place in doomed if held[i, d] != place}
        for index, id_, _ in doomed:
            if (index, id_) not in kept:
                self.on.docs.pop((index, id_), None)
        return dict(kept)

    def index_of(self, day: str) -> str:
        return f"logs-{day}"

    def tidy(self) -> None:
        self.on.diary.append("tidy")


@dataclass
class FakeBook:
    on: Platform

    def meant(self, asked: str) -> tuple[str, bool]:
        if asked not in ("latest", "run-1"):
            raise UsageError(f"no reconciliation {asked}")
        return "run-1", True

    def version(self) -> int:
        return len(self.on.findings)

    def count(self, state: RepairState) -> int:
        return len(self._behind(state))

    def end_of_next(self, state: RepairState, records: int) -> int | None:
        keys = sorted({key(Place(f.kafka_partition, f.kafka_offset)) for f in self._behind(state)})[:records]
        return keys[-1] if keys else None

    def findings(self, state: RepairState) -> list[Finding]:
        assert state.upto is not None
        return [f for f in self._behind(state) if key(Place(f.kafka_partition, f.kafka_offset)) <= state.upto]

    def append(self, changes: Sequence[Change], state: RepairState, batch: Batch) -> None:
        self.on.audit.setdefault((state.repair_id, batch.batch_id), list(changes))

    def close(self, state: RepairState, again: Sequence[str]) -> tuple[int, int]:
        mine = set(self.on.findings[: state.version])
        trail = [c for (repair, _), changes in self.on.audit.items() if repair == state.repair_id for c in changes]
        done = {(c.step.place, c.step.kind, c.step.side) for c in trail if c.outcome is Outcome.DONE}
        at = {f: (Place(f.kafka_partition, f.kafka_offset), f.kind, f.side) for f in mine}
        self.on.closed |= {f for f in mine if at[f] in done and self.on.is_right(f)}
        self.on.diary.append("closed")
        return len(mine & self.on.closed), len(mine - self.on.closed)

    def _behind(self, state: RepairState) -> list[Finding]:
        mine = self.on.findings[: state.version]
        return [f for f in mine if key(Place(f.kafka_partition, f.kafka_offset)) > state.after]


@dataclass
class FakeLog:
    on: Platform

    def read(self) -> RepairState | None:
        return self.on.journal

    def write(self, state: RepairState) -> None:
        self.on.diary.append("noted" if state.upto is not None else "done")
        self.on.journal = state

    def remove(self) -> None:
        self.on.diary.append("forgotten")
        self.on.journal = None


AN_HOUR = timedelta(hours=1)
