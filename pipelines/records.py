"""Names and small frozen values that every room shares. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LOG_FIELDS = (
    "timestamp",
    "request_id",
    "api_endpoint",
    "http_method",
    "status_code",
    "response_time_ms",
    "client_ip",
    "user_agent",
    "payload_size",
    "error_message",
)
"""The ten fields of an API6 log, in schema order (schemas/). ``timestamp`` is Unix time in milliseconds."""

OWN_COLUMNS = frozenset(
    {
        *("kafka_topic", "kafka_partition", "kafka_offset", "kafka_timestamp", "key", "value", "headers", "raw"),
        *("schema_id", "spare", "broken", "content_hash", "is_valid", "is_duplicate", "record_key", "explained"),
        *("problem", "violations", "warnings", "event_time", "date", "hour", "batch_id", "ingested_at"),
    }
)
"""Columns of the platform, in lower case: no field that a later schema adds can have such a name."""

VALID = "api6_logs_valid"
INVALID = "api6_logs_invalid"
ES_INVALID = "api6_es_invalid"
LEDGER = "ingest_ledger"
RULE_SETS = "rule_sets"
AUDIT = "badrow_audit"
RUNS = "reconciliation_runs"
FINDINGS = "reconciliation_findings"
REPAIRS = "reconciliation_audit"
RETIREMENTS = "retirements"

COMPLETE_UNTIL = "sdp.complete_until"
"""Property of VALID: the hour up to which everything is proven complete, ISO 8601 in UTC."""

DUPLICATE = "duplicate_request_id"
"""Code of the violation of a record whose ``request_id`` was stored before."""

CONFLICT = 409
"""What Elasticsearch answers to such a document."""

COORDINATES = ("kafka_topic", "kafka_partition", "kafka_offset")
"""The identity of a record (law 1)."""


class Stage(StrEnum):
    """Where a record failed: the value of ``error_type`` on an invalid row."""

    WIRE = "wire"
    DECODE = "decode"
    SCHEMA = "schema"
    RULE = "rule"
    DUPLICATE = "duplicate"
    ELASTICSEARCH = "elasticsearch"


class RowStatus(StrEnum):
    """State of an invalid row; only ``sdp badrows replay`` changes it."""

    OPEN = "open"
    REPLAYED = "replayed"
    UNRECOVERABLE = "unrecoverable"


class Outcome(StrEnum):
    """What one try of a replay made of a row: ``outcome`` of the audit trail.

    ``restored``: it was valid before, and its document was written anew.
    """

    REPLAYED = "replayed"
    RESTORED = "restored"
    STILL_INVALID = "still_invalid"
    DUPLICATE = "duplicate"
    FAILED_STEP = "failed_step"
    REJECTED = "rejected"
    UNRECOVERABLE = "unrecoverable"


class Severity(StrEnum):
    """``critical`` makes a row invalid; ``warning`` stays on a valid row."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule or failed decode step of one record; the element type of ``violations`` and ``warnings``."""

    code: str
    field: str | None
    message: str
    severity: Severity
    rule_fingerprint: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """Offsets ``[from_offset, until_offset)`` of one partition."""

    topic: str
    partition: int
    from_offset: int
    until_offset: int

    def __len__(self) -> int:
        return max(0, self.until_offset - self.from_offset)

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition} [{self.from_offset}, {self.until_offset})"


@dataclass(frozen=True, slots=True, order=True)
class HourSum:
    """Valid records of one partition and event hour: how many, and the sum of their ``content_hash``.

    ``hour_ms``: start of the hour, Unix time in milliseconds.
    """

    hour_ms: int
    valid: int
    content_hash: int


@dataclass(frozen=True, slots=True)
class PartitionCount:
    """What one batch made of one partition's records. ``hours``: the valid ones by event hour, in order of time."""

    partition: int
    valid: int
    invalid: int
    hours: tuple[HourSum, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch of one query: ``query`` is the job's name, ``query_id`` that of its checkpoint."""

    query: str
    query_id: str
    batch_id: int
    ranges: tuple[OffsetRange, ...]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One row of ``sdp.ingest_ledger``: ``len(range) == valid + invalid + gaps + lost`` (law 2).

    The ``valid`` of all ``hours`` add up to its own.
    """

    range: OffsetRange
    valid: int
    invalid: int
    gaps: int
    lost: int
    rule_set_fingerprint: str
    hours: tuple[HourSum, ...] = ()
