"""Rows and documents that were stored before → judged rows: whether they still are what was stored."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import SchemaSet
from pipelines.ingest.route import coordinates
from pipelines.ingest.validate import is_valid, validate

_HEADERS = "array<struct<key: string, value: binary>>"


def judge_stored(schemas: SchemaSet, rules: RuleSet) -> Callable[[DataFrame], DataFrame]:
    """Judge the rows of the valid table, or of documents in its columns, anew; altered ones are left out.

    In: coordinates, ``kafka_timestamp``, the reader's fields, ``schema_id`` and ``content_hash`` (law 8), which tells
    whether one of the ten fields was altered. Out: the columns of ``judge``, without key, value and headers.
    """
    validated = validate(rules, schemas.gone_nullable, len(schemas.added))
    names = [field.name for field in schemas.reader.fields]
    unknown = [F.lit(None).cast(t).alias(n) for n, t in (("key", "binary"), ("value", "binary"), ("headers", _HEADERS))]

    def transform(rows: DataFrame) -> DataFrame:
        spare = F.lit(0).alias("spare")
        read = rows.select(
            *coordinates(), *unknown, "schema_id", *names, spare, F.col("content_hash").alias("stored_hash")
        )
        judged = read.transform(validated).withColumn("is_valid", is_valid(rules))
        return judged.where(F.col("content_hash") == F.col("stored_hash")).drop("stored_hash")

    return transform
