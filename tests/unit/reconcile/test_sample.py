"""A sample can be drawn again, and holds what it may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.reconcile.sample import chosen
from pipelines.records import OffsetRange

RANGES = st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 50)), max_size=6).map(
    lambda pairs: [OffsetRange("logs", p, start, start + n) for p, (start, n) in enumerate(pairs)]
)


@given(RANGES, st.integers(0, 100), st.integers(0, 5))
def test_a_sample_is_of_the_ranges_without_repetition(ranges: list[OffsetRange], number: int, seed: int) -> None:
    found = chosen(ranges, number, seed)
    there = {(r.partition, o) for r in ranges for o in range(r.from_offset, r.until_offset)}
    assert set(found) <= there
    assert len(set(found)) == len(found) == min(number, len(there))
    assert chosen(list(reversed(ranges)), number, seed) == found


def test_another_seed_draws_other_records() -> None:
    ranges = [OffsetRange("logs", 0, 0, 10_000)]
    assert chosen(ranges, 20, 1) != chosen(ranges, 20, 2)
