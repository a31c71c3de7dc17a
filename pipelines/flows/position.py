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
        """Refuse to run on a checkpoint that is gone, older than the ledger, or of another topic.

        Raises CheckpointLost, UsageError.
        """
        self._refuse_other_topics()
        confirmed = self.ledger.positions(self.job, self.topic)
        planned = self.journal.planned_offsets(self.topic)
        if not planned:
            self._refuse_traces(confirmed)
            return None
        behind = {p: o for p, o in confirmed.items() if o > planned.get(p, 0)}
        if behind:
            where = ", ".join(f"partition {p} at {planned.get(p, 0)} of {o}" for p, o in sorted(behind.items()))
            raise CheckpointLost(self.job, self.journal.uri, f"the checkpoint is older than the ledger: {where}")
        return None

    def recover(self, start: str, *, accept_loss: bool = False) -> dict[int, int]:
        """Begin a new query where the ledger ends, or replay every batch that Kafka still has whole (``earliest``).

        Rows behind the start are deleted first, so nothing is doubled; the old checkpoint is kept under another name.
        Returns the start offsets. Safe to repeat after a kill: checkpoint, ledger, tables is the order in which a plain
        start refuses and both recoveries find the way.
        """
        confirmed = self.ledger.positions(self.job, self.topic)
        earliest = {p: marks[0] for p, marks in self.broker.watermarks(self.topic).items()}
        if start == LEDGER_START:
            self._refuse_healthy(confirmed)
            starts = {p: confirmed.get(p, offset) for p, offset in earliest.items()}
            self._refuse_losses(starts, earliest, "--recover --accept-loss" if not accept_loss else None)
        else:
            boundaries = self.ledger.starts_from(self.job, self.topic, earliest)
            starts = {p: boundaries.get(p, confirmed.get(p, offset)) for p, offset in earliest.items()}
        self.journal.set_aside(datetime.now(UTC).strftime("replaced-%Y%m%dT%H%M%S"))
        if start == EARLIEST_START:
            self.ledger.delete_from(self.job, self.topic, starts)
        for table in self.written:
            self.tables.delete_from(table, starts, self.topic)
        return starts

    def losses(self, starts: Mapping[int, int] | None, *, accept: bool) -> list[OffsetRange]:
        """Ranges that Kafka no longer holds and nobody has read.

        Raises OffsetsLost unless they are accepted, and UsageError if there is no such topic: Spark would retry that.
        """
        marks = self.broker.watermarks(self.topic)
        unread = self.journal.next_offsets(self.topic) or dict(starts or {})
        self._refuse_recreated(unread, marks)
        return self._refuse_losses(unread, {p: m[0] for p, m in marks.items()}, None if accept else "--accept-loss")

    def is_confirmed(self, batch: Batch) -> bool:
        """Whether the ledger has the batch already: it was killed between ledger and checkpoint.

        Raises NotConserved if the ledger has it with other offsets.
        """
        known = self.ledger.ranges(batch.query_id, batch.batch_id)
        if known and known != sorted(batch.ranges):
            raise NotConserved(batch.query, batch.batch_id, ["the ledger has this batch with other offsets"])
        return bool(known)

    def _refuse_other_topics(self) -> None:
        """Spark would take it for lost data, after it has written offsets of the new topic into the old checkpoint."""
        others = self.journal.topics() - {self.topic}
        if others:
            raise UsageError(
                f"{self.job}: the checkpoint {self.journal.uri} belongs to the topic {', '.join(sorted(others))}, not "
                f"{self.topic}. Nothing was read or written. Give `checkpoints` a new place, or run "
                f"`sdp run {self.job} --recover`: it puts this one aside and reads {self.topic} from its oldest offset."
            )

    def _refuse_traces(self, confirmed: Mapping[int, int]) -> None:
        """A job without a checkpoint must be new: neither the ledger nor a table of its own may know it."""
        if confirmed:
            raise CheckpointLost(self.job, self.journal.uri, "the ledger knows this job, but its checkpoint is gone")
        for table in self.written:
            if self.tables.holds(table, self.topic):
                why = f"{table} holds rows of {self.topic} that the ledger never confirmed, and the checkpoint is gone"
                raise CheckpointLost(self.job, self.journal.uri, why)

    def _refuse_losses(
        self, unread: Mapping[int, int], earliest: Mapping[int, int], way_out: str | None
    ) -> list[OffsetRange]:
        lost = [
            OffsetRange(self.topic, p, offset, earliest[p])
            for p, offset in sorted(unread.items())
            if p in earliest and offset < earliest[p]
        ]
        if lost and way_out:
            raise OffsetsLost(self.job, lost, way_out)
        return lost

    def _refuse_healthy(self, confirmed: Mapping[int, int]) -> None:
        planned = self.journal.planned_offsets(self.topic)
        if planned and all(offset <= planned.get(p, 0) for p, offset in confirmed.items()):
            raise UsageError(
                f"{self.job}: checkpoint and ledger agree, there is nothing to recover; start it without --recover"
            )

    def _refuse_recreated(self, unread: Mapping[int, int], marks: Mapping[int, tuple[int, int]]) -> None:
        ahead = [
            f"{self.topic}-{p}: read up to {o}, Kafka ends at {marks.get(p, (0, 0))[1]}"
            for p, o in unread.items()
            if o > marks.get(p, (0, 0))[1]
        ]
        if ahead:
            raise UsageError(
                f"{self.job}: Kafka has fewer offsets than were read ({', '.join(ahead)}): the topic was truncated or "
                f"re-created. Point kafka.topic at a topic with a new name, and checkpoints at a new place: "
                f"coordinates must never mean two records."
            )
