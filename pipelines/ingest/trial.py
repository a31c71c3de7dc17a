"""Two ways to judge the same rows, side by side in one pass: as today, and with a proposed version of the schema."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.avro_walk import DecodeProblem
from pipelines.contracts.proposal import Proposal
from pipelines.contracts.rules import RuleSet
from pipelines.ingest.coordinates import PARTITION_BITS, record_key
from pipelines.ingest.judge import KAFKA_NAMES, judge
from pipelines.ingest.validate import critical, is_undecodable, rule_violations

INCOMPATIBLE = DecodeProblem.INCOMPATIBLE_SCHEMA.value
UNDECODABLE, UNSHOWABLE = "undecodable", "no_column_can_hold_it"
"""Reasons beside the ids of rules."""

SAMPLES = ("sample_first", "sample_last", "sample_any")
"""Up to three records of a group, each the ``record_key`` of one; they may be the same."""

_TODAY = "_today"


def trial(proposal: Proposal, rules: RuleSet) -> Callable[[DataFrame], DataFrame]:
    """Count the rows of Spark's Kafka source (``includeHeaders=true``) by schema id and what the proposal changes.

    Out: ``schema_id`` (long, null for ids that are not registered, so there are few), ``reason`` (null or why newly
    rejected), ``records``, ``decode_today``, ``would_decode``, ``newly_accepted`` (long) and ``SAMPLES``.
    """
    today, proposed = judge(proposal.today, rules), judge(proposal.proposed, rules, keep=[_TODAY])
    source = [F.col(b).alias(a) for a, b in KAFKA_NAMES.items()]
    verdict = F.struct("schema_id", "is_valid", (~is_undecodable()).alias("decodes")).alias(_TODAY)
    registered = proposal.registered

    def transform(frame: DataFrame) -> DataFrame:
        both = frame.transform(today).select(*source, "key", "value", "headers", verdict).transform(proposed)
        rows = both.select(*_compared(registered, proposal.incompatible, rules), record_key().alias("key"))
        return rows.groupBy("schema_id", "reason").agg(*_counts(), *_samples())

    return transform


def _compared(registered: Collection[int], incompatible: Collection[int], rules: RuleSet) -> list[Column]:
    today, schema_id = F.col(_TODAY), F.col(_TODAY)["schema_id"]
    is_readable = ~schema_id.isin(list(incompatible)) if incompatible else F.lit(True)
    is_accepted = F.col("is_valid") & F.coalesce(is_readable, F.lit(True))
    would_decode = ~is_undecodable() & F.coalesce(is_readable, F.lit(True))
    reason = F.when(~is_readable, INCOMPATIBLE).otherwise(_reason(rules))
    return [
        F.when(schema_id.isin(list(registered)), schema_id).alias("schema_id"),
        F.when(today["is_valid"] & ~is_accepted, reason).alias("reason"),
        today["decodes"].alias("decode_today"),
        would_decode.alias("would_decode"),
        (is_accepted & ~today["is_valid"]).alias("newly_accepted"),
    ]


def _reason(rules: RuleSet) -> Column:
    """Why a row is invalid: the first critical rule that it breaks, unless something worse is wrong."""
    refusing = critical(rule_violations(rules))
    rule = F.when(F.size(refusing) > 0, F.element_at(refusing, 1)["code"])
    return F.when(is_undecodable(), UNDECODABLE).otherwise(F.coalesce(rule, F.lit(UNSHOWABLE)))


def _counts() -> list[Column]:
    flags = ("decode_today", "would_decode", "newly_accepted")
    return [F.count("*").alias("records"), *(F.count_if(F.col(flag)).alias(flag) for flag in flags)]


def _samples() -> list[Column]:
    """The earliest, the latest and some other row, in a memory that does not grow with the rows."""
    chosen = F.min("key"), F.max("key"), F.min_by("key", F.xxhash64("key"))
    return [sample.alias(name) for sample, name in zip(chosen, SAMPLES, strict=True)]


def sample_coordinates(key: int) -> tuple[int, int]:
    """Partition and offset of a sample."""
    return key & ((1 << PARTITION_BITS) - 1), key >> PARTITION_BITS
