"""The life of a daily index: hot, then warm (read-only, one segment per shard), then deleted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Phase(StrEnum):
    """By the age of the index's day, never of its creation. Source: spec/1 (30 days hot, warm until 90)."""

    HOT = "hot"
    WARM = "warm"
    EXPIRED = "expired"


class Action(StrEnum):
    """What brings an index to its phase."""

    BLOCK = "make read-only"
    MERGE = "merge"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Ages:
    """Whole days from an index's day on: ``hot_days`` hot, then warm until ``delete_days``."""

    hot_days: int
    delete_days: int


@dataclass(frozen=True, slots=True)
class Index:
    """A daily index as it is. ``segments``: of the shard copy with most of them; only known of a read-only one."""

    name: str
    day: date
    is_read_only: bool
    segments: int = 0


def day_of(name: str, prefix: str) -> date | None:
    """The day of a daily index; None for whatever is not exactly ``PREFIX-YYYY.MM.DD``: that one is not ours."""
    found = re.fullmatch(rf"{re.escape(prefix)}-([0-9]{{4}}\.[0-9]{{2}}\.[0-9]{{2}})", name)
    try:
        return datetime.strptime(found[1], "%Y.%m.%d").date() if found else None  # noqa: DTZ007 a day has no zone
    except ValueError:
        return None


def phase_of(day: date, today: date, ages: Ages) -> Phase:
    """The phase on the day ``today`` (UTC); a day to come is hot."""
    age = (today - day).days
    if age >= ages.delete_days:
        return Phase.EXPIRED
    return Phase.WARM if age >= ages.hot_days else Phase.HOT


def due(index: Index, today: date, ages: Ages) -> list[Action]:
    """What is to be done with an index today, in order; nothing for one that is as it must be."""
    match phase_of(index.day, today, ages):
        case Phase.HOT:
            return []
        case Phase.EXPIRED:
            return [Action.DELETE]
        case Phase.WARM if not index.is_read_only:
            return [Action.BLOCK, Action.MERGE]
        case Phase.WARM:
            return [Action.MERGE] if index.segments > 1 else []


def past_hot(indices: Iterable[Index], today: date, ages: Ages) -> list[Index]:
    """Those that no job writes to any more."""
    return [index for index in indices if phase_of(index.day, today, ages) is not Phase.HOT]
