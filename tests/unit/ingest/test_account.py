"""The ledger by event hour: whatever is taken out of the valid rows is taken out of their hours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingest.account import HOUR_MS, move_to_invalid
from pipelines.records import HourSum, PartitionCount

HASHES = st.integers(0, 2**32 - 1)
ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), HASHES, st.sampled_from(["valid", "twice", "refused"])))


def summed(rows: list[tuple[int, int, int, str]], partition: int, *kept: str) -> tuple[HourSum, ...]:
    hours: dict[int, list[int]] = {}
    for p, hour, content_hash, kind in rows:
        if p == partition and kind in kept:
            hours.setdefault(hour, []).append(content_hash)
    return tuple(HourSum(h * HOUR_MS, len(found), sum(found)) for h, found in sorted(hours.items()))


@given(ROWS)
def test_the_hours_hold_what_is_valid_in_the_end(rows: list[tuple[int, int, int, str]]) -> None:
    partitions = sorted({p for p, *_ in rows})
    before = [
        PartitionCount(p, sum(r[0] == p for r in rows), 1, summed(rows, p, "valid", "twice", "refused"))
        for p in partitions
    ]
    moved = [{p: summed(rows, p, kind) for p in partitions} for kind in ("twice", "refused")]
    after = move_to_invalid(before, *moved)
    for count in after:
        assert count.hours == summed(rows, count.partition, "valid")
        assert sum(h.valid for h in count.hours) == count.valid
        assert count.valid + count.invalid == sum(r[0] == count.partition for r in rows) + 1
