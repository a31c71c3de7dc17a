"""Figures of a place: what two sides must have in common without either of them showing a record.

A place is a partition and an event hour, or a block of offsets in it. Its figures are the number of records, sums of
the numeric fields and of the content hash, and how often each value of the fields with few values occurs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

SUMMED = (
    "content_hash",
    "timestamp",
    "response_time_ms",
    "payload_size",
    "status_code",
    "kafka_offset",
    "schema_id",
    "@timestamp",
    "kafka_timestamp",
)
VALUED = ("http_method", "status_code", "api_endpoint", "warnings")
"""Of ``warnings`` every code counts; a record has none, or several."""

LARGE = ("timestamp", "@timestamp", "kafka_timestamp")
"""Fields whose sums are so large that their ends are lost."""

WHOLE = -1
"""Block of a place that is not cut into blocks."""

_EXACT = 1 << 53
_ULPS = 4
"""Elasticsearch adds doubles with compensation, shard by shard: what is left is rounding of the last places."""


class Place(NamedTuple):
    """``hour_ms``: start of the event hour, Unix time in milliseconds; ``block``: number of the block of offsets."""

    partition: int
    hour_ms: int
    block: int = WHOLE


@dataclass(frozen=True, slots=True)
class Foreign:
    """Documents that no record has: of another topic (empty: of none), or of ours without partition or offset.

    ``examples``: some of their ids.
    """

    index: str
    topic: str
    records: int
    examples: tuple[str, ...] = ()

    def told(self, topic: str) -> str:
        """A line for a person. ``topic``: ours."""
        of = f"topic {self.topic[:80]!r}, which no job has ever read" if self.topic else "no topic"
        why = "no partition or offset" if self.topic == topic else of
        ids = ", ".join(map(repr, self.examples))
        return f"{self.records:,} documents in {self.index} are of {why}, for example id {ids}"


@dataclass(slots=True)
class Figures:
    """One side. ``sums``: records, then the sums of SUMMED; ``values``: of a place and field, value → records.

    ``many``: fields with more values than are told; they say nothing.
    """

    sums: dict[Place, list[float]] = field(default_factory=dict)
    values: dict[tuple[Place, str], dict[str, int]] = field(default_factory=dict)
    many: set[str] = field(default_factory=set)

    def add(self, place: Place, records: int, sums: Iterable[float | None]) -> None:
        """Count these records too."""
        found = [records, *(s or 0 for s in sums)]
        before = self.sums.get(place)
        self.sums[place] = found if before is None else [a + b for a, b in zip(before, found, strict=True)]

    def add_value(self, place: Place, name: str, value: object, records: int) -> None:
        """Count these records under a value."""
        counts = self.values.setdefault((place, name), {})
        counts[str(value)] = counts.get(str(value), 0) + records

    def records(self, place: Place) -> int:
        """How many there are."""
        found = self.sums.get(place)
        return int(found[0]) if found else 0


def differing(table: Figures, documents: Figures) -> set[Place]:
    """Places whose figures are not the same. ``table`` has exact sums, ``documents`` those of doubles."""
    places = table.sums.keys() | documents.sums.keys()
    found = {p for p in places if not _is_same(table.sums.get(p), documents.sums.get(p))}
    told = [name for name in VALUED if name not in table.many | documents.many]
    return found | {
        p for p in places - found if any(table.values.get((p, n)) != documents.values.get((p, n)) for n in told)
    }


def is_close(exact: float, found: float) -> bool:
    """Whether ``found`` is the sum ``exact`` as doubles give it: the same below 2⁵³, else but for the last places."""
    return abs(exact - found) <= tolerance(exact)


def tolerance(exact: float) -> float:
    """What a sum of doubles may be off by."""
    return 0.0 if abs(exact) < _EXACT else _ULPS * math.ulp(float(exact))


def _is_same(exact: list[float] | None, found: list[float] | None) -> bool:
    if exact is None or found is None:
        return False
    return exact[0] == found[0] and all(is_close(a, b) for a, b in zip(exact[1:], found[1:], strict=True))


def differing_from_ledger(
    said: Mapping[tuple[int, int], tuple[int, int]], side: Figures, hours: Collection[int]
) -> set[Place]:
    """Places of these hours where a side does not hold what the ledger says: (partition, hour) → (records, hash)."""
    held = {(p.partition, p.hour_ms): (sums[0], sums[1]) for p, sums in side.sums.items()}
    places = {at for at in said.keys() | held.keys() if at[1] in hours}
    nothing = (0, 0)
    return {
        Place(*at)
        for at in places
        if (one := said.get(at, nothing))[0] != (other := held.get(at, nothing))[0] or not is_close(one[1], other[1])
    }
