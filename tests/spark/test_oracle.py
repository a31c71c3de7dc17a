"""The stream's verdicts against the tables of ``oracle``: all of them in one Spark job."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.contracts import avro
from pipelines.contracts.evolution import merge
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.writer import LogSchema
from pipelines.ingest.judge import judge
from pipelines.ingest.route import Router, Stamp
from pipelines.settings import ROOT
from tests.spark.oracle import (
    AVRO_CASES,
    KAFKA_MS,
    RECORD,
    RULE_CASES,
    SAME,
    SCHEMA_ID,
    WIRE_CASES,
    AvroCase,
    Expected,
    RuleCase,
    WireCase,
    critical,
)

TEXT = avro.load("api6-logs-value", 1).text
SCHEMA = LogSchema(TEXT)
SCHEMAS = merge(SCHEMA, {SCHEMA_ID: SCHEMA})
RULES = load_rules(ROOT / "conf" / "rules" / "api6-logs.yaml", SCHEMA.kinds)
SOURCE = """key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp,
    headers array<struct<key: string, value: binary>>"""
HEADER = b"\x00" + struct.pack(">I", SCHEMA_ID)

Case = RuleCase | WireCase | AvroCase
CASES: tuple[Case, ...] = (*RULE_CASES, *WIRE_CASES, *AVRO_CASES)


def value_of(case: Case) -> bytes | None:
    match case:
        case RuleCase(changes=changes):
            out = io.BytesIO()
            fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(TEXT)), RECORD | dict(changes))
            return HEADER + out.getvalue()
        case WireCase(value=value):
            return None if value is None else bytes.fromhex(value)
    return HEADER + case.body


def violations_of(case: Case) -> tuple[Expected, ...]:
    """What the stream must say."""
    match case:
        case RuleCase(violations=violations, unshowable=unshowable):
            return (*[critical("timestamp_unrepresentable", "timestamp")] * unshowable, *violations)
        case WireCase(code=code):
            return (critical(code, None),)
    said = said_by_stream(case)
    field = "timestamp" if said == "timestamp_unrepresentable" else case.at
    return (critical(said, field), *case.rules) if said else ()


def stage_of(case: Case) -> str | None:
    """``error_type`` of an invalid row, None for a valid one."""
    match case:
        case RuleCase(is_valid=is_valid, unshowable=unshowable):
            return None if is_valid else "schema" if unshowable else "rule"
        case WireCase():
            return "wire"
    return case.stage if said_by_stream(case) else None


def said_by_stream(case: AvroCase) -> str | None:
    return case.code if case.stream == SAME else case.stream


@pytest.fixture(scope="module")
def routed(spark: SparkSession) -> list[dict[str, Any]]:
    """What became of each case, in order: half, stage and violations."""
    return through_the_stream(spark, [value_of(case) for case in CASES])


def through_the_stream(spark: SparkSession, values: Sequence[bytes | None]) -> list[dict[str, Any]]:
    """Judge and route the values in one job."""
    at = datetime.fromtimestamp(KAFKA_MS / 1000, UTC)
    rows = [(None, value, "t", 0, n, at, None) for n, value in enumerate(values)]
    judged = spark.createDataFrame(rows, SOURCE).transform(judge(SCHEMAS, RULES))
    halves = Router()(judged, None, Stamp(7, at, RULES, SCHEMAS))
    stage = F.lit(None).cast("string").alias("error_type")
    valid = halves.valid.select("kafka_offset", stage, F.col("warnings").alias("violations"))
    found = valid.unionByName(halves.invalid.select("kafka_offset", "error_type", "violations")).collect()
    assert len(found) == len(values), "every value is in exactly one half"
    return [row.asDict(recursive=True) for row in sorted(found, key=lambda row: row["kafka_offset"])]


def test_every_case_gets_the_verdict_that_the_table_says(routed: list[dict[str, Any]]) -> None:
    said = {
        case.name: (row["error_type"], tuple((v["code"], v["field"], v["severity"]) for v in row["violations"]))
        for case, row in zip(CASES, routed, strict=True)
    }
    wanted = {case.name: (stage_of(case), violations_of(case)) for case in CASES}
    assert {name: verdict for name, verdict in said.items() if verdict != wanted[name]} == {}


def test_messages_are_those_of_the_table(routed: list[dict[str, Any]]) -> None:
    said = {case.name: tuple(v["message"] for v in row["violations"]) for case, row in zip(CASES, routed, strict=True)}
    wanted = {case.name: case.messages for case in RULE_CASES if case.messages}
    assert {name: said[name] for name in wanted} == wanted
