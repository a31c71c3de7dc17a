"""Where a job stands: checkpoint, ledger and Kafka must tell the same story before it may run (law 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.errors import CheckpointLost, NotConserved, OffsetsLost, UsageError
from pipelines.flows.ports import Broker, Journal, LedgerStore, TableStore
from pipelines.records import Batch, OffsetRange

LEDGER_START, EARLIEST_START = "ledger", "earliest"


@dataclass
class Position:
    """``written``: tables that the job alone writes; a recovery takes rows out of them that were never confirmed."""

    job: str
    topic: str
    journal: Journal
    ledger: LedgerStore
    tables: TableStore
    broker: Broker
    written: Sequence[str]

    def check(self) -> dict[int, int] | None:
        """Refuse to run on a checkpoint that is gone or older than the ledger. Raises CheckpointLost."""
        confirmed = self.ledger.positions(self.job, self.topic)
        if not confirmed:
            return None
        planned = self.journal.planned_offsets(self.topic)
        if not planned:
            raise CheckpointLost(self.job, self.journal.uri, "the ledger knows this job, but its checkpoint is gone")
        behind = {p: o for p, o in confirmed.items() if o > planned.get(p, 0)}
        if behind:
            where = ", ".join(f"partition {p} at {planned.get(p, 0)} of {o}" for p, o in sorted(behind.items()))
            raise CheckpointLost(self.job, self.journal.uri, f"the checkpoint is older than the ledger: {where}")
        return None

    def recover(self, start: str) -> dict[int, int]:
        """Begin a new query where the ledger ends, or replay everything that Kafka still has (``earliest``).

        Rows behind the start are deleted first, so nothing is doubled; the old checkpoint is kept under another name.
        Returns the start offsets. Safe to repeat after a kill.
        """
        confirmed = self.ledger.positions(self.job, self.topic)
        marks = self.broker.watermarks(self.topic)
        if start == LEDGER_START:
            self._refuse_healthy(confirmed)
            starts = {p: confirmed.get(p, earliest) for p, (earliest, _) in marks.items()}
        else:
            starts = {p: earliest for p, (earliest, _) in marks.items()}
            self.ledger.delete_from(self.job, self.topic, starts)
        for table in self.written:
            self.tables.delete_from(table, starts, self.topic)
        self.journal.set_aside(datetime.now(UTC).strftime("replaced-%Y%m%dT%H%M%S"))
        return starts

    def losses(self, starts: Mapping[int, int] | None, *, accept: bool) -> list[OffsetRange]:
        """Ranges that Kafka no longer holds and nobody has read.

        Raises OffsetsLost unless they are accepted, and UsageError if there is no such topic: Spark would retry that.
        """
        marks = self.broker.watermarks(self.topic)
        unread = self.journal.next_offsets(self.topic) or dict(starts or {})
        self._refuse_recreated(unread, marks)
        lost = [
            OffsetRange(self.topic, p, offset, marks[p][0])
            for p, offset in sorted(unread.items())
            if p in marks and offset < marks[p][0]
        ]
        if lost and not accept:
            raise OffsetsLost(self.job, lost)
        return lost

    def is_confirmed(self, batch: Batch) -> bool:
        """Whether the ledger has the batch already: it was killed between ledger and checkpoint.

        Raises NotConserved if the ledger has it with other offsets.
        """
        known = self.ledger.ranges(batch.query_id, batch.batch_id)
        if known and known != sorted(batch.ranges):
            raise NotConserved(batch.query, batch.batch_id, ["the ledger has this batch with other offsets"])
        return bool(known)

    def _refuse_healthy(self, confirmed: Mapping[int, int]) -> None:
        planned = self.journal.planned_offsets(self.topic)
        if planned and all(offset <= planned.get(p, 0) for p, offset in confirmed.items()):
            raise UsageError(
                f"{self.job}: checkpoint and ledger agree, there is nothing to recover; start it without --recover"
            )

    def _refuse_recreated(self, unread: Mapping[int, int], marks: Mapping[int, tuple[int, int]]) -> None:
        ahead = [
            f"{self.topic}-{p}: read up to {o}, Kafka ends at {marks[p][1]}"
            for p, o in unread.items()
            if p in marks and o > marks[p][1]
        ]
        if ahead:
            raise UsageError(
                f"{self.job}: Kafka has fewer offsets than were read ({', '.join(ahead)}): the topic was truncated or "
                f"re-created. Point kafka.topic at a topic with a new name: coordinates must never mean two records."
            )
