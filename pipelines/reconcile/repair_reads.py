"""Which ranges to read so that few records come along that nobody asked for. No Spark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from pipelines.reconcile.repair_plan import Place
from pipelines.records import OffsetRange

READS = 8
"""One read takes one range of each partition and costs about as much as some 100,000 records."""


def reads(topic: str, places: Iterable[Place], at_most: int = READS) -> list[list[OffsetRange]]:
    """Ranges that hold all places, in at most so many reads: each partition is cut at its widest gaps."""
    offsets: dict[int, list[int]] = {}
    for place in sorted(set(places)):
        offsets.setdefault(place.partition, []).append(place.offset)
    runs = {p: [OffsetRange(topic, p, run[0], run[-1] + 1) for run in _runs(o, at_most)] for p, o in offsets.items()}
    most = max(map(len, runs.values()), default=0)
    return [[r[n] for r in runs.values() if n < len(r)] for n in range(most)]


def _runs(offsets: Sequence[int], at_most: int) -> list[Sequence[int]]:
    gaps = [(after - before, at) for at, (before, after) in enumerate(pairwise(offsets), 1)]
    widest = sorted((gap for gap in gaps if gap[0] > 1), reverse=True)[: at_most - 1]
    cuts = [0, *sorted(at for _, at in widest), len(offsets)]
    return [offsets[begin:end] for begin, end in pairwise(cuts)]
