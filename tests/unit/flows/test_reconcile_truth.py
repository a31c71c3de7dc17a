"""Kafka is read in as few and as short ranges as the wanted records allow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.flows.reconcile_truth import MOST_READS, rounds
from pipelines.records import OffsetRange

RANGES = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=80).map(
    lambda spots: [OffsetRange("logs", p, n * 100, n * 100 + 7) for p, n in sorted(spots)]
)


@given(RANGES)
def test_every_range_is_read_and_no_partition_twice_at_once(ranges: list[OffsetRange]) -> None:
    reads = rounds(ranges)
    assert len(reads) <= MOST_READS
    for read in reads:
        assert len({r.partition for r in read}) == len(read)
    for r in ranges:
        covering = [
            x
            for read in reads
            for x in read
            if x.partition == r.partition and x.from_offset <= r.from_offset and r.until_offset <= x.until_offset
        ]
        assert len(covering) == 1
