"""Valid rows → Elasticsearch documents, and rejected documents → rows of ``api6_es_invalid``."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.writer import Field
from pipelines.ingest.coordinates import record_key
from pipelines.ingest.route import Stamp, coordinates, stamped
from pipelines.ingest.validate import rule_violations
from pipelines.records import CONFLICT, DUPLICATE, LOG_FIELDS, Severity, Stage

HIDDEN = "_"
"""First character of columns that go into a document's address only, not into the document."""

ID, DAY, VERSION = "request_id", f"{HIDDEN}day", f"{HIDDEN}version"

_NEWEST_VERSION = 1 << 62


def documents(valid: DataFrame, added: Sequence[Field] = (), beside: Sequence[str] = ()) -> DataFrame:
    """One document per row of ``Routed.valid``, with ``_day`` (yyyy.MM.dd, UTC) and ``_version``.

    ``added``: fields to carry beside the ten; ``beside``: columns that are no fields, and stay as they are.

    The version grows towards the start of the topic, so of two records with one ``request_id`` the first one stays,
    whatever the order in which they are written; the same record written again replaces itself (law 1).
    """
    return valid.select(
        F.col("timestamp").alias("@timestamp"),
        *map(F.col, (*LOG_FIELDS, *(f.name for f in added))),
        F.when(F.size("warnings") > 0, F.transform("warnings", lambda w: w["code"])).alias("warnings"),
        "schema_id",
        "content_hash",
        "kafka_topic",
        "kafka_partition",
        "kafka_offset",
        F.unix_millis("kafka_timestamp").alias("kafka_timestamp"),
        F.date_format("event_time", "yyyy.MM.dd").alias(DAY),
        (F.lit(_NEWEST_VERSION) - record_key()).alias(VERSION),
        *beside,
    )


def refused_by_rules(invalid: DataFrame) -> DataFrame:
    """Rows of ``Routed.invalid`` in the columns of ``api6_es_invalid``: they never went to Elasticsearch."""
    return invalid.select(
        "*",
        F.lit(None).cast("string").alias("es_index"),
        F.lit(None).cast("int").alias("es_status"),
        F.lit(None).cast("string").alias("es_error_type"),
        F.lit(None).cast("string").alias("es_reason"),
    ).drop("hour")


def rejected(judged: DataFrame, rejects: DataFrame, stamp: Stamp) -> DataFrame:
    """Rows of documents that Elasticsearch refused, in the columns of ``api6_es_invalid``.

    ``rejects``: kafka_partition, kafka_offset, es_index, es_status, es_error_type, es_reason. Status 409 says that a
    record with the same request_id and a lower offset is in the index: a duplicate.
    """
    is_duplicate = F.col("es_status") == CONFLICT
    code = F.when(is_duplicate, DUPLICATE).otherwise(F.concat(F.lit("elasticsearch_"), "es_error_type"))
    violation = F.struct(
        code.alias("code"),
        F.when(is_duplicate, "request_id").alias("field"),
        F.col("es_reason").alias("message"),
        F.lit(Severity.CRITICAL.value).alias("severity"),
        F.lit(None).cast("string").alias("rule_fingerprint"),
    )
    rows = judged.join(rejects, ["kafka_partition", "kafka_offset"])
    warnings = rule_violations(stamp.rules)
    return rows.select(
        *coordinates(),
        F.col("value").alias("raw"),
        "key",
        "headers",
        "schema_id",
        "request_id",
        F.when(is_duplicate, Stage.DUPLICATE.value).otherwise(Stage.ELASTICSEARCH.value).alias("error_type"),
        F.col("es_reason").alias("error_message"),
        F.concat(F.array(violation), warnings).alias("violations"),
        *stamped(stamp),
        F.to_date("kafka_timestamp").alias("date"),
        "es_index",
        "es_status",
        "es_error_type",
        "es_reason",
    )
