"""Reasons over rows that the stream made: what is counted is why a row is invalid."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import SparkSession

from pipelines.contracts import avro
from pipelines.contracts.evolution import merge
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.writer import LogSchema
from pipelines.ingest.account import by_reason
from pipelines.ingest.coordinates import record_key
from pipelines.ingest.judge import judge
from pipelines.ingest.route import Router, Stamp
from pipelines.settings import ROOT
from tests.spark.test_judge import SOURCE, framed
from tests.world import NOW_MS, record

SCHEMA = LogSchema(avro.load("api6-logs-value").text)
SCHEMAS = merge(SCHEMA, {1: SCHEMA})
RULES = load_rules(ROOT / "conf" / "rules" / "api6-logs.yaml", SCHEMA.kinds)


def test_a_warning_is_no_reason(spark: SparkSession) -> None:
    """An empty user_agent is a warning: alone, on a duplicate, and beside a critical rule that stands behind it."""
    values = [
        framed(record(user_agent="")),
        framed(record(user_agent="")),
        framed(record(user_agent="", status_code=7)),
        framed(record(user_agent=""))[:-1],
        None,
    ]
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    rows = [(None, value, "t", 0, n, at, None) for n, value in enumerate(values)]
    judged = spark.createDataFrame(rows, SOURCE).transform(judge(SCHEMAS, RULES))
    duplicates = judged.where("kafka_offset = 1").select(record_key().alias("record_key"))
    routed = Router()(judged, duplicates, Stamp(7, at, RULES, SCHEMAS))
    assert [r["kafka_offset"] for r in routed.valid.collect()] == [0]
    assert by_reason(routed.invalid) == {
        "duplicate_request_id": 1,
        "status_code_range": 1,
        "truncated_avro": 1,
        "null_value": 1,
    }


def test_a_row_counts_once_under_its_first_critical_code(spark: SparkSession) -> None:
    rows = [
        [("truncated_avro", "critical")],
        [("status_code_range", "critical"), ("http_method_known", "critical")],
        [("http_method_known", "critical")],
        [("user_agent_length", "warning"), ("http_method_known", "critical")],
    ]
    violations = "violations array<struct<code: string, severity: string>>"
    invalid = spark.createDataFrame([(found,) for found in rows], violations)
    assert by_reason(invalid) == {"truncated_avro": 1, "status_code_range": 1, "http_method_known": 2}


def test_no_row_has_no_reason(spark: SparkSession) -> None:
    assert by_reason(spark.createDataFrame([], "violations array<struct<code: string, severity: string>>")) == {}
