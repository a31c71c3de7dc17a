"""Judged rows → the two halves, with the columns that the tables promise."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import SchemaSet
from pipelines.ingest.codegen import constant
from pipelines.ingest.coordinates import record_key
from pipelines.ingest.decode import decode_problem
from pipelines.ingest.explain import PROBLEM, explain
from pipelines.ingest.validate import VIOLATION, critical, is_undecodable, problem, rule_violations, violations
from pipelines.records import DUPLICATE, Severity, Stage

COLUMN_TYPES = {
    "int": "bigint",
    "long": "bigint",
    "float": "double",
    "double": "double",
    "boolean": "boolean",
    "bytes": "binary",
    "string": "string",
    "enum": "string",
}
"""Avro type of a field → type of its column: the widest, as Delta can't widen an int to a bigint without a rewrite."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What one batch writes on all its rows, and what it was judged by."""

    batch_id: int
    at: datetime
    rules: RuleSet
    schemas: SchemaSet


@dataclass(frozen=True, slots=True)
class Routed:
    """Both halves of one batch: every judged row is in exactly one."""

    valid: DataFrame
    invalid: DataFrame


@dataclass(frozen=True, slots=True)
class _Words:
    """What is to be said of a row by schemas and rules alone, whatever the batch.

    These are most of the expressions, and each crosses into the JVM in many calls.
    """

    problem: Column
    violations: Column
    warnings: Column

    @classmethod
    def of(cls, schemas: SchemaSet, rules: RuleSet) -> _Words:
        found = problem(decode_problem(schemas), schemas.gone_nullable)
        return cls(found, F.concat(violations(rules), _duplicate_violation()), rule_violations(rules))


class Router:
    """Splits judged batches; what can be said of rows is put in words anew only when a schema or the rules change."""

    def __init__(self) -> None:
        self._key: object = None
        self._words: _Words | None = None

    def __call__(
        self, judged: DataFrame, duplicates: DataFrame | None, stamp: Stamp, *, explained: bool = True
    ) -> Routed:
        """Split a judged batch. ``duplicates``: ``record_key`` of valid rows that are duplicates; None means none.

        ``explained=False`` saves the way of the refused rows through Python, where every one of them decodes.
        """
        words = self._of(stamp)
        valid, refused = judged.where("is_valid"), judged.where(~F.col("is_valid"))
        refused = _explained(refused.withColumn("is_duplicate", F.lit(False)), stamp.schemas, explained)
        if duplicates is not None:
            keyed, marked = valid.withColumn("record_key", record_key()), duplicates.select("record_key")
            valid = keyed.join(marked, "record_key", "left_anti")
            again = keyed.join(marked, "record_key", "left_semi").drop("record_key")
            again = again.select("*", F.lit(True).alias("is_duplicate"), _nothing())
            refused = refused.unionByName(again)
        refused = refused.withColumn("problem", words.problem).withColumn("violations", words.violations)
        return Routed(valid.select(*_valid(stamp, words)), refused.select(*_invalid(stamp)))

    def _of(self, stamp: Stamp) -> _Words:
        key = (stamp.schemas.key, stamp.rules.fingerprint)
        if self._words is None or key != self._key:
            self._key, self._words = key, _Words.of(stamp.schemas, stamp.rules)
        return self._words


def _explained(refused: DataFrame, schemas: SchemaSet, is_wanted: bool) -> DataFrame:
    """Add ``explained``. Only rows whose bytes hold the answer go through Python, in as few tasks as there are cores.

    A task with Python in it costs 0.13 CPU-seconds before its first row.
    """
    if not is_wanted:
        return refused.select("*", _nothing())
    has_writer = F.col("schema_id").isin(list(schemas.writers)) & F.col("value").isNotNull()
    is_walked = F.coalesce(is_undecodable() & has_writer, F.lit(False))
    walked = refused.where(is_walked).coalesce(refused.sparkSession.sparkContext.defaultParallelism)
    found = explain(schemas)(F.col("value"), F.col("schema_id")).alias("explained")
    return refused.where(~is_walked).select("*", _nothing()).unionByName(walked.select("*", found))


def _nothing() -> Column:
    return F.lit(None).cast(PROBLEM).alias("explained")


def event_time() -> Column:
    """The event's time; null where no SQL timestamp can show it."""
    return F.timestamp_millis("timestamp")


def _valid(stamp: Stamp, words: _Words) -> list[Column]:
    return [
        *(F.col(f.name).cast(COLUMN_TYPES[f.type]).alias(f.name) for f in stamp.schemas.reader.fields),
        event_time().alias("event_time"),
        words.warnings.alias("warnings"),
        *coordinates(),
        F.col("schema_id"),
        F.col("content_hash"),
        constant(stamp.batch_id).cast("bigint").alias("batch_id"),
        constant(stamp.at).alias("ingested_at"),
        F.to_date(event_time()).alias("date"),
        F.hour(event_time()).alias("hour"),
    ]


def _invalid(stamp: Stamp) -> list[Column]:
    messages = F.transform(critical(F.col("violations")), lambda v: v["message"])
    problem_stage = F.col("problem")["stage"]
    is_decoded = ~F.coalesce(problem_stage.isin(Stage.WIRE.value, Stage.DECODE.value), F.lit(False))
    stage = F.when(F.col("is_duplicate"), Stage.DUPLICATE.value).otherwise(Stage.RULE.value)
    return [
        *coordinates(),
        F.col("value").alias("raw"),
        F.col("key"),
        F.col("headers"),
        F.col("schema_id"),
        F.when(is_decoded, F.col("request_id")).alias("request_id"),
        F.coalesce(problem_stage, stage).alias("error_type"),
        F.array_join(messages, "; ").alias("error_message"),
        F.col("violations"),
        *stamped(stamp),
        F.to_date("kafka_timestamp").alias("date"),
        F.hour("kafka_timestamp").alias("hour"),
    ]


def stamped(stamp: Stamp) -> list[Column]:
    """What every invalid row carries of its batch, and the state it starts in."""
    return [
        F.lit(stamp.rules.fingerprint).alias("rule_set_fingerprint"),
        constant(stamp.at).alias("failed_at"),
        constant(stamp.batch_id).cast("bigint").alias("batch_id"),
        F.lit("open").alias("status"),
        F.lit(0).alias("attempt"),
    ]


def coordinates() -> list[Column]:
    """The identity of a row (law 1) and when Kafka got it."""
    return [F.col(c) for c in ("kafka_topic", "kafka_partition", "kafka_offset", "kafka_timestamp")]


def _duplicate_violation() -> Column:
    message = F.concat(F.lit("request_id was stored before (found "), F.substring("request_id", 1, 80), F.lit(")"))
    violation = F.struct(
        F.lit(DUPLICATE).alias("code"),
        F.lit("request_id").alias("field"),
        message.alias("message"),
        F.lit(Severity.CRITICAL.value).alias("severity"),
        F.lit(None).cast("string").alias("rule_fingerprint"),
    )
    none = F.array().cast(f"array<{VIOLATION}>")
    return F.when(F.col("is_duplicate"), F.array(violation)).otherwise(none)
