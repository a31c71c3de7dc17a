"""Turn the counts of a batch into ledger entries, or refuse (law 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.errors import NotConserved, OffsetsLost
from pipelines.flows.ports import Broker
from pipelines.ingest.account import missing
from pipelines.records import Batch, LedgerEntry, OffsetRange, PartitionCount


@dataclass(frozen=True)
class Balance:
    """``accepted``: ranges that the operator declared lost with ``--accept-loss``."""

    broker: Broker
    rule_set_fingerprint: str
    accepted: Sequence[OffsetRange] = field(default=())

    def entries(self, batch: Batch, counts: Sequence[PartitionCount]) -> list[LedgerEntry]:
        """One entry per partition.

        An offset without a row must be accepted as lost or be no record at all: a second read of the same range gives
        as many records as the first. Raises NotConserved or OffsetsLost.
        """
        lacking = missing(batch.ranges, counts)
        by_partition = {c.partition: c for c in counts}
        lost = {r.partition: self._lost_in(r) for r in batch.ranges}
        gaps = {p: lacking.get(p, 0) - lost.get(p, 0) for p in sorted(lacking.keys() | lost.keys())}
        self._refuse_unexplained(batch, gaps, by_partition)
        return [
            self._entry(r, by_partition.get(r.partition), gaps.get(r.partition, 0), lost[r.partition])
            for r in batch.ranges
        ]

    def _refuse_unexplained(self, batch: Batch, gaps: Mapping[int, int], counts: Mapping[int, PartitionCount]) -> None:
        excess = [f"partition {p} has {-n} rows too many" for p, n in gaps.items() if n < 0]
        if excess:
            raise NotConserved(batch.query, batch.batch_id, excess)
        suspect = [r for r in batch.ranges if gaps.get(r.partition)]
        if not suspect:
            return
        self._refuse_lost(batch, suspect)
        again = self.broker.recount(suspect)
        seen = {p: c.valid + c.invalid for p, c in counts.items()}
        differing = [
            f"{r}: {seen.get(r.partition, 0)} rows, but a second read gives {again.get(r.partition, 0)}"
            for r in suspect
            if again.get(r.partition, 0) != seen.get(r.partition, 0)
        ]
        if differing:
            raise NotConserved(batch.query, batch.batch_id, differing)

    def _refuse_lost(self, batch: Batch, suspect: Sequence[OffsetRange]) -> None:
        marks = self.broker.watermarks(suspect[0].topic)
        gone = [
            OffsetRange(r.topic, r.partition, start, until)
            for r in suspect
            if (start := r.from_offset + self._lost_in(r)) < (until := min(r.until_offset, marks[r.partition][0]))
        ]
        if gone:
            raise OffsetsLost(batch.query, gone)

    def _lost_in(self, r: OffsetRange) -> int:
        return sum(
            len(
                OffsetRange(
                    r.topic, r.partition, max(r.from_offset, a.from_offset), min(r.until_offset, a.until_offset)
                )
            )
            for a in self.accepted
            if (a.topic, a.partition) == (r.topic, r.partition)
        )

    def _entry(self, r: OffsetRange, count: PartitionCount | None, gaps: int, lost: int) -> LedgerEntry:
        found = count or PartitionCount(r.partition, 0, 0)
        return LedgerEntry(r, found.valid, found.invalid, gaps, lost, self.rule_set_fingerprint, found.hours)
