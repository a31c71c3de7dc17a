"""What a repair is told and what it tells: pace, and what became of the findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipelines.reconcile.repair_plan import Change, Outcome

CHUNK_S = 10.0
"""With a rate, a chunk has so many seconds' worth of records."""

SHOWN_SAMPLES = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """``rate``: records a second at most, 0 for no limit. ``chunk``: records of a chunk at most."""

    rate: float
    chunk: int

    @property
    def records(self) -> int:
        """How many records the next chunk may have."""
        return self.chunk if not self.rate else min(self.chunk, max(1, round(self.rate * CHUNK_S)))


@dataclass(frozen=True, slots=True)
class Deed:
    """What changes are counted by. ``source`` is empty where no record was needed."""

    kind: str
    side: str
    action: str
    source: str
    outcome: str

    @classmethod
    def of(cls, change: Change) -> Deed:
        step = change.step
        return cls(step.kind, step.side, step.action, change.source or "", change.outcome)


@dataclass(slots=True)
class Report:
    """What a repair has done, or what a dry run says it would do.

    ``findings``: open ones when it began. ``again``: ids of the runs that looked at the touched hours at the end;
    ``closed`` and ``left``: findings closed and still open then. ``went_on``: with a repair that was cut off; what that
    had done is not counted.
    """

    repair_id: str
    run_id: str
    findings: int
    deeds: Counter[Deed] = field(default_factory=Counter)
    samples: dict[Deed, list[Change]] = field(default_factory=dict)
    records: int = 0
    chunks: int = 0
    again: list[str] = field(default_factory=list)
    closed: int = 0
    left: int = 0
    went_on: bool = False
    stopped: bool = False

    def add(self, changes: Iterable[Change]) -> None:
        """One more chunk."""
        places = set()
        for change in changes:
            deed = Deed.of(change)
            self.deeds[deed] += 1
            places.add(change.step.place)
            shown = self.samples.setdefault(deed, [])
            if len(shown) < SHOWN_SAMPLES:
                shown.append(change)
        self.records += len(places)
        self.chunks += 1

    def count(self, *outcomes: Outcome) -> int:
        """Changes with one of these outcomes."""
        return sum(number for deed, number in self.deeds.items() if deed.outcome in outcomes)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.left or self.stopped)
