"""One reason for each refused row."""

from __future__ import annotations

from pyspark.sql import SparkSession

from pipelines.ingest.account import by_reason


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
