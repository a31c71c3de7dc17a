"""Rows and documents that were removed because of their age, so that sums over all time still add up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

DOCUMENTS = "documents"
"""The store of retired indices; the other stores are tables, by name."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is retired as a whole: a day of a table (ISO date), of one ``status`` if it has any, or an index (name)."""

    name: str
    status: str | None = None

    @property
    def day(self) -> date:
        """The day it is of, as its name ends with it."""
        return date.fromisoformat(self.name[-10:].replace(".", "-"))


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of a unit that came from one Kafka partition."""

    unit: Unit
    topic: str
    partition: int
    rows: int


@dataclass(frozen=True, slots=True)
class Retired:
    """Rows of one Kafka partition that are gone from a store for their age; ``replayed``: those of that status."""

    rows: int = 0
    replayed: int = 0


def first_kept_day(today: date, days: int) -> date:
    """Of what is kept for ``days`` whole days after its own."""
    return today - timedelta(days=days)
