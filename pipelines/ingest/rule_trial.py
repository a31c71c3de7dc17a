"""A proposed rule set on rows that are stored already: what it would reject, in one pass over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from pipelines.contracts.rules import Rule, RuleSet
from pipelines.ingest.codegen import border
from pipelines.ingest.coordinates import record_key
from pipelines.ingest.validate import breaks, found, is_valid, validate
from pipelines.records import LOG_FIELDS

_COORDINATES = ("kafka_partition", "kafka_offset")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row that breaks a rule; ``found``: the offending value, shortened and masked as in a violation's message."""

    partition: int
    offset: int
    kafka_timestamp: datetime
    found: str


@dataclass(frozen=True, slots=True)
class RuleTrial:
    """What one rule says of the rows: how many break it, and some of them."""

    rule: Rule
    rows: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What a rule set says of the rows: ``rejected`` of them break a critical rule."""

    rows: int
    rejected: int
    rules: tuple[RuleTrial, ...]


def rule_trial(rules: RuleSet, samples: int) -> Callable[[DataFrame], DataFrame]:
    """Judge rows of ``api6_logs_valid``, all of one topic, with the projection that the stream uses.

    Out: one row, for ``as_trial``. However many rows break a rule, it remembers ``samples`` + 2 of them: the first, the
    last, and those that come first by as many different hashes of their coordinates.
    """
    judged = validate(rules)
    needed = list(dict.fromkeys((*_COORDINATES, "kafka_timestamp", *LOG_FIELDS, *rules.fields)))
    per_rule = [column for k, rule in enumerate(rules.rules) for column in _of_rule(k, rule, rules, samples)]
    totals = [F.count("*").alias("rows"), F.count_if(~is_valid(rules)).alias("rejected")]

    def transform(valid: DataFrame) -> DataFrame:
        rows = valid.select(*needed, F.lit(0).alias("spare"))  # a valid row was decoded with no byte left over
        return rows.transform(border).transform(judged).transform(border).agg(*totals, *per_rule)

    return transform


def as_trial(row: Row, rules: RuleSet, samples: int) -> Trial:
    """What the row of ``rule_trial`` says."""
    by_rule = [
        RuleTrial(rule, row[f"rows_{k}"], _samples(row[f"samples_{k}"], samples)) for k, rule in enumerate(rules.rules)
    ]
    return Trial(row["rows"], row["rejected"], tuple(by_rule))


def _of_rule(k: int, rule: Rule, rules: RuleSet, samples: int) -> list[Column]:
    shown = F.struct(*_COORDINATES, F.unix_millis("kafka_timestamp").alias("ms"), found(rule, rules).alias("found"))
    hashes = [F.xxhash64(F.lit(seed), *_COORDINATES) for seed in range(samples)]
    orders = [record_key(), -record_key(), *hashes] if samples else []
    kept = [F.min_by(F.when(breaks(k), shown), F.when(breaks(k), order)) for order in orders]
    return [F.count_if(breaks(k)).alias(f"rows_{k}"), F.array(*kept).alias(f"samples_{k}")]


def _samples(rows: Iterable[Row | None], most: int) -> tuple[Sample, ...]:
    """Those that are there, each once, in the order of offsets."""
    distinct = list(dict.fromkeys(row for row in rows if row is not None))[:most]
    shown = (Sample(r[0], r[1], _EPOCH + timedelta(milliseconds=r["ms"]), r["found"]) for r in distinct)
    return tuple(sorted(shown, key=lambda sample: (sample.offset, sample.partition)))
