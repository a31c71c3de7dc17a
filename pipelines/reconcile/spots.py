"""Where records are compared: whole places, blocks of offsets, windows, or single coordinates; said to both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.reconcile.figures import Place
from pipelines.reconcile.hours import HOUR, Window, from_ms, in_ms
from pipelines.reconcile.rows import HOUR_MS, within

PARTITION_BITS = 12
MOST_CLAUSES = 500
"""Of a query; beyond that a coarser one reads more, and the rest is dropped afterwards."""


@dataclass(frozen=True)
class Spots:
    """``block_size``: offsets of a block. ``strays``: indices that may hold documents of other days."""

    block_size: int
    whole: frozenset[Place] = frozenset()
    blocks: frozenset[tuple[int, int]] = frozenset()
    windows: tuple[Window, ...] = ()
    strays: frozenset[str] = frozenset()
    points: frozenset[tuple[int, int]] = frozenset()

    def of_rows(self) -> Column:
        """Rows of the valid table, in words that prune partitions and files."""
        parts = [within(w) for w in self.windows]
        if self.whole:
            hours = [from_ms(p.hour_ms) for p in self.whole]
            parts.append(within((min(hours), max(hours) + HOUR)) & _is_one_of(_key(_hour()), self._hours()))
        return _any([*parts, *self._by_offsets()])

    def of_documents(self) -> Column:
        """The same for documents, whose hour is that of their ``timestamp``."""
        moment = F.col("timestamp")
        parts = [(moment >= in_ms(w[0])) & (moment < in_ms(w[1])) for w in self.windows]
        if self.whole:
            parts.append(_is_one_of(_key(_hour()), self._hours()))
        return _any([*parts, *self._by_offsets()])

    def query(self, topic: str, stray: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """What Elasticsearch is asked for: these documents, and perhaps more."""
        ranges = list(_merged(self.blocks))
        if len(ranges) + len(self.whole) + len(self.points) > MOST_CLAUSES:
            clauses = list(self._coarse())
        else:
            clauses = [_cell(p) for p in sorted(self.whole)]
            clauses += [_offsets(p, start * self.block_size, end * self.block_size) for p, start, end in ranges]
            clauses += [_offsets(p, o, o + 1) for p, o in sorted(self.points)]
        clauses += [_moments(in_ms(w[0]), in_ms(w[1])) for w in self.windows]
        clauses += [stray(name) for name in sorted(self.strays)]
        return {"bool": {"filter": [{"term": {"kafka_topic": topic}}], "should": clauses, "minimum_should_match": 1}}

    def _coarse(self) -> Iterator[dict[str, Any]]:
        if self.whole:
            hours = [p.hour_ms for p in self.whole]
            yield _moments(min(hours), max(hours) + HOUR_MS)
        spots = [(p, b * self.block_size, (b + 1) * self.block_size) for p, b in self.blocks]
        spots += [(p, o, o + 1) for p, o in self.points]
        for partition in sorted({p for p, _, _ in spots}):
            of_it = [(start, end) for p, start, end in spots if p == partition]
            yield _offsets(partition, min(s for s, _ in of_it), max(e for _, e in of_it))

    def _hours(self) -> list[int]:
        return [((p.hour_ms // HOUR_MS) << PARTITION_BITS) + p.partition for p in self.whole]

    def _by_offsets(self) -> list[Column]:
        parts, offset = [], F.col("kafka_offset")
        if self.blocks:
            block = F.floor(offset / self.block_size)
            ends = [b for _, b in self.blocks]
            near = (offset >= min(ends) * self.block_size) & (offset < (max(ends) + 1) * self.block_size)
            parts.append(near & _is_one_of(_key(block), [(b << PARTITION_BITS) + p for p, b in self.blocks]))
        if self.points:
            offsets = [o for _, o in self.points]
            near = offset.between(min(offsets), max(offsets))
            parts.append(near & _is_one_of(_key(offset), [(o << PARTITION_BITS) + p for p, o in self.points]))
        return parts


def _any(parts: Iterable[Column]) -> Column:
    return reduce(lambda one, other: one | other, parts, F.lit(False))


def _is_one_of(key: Column, keys: list[int]) -> Column:
    return key.isin(sorted(keys))


def _hour() -> Column:
    return F.floor(F.col("timestamp") / HOUR_MS)


def _key(number: Column) -> Column:
    return F.shiftleft(number.cast("bigint"), PARTITION_BITS) + F.col("kafka_partition").cast("bigint")


def _merged(blocks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Partition, first block and the one behind the last, of blocks that follow each other."""
    current: tuple[int, int, int] | None = None
    for partition, block in sorted(blocks):
        if current is not None and current[0] == partition and current[2] == block:
            current = (partition, current[1], block + 1)
            continue
        if current is not None:
            yield current
        current = (partition, block, block + 1)
    if current is not None:
        yield current


def _cell(place: Place) -> dict[str, Any]:
    here = {"term": {"kafka_partition": place.partition}}
    return {"bool": {"filter": [here, _moments(place.hour_ms, place.hour_ms + HOUR_MS)]}}


def _offsets(partition: int, start: int, end: int) -> dict[str, Any]:
    within_them = {"range": {"kafka_offset": {"gte": start, "lt": end}}}
    return {"bool": {"filter": [{"term": {"kafka_partition": partition}}, within_them]}}


def _moments(start: int, end: int) -> dict[str, Any]:
    return {"range": {"timestamp": {"gte": start, "lt": end}}}
