"""What a proposed rule set would do to recent data: the story behind `sdp rules test`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.rules import Changes, RuleSet, changes
from pipelines.ingest.rule_trial import Trial, as_trial, rule_trial
from pipelines.records import VALID


class Stored(Protocol):
    """The Delta tables."""

    def read(self, table: str) -> DataFrame: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """The trial of ``proposed``, and the set that judged the newest batch, if there ever was one."""

    proposed: RuleSet
    current: RuleSet | None
    since: datetime
    until: datetime
    trial: Trial

    @property
    def changes(self) -> Changes | None:
        """How the proposed set differs from the current one."""
        return None if self.current is None else changes(self.current, self.proposed)


@dataclass(frozen=True)
class RulesTrial:
    """Judges stored rows of one topic anew. Writes nothing."""

    topic: str
    tables: Stored
    current: Callable[[], RuleSet | None]

    def __call__(self, proposed: RuleSet, since: datetime, until: datetime, samples: int) -> Verdict:
        """One Spark job, with one read of the valid rows whose Kafka timestamp lies in [since, until)."""
        rows = self.tables.read(VALID).where((F.col("kafka_topic") == self.topic) & _is_within(since, until))
        [found] = rows.transform(rule_trial(proposed, samples)).collect()
        return Verdict(proposed, self.current(), since, until, as_trial(found, proposed, samples))


def _is_within(since: datetime, until: datetime) -> Column:
    begin, end = (F.timestamp_micros(F.lit(round(at.timestamp() * 1_000_000))) for at in (since, until))
    return (F.col("kafka_timestamp") >= begin) & (F.col("kafka_timestamp") < end)
