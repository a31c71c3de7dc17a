"""A repair that is under way: all that it takes to finish it after a kill, as one small JSON object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

BEGINNING = -1
"""Below the key of every record."""


@dataclass(frozen=True, slots=True)
class RepairState:
    """``asked``: the run as it was asked for, ``run_id`` the one that was meant, ``deep``: whether that one looked at
    more than figures, as the proof must then. ``version``: of the table of findings, from which the whole repair takes
    them, whatever is found or closed meanwhile.

    ``after``: key of the last record that is done. ``upto``: where the chunk ends that was begun; None between chunks.
    ``hours``: event hours that were changed, in seconds since 1970.
    """

    repair_id: str
    topic: str
    asked: str
    run_id: str
    deep: bool
    version: int
    who: str
    delete_extras: bool
    chunk: int = 0
    after: int = BEGINNING
    upto: int | None = None
    hours: tuple[int, ...] = ()

    def begun(self, upto: int) -> RepairState:
        """The next chunk reaches up to this key."""
        return replace(self, upto=upto)

    def done(self, hours: set[datetime]) -> RepairState:
        """The chunk that was begun is finished; these hours it has changed."""
        assert self.upto is not None
        changed = tuple(sorted({*self.hours, *(int(hour.timestamp()) for hour in hours)}))
        return replace(self, chunk=self.chunk + 1, after=self.upto, upto=None, hours=changed)

    def is_same_command(self, other: RepairState) -> bool:
        """Whether both come from the same call: who goes on with a repair need not be who began it."""
        mine = (self.topic, self.asked, self.delete_extras)
        return mine == (other.topic, other.asked, other.delete_extras)

    def as_json(self) -> dict[str, Any]:
        """What ``from_json`` makes the same state of."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> RepairState:
        return cls(**{**found, "hours": tuple(found["hours"])})
