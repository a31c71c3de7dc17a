"""How far a job is behind Kafka, in records and in time, and whether that is too far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one job: ``max_records`` that wait in all partitions together, ``max_age_s`` of the oldest of them."""

    max_records: int
    max_age_s: float


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """``position``: first offset that the ledger does not have.

    ``oldest_at``: Kafka timestamp of the first record that waits; None if there is none, or it has none.
    """

    partition: int
    position: int
    earliest: int
    latest: int
    oldest_at: datetime | None = None

    @property
    def records(self) -> int:
        """Offsets that wait, markers of transactions among them."""
        return self.latest - max(self.position, self.earliest)

    @property
    def gone(self) -> int:
        """Offsets that retention deleted before they were read."""
        return max(0, self.earliest - self.position)


@dataclass(frozen=True, slots=True)
class JobLag:
    """One job at the time ``now``."""

    job: str
    now: datetime
    limits: Limits
    partitions: tuple[PartitionLag, ...]

    @property
    def records(self) -> int:
        return sum(p.records for p in self.partitions)

    def age_s(self, partition: PartitionLag) -> float | None:
        """Seconds since the oldest waiting record of a partition was produced; a clock that is ahead counts as 0."""
        return None if partition.oldest_at is None else max(0.0, (self.now - partition.oldest_at).total_seconds())

    @property
    def oldest_s(self) -> float | None:
        """Seconds since the oldest waiting record of all was produced."""
        return max((age for p in self.partitions if (age := self.age_s(p)) is not None), default=None)

    @property
    def problems(self) -> list[str]:
        """What is above its limit; empty if nothing is."""
        found = [
            f"{self.job}: {p.gone:,} offsets of partition {p.partition} were deleted by Kafka before they were read"
            for p in self.partitions
            if p.gone
        ]
        if self.records > self.limits.max_records:
            found.append(f"{self.job}: {self.records:,} records wait, more than {self.limits.max_records:,}")
        oldest = self.oldest_s
        if oldest is not None and oldest > self.limits.max_age_s:
            limit = f"more than {self.limits.max_age_s:,.0f} s"
            found.append(f"{self.job}: the oldest record has waited for {oldest:,.0f} s, {limit}")
        return found
