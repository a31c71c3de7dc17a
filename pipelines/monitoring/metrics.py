"""What Prometheus sees of a job: the records of every batch that it confirmed. docs/metrics.md lists the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

from pipelines.contracts.avro_walk import DecodeProblem
from pipelines.records import Batch, LedgerEntry

_CONFIRMED = ("ledger_written", "done")
"""Steps that come only once the ledger has the batch. ``done`` also comes where a try failed behind the ledger."""

_JOB, _CODE = "job", "code"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the newest try made of a batch. ``invalid``: code → records."""

    batch: Batch
    valid: int
    invalid: Mapping[str, int]


class JobMetrics:
    """Counts what became of the records of one job's batches; each batch once, however often it is tried.

    A batch that an earlier process confirmed is not counted: counters start from zero with the process.
    ``registry``: where the metrics are shown; one of their own unless given.
    """

    def __init__(self, job: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._job = job
        self._pending: _Outcome | None = None
        self._counted: dict[str, int] = {}  # query id → newest batch that is counted; the ids of a query only grow
        read = Counter("sdp_records_read", "Records of confirmed batches", [_JOB], registry=self.registry)
        valid = Counter("sdp_records_valid", "Records that are valid", [_JOB], registry=self.registry)
        self._invalid = Counter(
            "sdp_records_invalid",
            "Records that are invalid, by the code of their first critical violation",
            [_JOB, _CODE],
            registry=self.registry,
        )
        self._refused = Gauge(
            "sdp_last_batch_refused_ratio",
            "Invalid of all records of the last confirmed batch, 0 to 1",
            [_JOB],
            registry=self.registry,
        )
        self._read, self._valid = read.labels(job), valid.labels(job)
        for problem in DecodeProblem:  # there from the start: increase() does not see a counter that begins at 3
            self._invalid.labels(job, problem.value)

    def outcome(self, batch: Batch, entries: Sequence[LedgerEntry], reasons: Mapping[str, int]) -> None:
        """Take note of what a try made of the batch; it counts once a step says that the ledger has it."""
        self._pending = _Outcome(batch, sum(e.valid for e in entries), dict(reasons))

    def step(self, step: str, batch: Batch) -> None:
        """Count the batch if this step confirms it and it was not counted before."""
        found = self._pending
        if step not in _CONFIRMED or found is None or found.batch != batch:
            return
        self._pending = None
        if batch.batch_id > self._counted.get(batch.query_id, -1):
            self._counted[batch.query_id] = batch.batch_id
            self._count(found)

    def _count(self, found: _Outcome) -> None:
        refused = sum(found.invalid.values())
        records = found.valid + refused
        self._valid.inc(found.valid)
        for code, rows in found.invalid.items():
            self._invalid.labels(self._job, code).inc(rows)
        self._refused.labels(self._job).set(refused / records if records else 0.0)
        self._read.inc(records)  # last: who sees it there sees the others too
