"""How far both jobs are behind Kafka: positions from the ledger, ages from the records that wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.maintenance.lag import JobLag, Limits, PartitionLag

JOBS = ("ingest", "index")


@dataclass(frozen=True)
class Lag:
    """``positions``: of a job, by Kafka partition; ``watermarks``: (earliest, next) offset.

    ``oldest``: Kafka timestamp of the first record at or behind each offset; None if there is none, or it has none.
    """

    positions: Callable[[str], Mapping[int, int]]
    watermarks: Callable[[], Mapping[int, tuple[int, int]]]
    oldest: Callable[[Mapping[int, int]], Mapping[int, datetime | None]]
    limits: Limits

    def __call__(self, now: datetime, jobs: Sequence[str] = JOBS) -> list[JobLag]:
        """Positions are read before the ends of the topic, so that no lag is negative. Raises BrokerUnavailable."""
        at = {job: self.positions(job) for job in jobs}
        marks = self.watermarks()
        return [self._of(job, at[job], marks, now) for job in jobs]

    def _of(self, job: str, at: Mapping[int, int], marks: Mapping[int, tuple[int, int]], now: datetime) -> JobLag:
        starts = {p: at.get(p, earliest) for p, (earliest, _) in marks.items()}
        waiting = {p: max(starts[p], earliest) for p, (earliest, latest) in marks.items() if starts[p] < latest}
        oldest = self.oldest(waiting) if waiting else {}
        found = (PartitionLag(p, starts[p], *marks[p], oldest.get(p)) for p in sorted(marks))
        return JobLag(job, now, self.limits, tuple(found))
