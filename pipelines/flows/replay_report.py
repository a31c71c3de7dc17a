"""What a replay is told and what it tells: pace, forecast, report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.badrows.verdicts import IN
from pipelines.records import Outcome

CHUNK_ROWS = 10_000
CHUNK_S = 10.0
"""With a rate, a chunk has so many seconds' worth of rows."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A row before and after the repair, as bytes."""

    partition: int
    offset: int
    outcome: str
    message: str | None
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a replay would do now. ``waiting``: rows that fit but are not confirmed by both jobs yet.

    ``outcomes``: outcome → rows. ``reasons``: code of a violation or failed step → rows that carry it.
    ``unfinished``: name of the recipe whose replay was cut off and will be finished. ``goes_on``: it is this one.
    """

    matching: int
    waiting: int
    outcomes: dict[str, int]
    reasons: dict[str, int]
    samples: tuple[Sample, ...]
    unfinished: str | None = None
    goes_on: bool = False

    @property
    def would_be_valid(self) -> int:
        return self.outcomes.get(Outcome.REPLAYED, 0)


@dataclass(frozen=True, slots=True)
class Pace:
    """``canary``: rows of the first chunk. ``rate``: rows a second at most, 0 for no limit."""

    canary: int = 100
    rate: float = 0
    chunk_rows: int = CHUNK_ROWS
    keep_going: bool = False

    def rows(self, chunk: int) -> int:
        """How many rows this chunk may have."""
        limit = self.chunk_rows if not self.rate else min(self.chunk_rows, max(1, round(self.rate * CHUNK_S)))
        return min(limit, self.canary) if chunk == 0 and self.canary else limit


@dataclass(slots=True)
class Report:
    """What a replay has done: rows by outcome, and how it ended.

    ``broken_promises``: rows that were valid by schema and rules and did not get in. ``went_on``: with one that was
    cut off; what that had done already is not counted here.
    """

    replay_id: str
    outcomes: Counter[str] = field(default_factory=Counter)
    chunks: int = 0
    broken_promises: int = 0
    stopped_after_canary: bool = False
    stopped: bool = False
    went_on: bool = False

    def add(self, outcomes: Mapping[str, int], promised: int) -> None:
        """One more chunk is done."""
        self.outcomes.update(outcomes)
        self.chunks += 1
        self.broken_promises += promised - sum(outcomes.get(name, 0) for name in IN)

    @property
    def rows(self) -> int:
        return sum(self.outcomes.values())

    @property
    def got_in(self) -> int:
        return sum(self.outcomes[name] for name in IN)
