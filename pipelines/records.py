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

VALID = "api6_logs_valid"
INVALID = "api6_logs_invalid"
ES_INVALID = "api6_es_invalid"
LEDGER = "ingest_ledger"

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


@dataclass(frozen=True, slots=True)
class PartitionCount:
    """What one batch made of one partition's records."""

    partition: int
    valid: int
    invalid: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch of one query: ``query`` is the job's name, ``query_id`` that of its checkpoint."""

    query: str
    query_id: str
    batch_id: int
    ranges: tuple[OffsetRange, ...]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One row of ``sdp.ingest_ledger``: ``len(range) == valid + invalid + gaps + lost`` (law 2)."""

    range: OffsetRange
    valid: int
    invalid: int
    gaps: int
    lost: int
    rule_set_fingerprint: str
