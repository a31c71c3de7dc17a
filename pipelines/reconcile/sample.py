"""A random sample that anybody can draw again: the same seed and the same ranges give the same records."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pipelines.records import OffsetRange


def chosen(ranges: Sequence[OffsetRange], number: int, seed: int) -> tuple[tuple[int, int], ...]:
    """``number`` coordinates (partition, offset), each as probable as any other; fewer if there are not so many."""
    ordered = sorted(r for r in ranges if len(r))
    total = sum(map(len, ordered))
    picked = sorted(random.Random(seed).sample(range(total), min(number, total)))
    found, at, start = [], 0, 0
    for r in ordered:
        while at < len(picked) and picked[at] < start + len(r):
            found.append((r.partition, r.from_offset + picked[at] - start))
            at += 1
        start += len(r)
    return tuple(found)
