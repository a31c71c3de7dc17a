"""Kafka rows → judged rows: the one path that both jobs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import SchemaSet
from pipelines.ingest.codegen import border
from pipelines.ingest.decode import decode
from pipelines.ingest.validate import is_valid, validate

KAFKA_NAMES = {
    "topic": "kafka_topic",
    "partition": "kafka_partition",
    "offset": "kafka_offset",
    "timestamp": "kafka_timestamp",
}
"""Column of Spark's Kafka source → column here."""


def judge(schemas: SchemaSet, rules: RuleSet, keep: Sequence[str] = ()) -> Callable[[DataFrame], DataFrame]:
    """Decode and validate the rows of Spark's Kafka source (``includeHeaders=true``).

    Out: coordinates, ``kafka_timestamp``, ``key``, ``value``, ``headers``, ``schema_id`` (long), the reader's
    fields (meaningless if undecodable), ``spare`` (int, see decode), ``broken`` and ``content_hash`` (long, see
    validate) and ``is_valid``. What exactly is wrong with a refused row is asked later, of refused rows only.
    ``keep``: columns of the frame that go through as they are.
    """

    renamed = [F.col(a).alias(b) for a, b in KAFKA_NAMES.items()]
    decoded, validated = decode(schemas), validate(rules, schemas.gone_nullable, len(schemas.added))
    judged = [*map(F.col, keep), *_judged(rules, [field.name for field in schemas.reader.fields])]

    def transform(frame: DataFrame) -> DataFrame:
        read = frame.select(*renamed, "key", "value", "headers", *keep)
        return read.transform(decoded).transform(border).transform(validated).select(*judged)

    return transform


class Judge:
    """``judge``, compiled anew only when a schema or the rules change: thousands of expressions cross into the JVM."""

    def __init__(self) -> None:
        self._key: object = None
        self._compiled: Callable[[DataFrame], DataFrame] | None = None

    def __call__(self, schemas: SchemaSet, rules: RuleSet) -> Callable[[DataFrame], DataFrame]:
        """The transform of ``judge`` for these schemas and rules."""
        key = (schemas.key, rules.fingerprint)
        if self._compiled is None or key != self._key:
            self._key, self._compiled = key, judge(schemas, rules)
        return self._compiled


def _judged(rules: RuleSet, fields: Sequence[str]) -> list[Column]:
    kept = [*KAFKA_NAMES.values(), "key", "value", "headers", "schema_id", *fields, "spare", "broken", "content_hash"]
    return [*map(F.col, kept), is_valid(rules).alias("is_valid")]
