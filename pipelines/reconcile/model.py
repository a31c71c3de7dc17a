"""What a reconciliation says: a run, its hours, its findings. Tables and reports are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

INVESTIGATE_FROM = 0.001
ESCALATE_ABOVE = 0.01
"""Shares of discrepant records. Source: spec/1."""


class Side(StrEnum):
    """Where a record is looked for. ``valid`` and ``invalid`` are the tables of ``ingest``."""

    KAFKA = "kafka"
    TABLE = "valid"
    INVALID = "invalid"
    ELASTICSEARCH = "elasticsearch"


class Kind(StrEnum):
    """What is wrong with one record on one side."""

    MISSING = "missing"
    EXTRA = "extra"
    DOUBLED = "doubled"
    DIFFERS = "differs"
    MISPLACED = "misplaced"
    """The document is there, in another day's index than its timestamp says."""
    ACCOUNTED_AS_INVALID = "accounted_as_invalid"
    """One job stored it, the other one refused it and says why: explained, no discrepancy."""


class FindingState(StrEnum):
    """``gone``: a later run looked again and found nothing wrong, without a repair of ours."""

    OPEN = "open"
    EXPLAINED = "explained"
    REPAIRED = "repaired"
    GONE = "gone"


class Verdict(StrEnum):
    """Of a run, in order of severity. Source: spec/1 (0.1 % and 1 %), issue of the nightly proof (warning)."""

    OK = "ok"
    WARNING = "warning"
    """Below the thresholds, but at least one record is lost without an explanation."""
    INVESTIGATE = "investigate"
    ESCALATE = "escalate"


class RunState(StrEnum):
    """``failed``: infrastructure was away; such a run says nothing about the data."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One record that is not the same everywhere: a row of ``reconciliation_findings``.

    ``side``: where it is wrong. ``field``, ``expected``, ``found``: for ``differs``, the values as text, personal ones
    masked. ``es_index``, ``es_id``: the document, where there is one. ``hour``: event hour, UTC.
    Identity: topic, partition, offset, kind, side, field, es_index, es_id.
    """

    run_id: str
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int
    request_id: str | None
    kind: Kind
    side: Side
    hour: datetime
    first_seen: datetime
    field: str | None = None
    expected: str | None = None
    found: str | None = None
    es_index: str | None = None
    es_id: str | None = None
    reason: str | None = None
    """One line for a person: why, as far as it is known."""
    state: FindingState = FindingState.OPEN
    closed_at: datetime | None = None
    closed_by: str | None = None
    """Id of the repair or the run that closed it."""


@dataclass(frozen=True, slots=True)
class HourCounts:
    """One event hour on all sides, all partitions together: records. ``ledger_*``: what the jobs said they stored.

    ``invalid``: rows that ``ingest`` refused with a Kafka timestamp in this hour. ``discrepant``: records with an open
    finding.
    """

    hour: datetime
    ledger_ingest: int
    table: int
    ledger_index: int
    documents: int
    invalid: int = 0
    discrepant: int = 0


@dataclass(frozen=True, slots=True)
class OffsetsCheck:
    """Kafka and ledger of one job and partition: the ledger must cover every offset exactly once.

    ``earliest``, ``latest``: Kafka's own; ``covered``: offsets that the ledger accounts for; ``uncovered`` and
    ``doubled``: offsets between first and last that no batch, or more than one, has; ``lost``: accepted as lost.
    """

    job: str
    partition: int
    earliest: int
    latest: int
    first: int
    until: int
    covered: int
    uncovered: int
    doubled: int
    lost: int


@dataclass(frozen=True, slots=True)
class OpenFindings:
    """Those of one event hour: how many, and the run that saw the last of them."""

    findings: int
    last_run_id: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Findings of one run. ``kinds``: (kind, side, findings); ``by_hour``: hour → records with an open finding.

    ``discrepant``, ``lost``: as in a run.
    """

    discrepant: int = 0
    lost: int = 0
    by_hour: Mapping[datetime, int] = field(default_factory=dict)
    kinds: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One reconciliation: a row of ``reconciliation_runs``.

    ``window_from``, ``window_until``: event time, whole hours, UTC, the end excluded. ``records``: distinct records
    that should be there. ``discrepant``: records with an open finding; ``lost``: those of them that are missing on a
    side without an explanation. ``share``: discrepant ÷ records, 0 for no records. ``notes``: what a reader must know,
    for example that Kafka's retention has eaten a part of the window and the ledger stands for it.
    """

    run_id: str
    topic: str
    started_at: datetime
    finished_at: datetime | None
    window_from: datetime
    window_until: datetime
    state: RunState
    verdict: Verdict | None
    records: int = 0
    discrepant: int = 0
    lost: int = 0
    deep: bool = False
    sampled: int = 0
    seed: int | None = None
    complete_until: datetime | None = None
    """The completeness watermark after this run."""
    hours: tuple[HourCounts, ...] = ()
    offsets: tuple[OffsetsCheck, ...] = ()
    kinds: tuple[tuple[str, str, int], ...] = ()
    """(kind, side, findings), most first."""
    notes: tuple[str, ...] = ()
    failure: str | None = None
    settled_until: datetime | None = None
    """Hours of the window up to here can count as proven; the others were still being written."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Step → wall seconds."""

    @property
    def share(self) -> float:
        """Discrepant records of all that should be there."""
        return self.discrepant / self.records if self.records else float(self.discrepant > 0)

    @property
    def adds_up(self) -> bool:
        """Whether the ledger covers every offset once."""
        return not any(o.uncovered or o.doubled for o in self.offsets)


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier runs leave to the next one. ``proven``: windows that done runs looked at when they were settled.

    ``before``: the run with the id of the next one, if there is one. ``last``: when the last done run began,
    ``settled``: up to where hours were settled then, ``complete_until``: the watermark after it. ``had_findings``:
    whether any run ever had one.
    """

    proven: tuple[tuple[datetime, datetime], ...] = ()
    before: Run | None = None
    last: datetime | None = None
    settled: datetime | None = None
    complete_until: datetime | None = None
    had_findings: bool = False
