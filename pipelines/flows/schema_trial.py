"""What a proposed version of the log schema would do: against the registered versions, and to recent records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame

from pipelines.contracts.compatibility import Problem
from pipelines.contracts.proposal import ColumnChange, Proposal, propose
from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import LogSchema
from pipelines.errors import RegistryUnavailable, Unavailable, innermost_cause
from pipelines.ingest.trial import SAMPLES, sample_coordinates, trial
from pipelines.records import OffsetRange


class Versions(Protocol):
    """The registry, as a proposal needs it. Every call raises RegistryUnavailable."""

    def snapshot(self, subject: str) -> dict[int, str]: ...
    def compatibility(self, subject: str) -> str: ...
    def test_compatibility(self, subject: str, avsc: str) -> bool: ...


class RecentRecords(Protocol):
    """Kafka, as a proposal needs it."""

    def between(self, topic: str, since: datetime, until: datetime) -> Sequence[OffsetRange]: ...
    def read(self, ranges: Sequence[OffsetRange]) -> DataFrame: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """The registered versions' side. ``level``: the compatibility that the registry holds the subject to.

    ``misfit``: see ``Proposal``.
    """

    registered: tuple[int, ...]
    incompatible: Mapping[int, tuple[Problem, ...]]
    level: str
    registry_accepts: bool
    changes: tuple[ColumnChange, ...]
    misfit: str | None = None

    @property
    def is_compatible(self) -> bool:
        return self.registry_accepts and not self.incompatible and self.misfit is None


@dataclass(frozen=True, slots=True)
class Count:
    """Records that carry one schema id; None stands for every id that is not registered, and for none."""

    schema_id: int | None
    records: int
    decode_today: int
    would_decode: int
    newly_rejected: int
    newly_accepted: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """Records that are valid today and would not be. ``samples``: up to three of them, as (partition, offset)."""

    schema_id: int | None
    reason: str
    records: int
    samples: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """The records' side: ``counts`` by schema id, ``rejections`` with the largest first."""

    ranges: tuple[OffsetRange, ...]
    counts: tuple[Count, ...] = ()
    rejections: tuple[Rejection, ...] = ()

    @property
    def newly_rejected(self) -> int:
        return sum(count.newly_rejected for count in self.counts)


@dataclass(frozen=True)
class SchemaTrial:
    """Holds one proposed version against the registry and the topic; changes neither. ``base``: what tables are for."""

    subject: str
    topic: str
    base: LogSchema
    rules: RuleSet
    versions: Versions
    records: Callable[[], RecentRecords]
    registry_url: str

    def proposal(self, version: LogSchema) -> Proposal:
        """The version beside the registered ones. Raises RegistryUnavailable when there are none, see `sdp init`."""
        found = self.versions.snapshot(self.subject)
        if not found:
            raise RegistryUnavailable.without(self.subject, self.registry_url)
        return propose(self.base, {i: LogSchema(text) for i, text in found.items()}, version)

    def answer(self, proposal: Proposal, version: LogSchema) -> Answer:
        """Whether the version can read what the registered ones wrote, by our own check and the registry's."""
        return Answer(
            proposal.registered,
            proposal.incompatible,
            self.versions.compatibility(self.subject),
            self.versions.test_compatibility(self.subject, version.text),
            proposal.changes,
            proposal.misfit,
        )

    def effect(
        self, proposal: Proposal, since: datetime, until: datetime, told: Callable[[int], None] = lambda _: None
    ) -> Effect:
        """Judge the records of a window both ways, in one Spark job. ``told``: how many offsets there are to read."""
        source = self.records()
        ranges = tuple(source.between(self.topic, since, until))
        told(sum(map(len, ranges)))
        if not ranges:
            return Effect(ranges)
        try:
            rows = source.read(ranges).transform(trial(proposal, self.rules)).collect()
        except Py4JJavaError as error:
            raise Unavailable("a server that Spark needs", self.topic, innermost_cause(error)) from error
        return Effect(ranges, _counts(rows), _rejections(rows))


def _counts(rows: Sequence[Any]) -> tuple[Count, ...]:
    ids = sorted({row["schema_id"] for row in rows}, key=lambda i: (i is None, i))
    return tuple(_count(schema_id, [row for row in rows if row["schema_id"] == schema_id]) for schema_id in ids)


def _count(schema_id: int | None, rows: Sequence[Any]) -> Count:
    sums = {name: sum(r[name] for r in rows) for name in ("records", "decode_today", "would_decode", "newly_accepted")}
    return Count(schema_id, newly_rejected=sum(r["records"] for r in rows if r["reason"]), **sums)


def _rejections(rows: Sequence[Any]) -> tuple[Rejection, ...]:
    refused = sorted((row for row in rows if row["reason"]), key=lambda row: (-row["records"], row["reason"]))
    return tuple(Rejection(r["schema_id"], r["reason"], r["records"], _samples(r)) for r in refused)


def _samples(row: Any) -> tuple[tuple[int, int], ...]:
    return tuple(sample_coordinates(key) for key in sorted({row[name] for name in SAMPLES}))
