"""Groups of bad rows as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class By(StrEnum):
    """What rows can be grouped by."""

    REASON = "reason"
    ENDPOINT = "endpoint"
    HOUR = "hour"
    STAGE = "stage"
    PARTITION = "partition"
    SCHEMA = "schema"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that have one thing in common. ``trend``: how many of them in each equal part of the time looked at."""

    key: str
    count: int
    share: float
    trend: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """The largest groups, and what the others have together."""

    by: By
    groups: tuple[Group, ...]
    others: int
    other_rows: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Bad rows that Kafka got in ``[since, until)``."""

    since: datetime
    until: datetime
    total: int
    by: tuple[Groups, ...]
