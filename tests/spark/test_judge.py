"""The Spark path against independent references: fastavro for decoding, ``ipaddress`` and plain Python for rules."""

from __future__ import annotations

import io
import ipaddress
import json
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts import avro
from pipelines.contracts.evaluate import evaluator
from pipelines.contracts.evolution import merge
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.rules import Pattern, RuleSet
from pipelines.contracts.writer import LogSchema, SchemaSet
from pipelines.ingest.decode import decode_problem
from pipelines.ingest.explain import explain
from pipelines.ingest.judge import judge
from pipelines.ingest.validate import is_undecodable, problem, violations
from pipelines.records import LOG_FIELDS
from pipelines.settings import ROOT
from tests.world import NOW_MS, record

TEXT = avro.load("api6-logs-value", 1).text
SCHEMA = LogSchema(TEXT)
PARSED = fastavro.parse_schema(json.loads(TEXT))
RULES = load_rules(ROOT / "conf" / "rules" / "api6-logs.yaml", SCHEMA.kinds)
SOURCE = """key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp,
    headers array<struct<key: string, value: binary>>"""
FEW = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
SHOWN_CHARS = 4_000


class Many(list[Any]):
    """The values of one job. Its repr is cut: Hypothesis refuses the whole one of long texts."""

    def __repr__(self) -> str:
        return super().__repr__()[:SHOWN_CHARS]


def many(values: st.SearchStrategy[Any], least: int, most: int) -> st.SearchStrategy[Many]:
    return st.lists(values, min_size=least, max_size=most).map(Many)


def body(value: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED, value)
    return out.getvalue()


def framed(value: dict[str, Any], schema_id: int = 1) -> bytes:
    return b"\x00" + struct.pack(">I", schema_id) + body(value)


def judged(
    spark: SparkSession, values: Sequence[bytes | None], schemas: SchemaSet | None = None
) -> list[dict[str, Any]]:
    """Judged rows in the order of the values, with the codes of all violations."""
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    rows = [(None, value, "t", 0, n, at, None) for n, value in enumerate(values)]
    schemas = schemas or merge(SCHEMA, {1: SCHEMA})
    frame: DataFrame = spark.createDataFrame(rows, SOURCE).transform(judge(schemas, RULES))
    asked = explain(schemas)(F.when(is_undecodable(), F.col("value")), F.col("schema_id"))
    found = problem(decode_problem(schemas), schemas.gone_nullable)
    explained = frame.withColumn("explained", asked).withColumn("problem", found)
    parts = [F.col("problem")[part].alias(f"problem_{part}") for part in ("stage", "code", "field", "message")]
    out = explained.select("*", *parts, violations(RULES).alias("violations")).orderBy("kafka_offset").collect()
    return [row.asDict(recursive=True) for row in out]


def reference(value: bytes) -> dict[str, Any] | None:
    """The record if the value is exactly one, by fastavro's reader and the rule that nothing may be left over."""
    if value[:5] != b"\x00\x00\x00\x00\x01":
        return None
    stream = io.BytesIO(value[5:])
    try:
        found: Any = fastavro.schemaless_reader(stream, PARSED, None)
    except (EOFError, UnicodeDecodeError, IndexError, ValueError, OverflowError, MemoryError):
        return None
    again = (
        body(found)
        if all(-(2**31) <= found[k] < 2**31 for k in INTS) and -(2**63) <= found["timestamp"] < 2**63
        else b""
    )
    return found if again == value[5:] else None


INTS = ("status_code", "response_time_ms", "payload_size")

texts = st.text(max_size=40) | st.sampled_from(
    ["", " ", "\t\n", "\u00a0", "/", "/a", "GET", "get", "\x00", "🦊", "e\u0301"]
)
addresses = (
    st.ip_addresses().map(str)
    | st.sampled_from(
        [
            "::",
            "::1",
            "1.2.3.4",
            "01.2.3.4",
            "256.1.1.1",
            "1.2.3",
            "::ffff:1.2.3.4",
            "1::2::3",
            "fe80::1%eth0",
            ":1",
            "1.2.3.4\n",
            "::1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7::",
            "1:2:3:4::5:6:7",
            "1:2:3:4::5:6:7:8",
            "1:2:3:4:5:6:7:8:9",
            "12345::",
            "1:::2",
            "2.3.4.256",
            "00.1.1.1",
        ]
    )
    | st.text(alphabet="0123456789abcdef:.", max_size=24)
)
ints = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, -1, 99, 100, 599, 600])
edges = [NOW_MS + d for d in (-604_800_001, -604_800_000, 0, 3_600_000, 3_600_001)]
records = st.fixed_dictionaries(
    {
        "timestamp": st.integers(-(2**63), 2**63 - 1) | st.sampled_from(edges),
        "request_id": texts,
        "api_endpoint": texts | st.integers(2046, 2049).map(lambda n: "/" + "é" * n),
        "http_method": st.sampled_from(["GET", "POST", "TRACE", "get", "", "FETCH"]) | texts,
        "status_code": ints,
        "response_time_ms": ints,
        "client_ip": addresses,
        "user_agent": st.none() | texts | st.integers(1023, 1026).map(lambda n: "🦊" * n),
        "payload_size": ints,
        "error_message": st.none() | texts | st.integers(8191, 8194).map(lambda n: "x" * n),
    }
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A valid value with bytes changed, cut, inserted or appended."""
    value = bytearray(framed(draw(records)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value)))
        kind = draw(st.sampled_from(["set", "cut", "insert", "append"]))
        some = draw(st.binary(min_size=1, max_size=6))
        if kind == "set":
            value[at : at + len(some)] = some
        elif kind == "cut":
            del value[at:]
        elif kind == "insert":
            value[at:at] = some
        else:
            value += some
    return bytes(value)


@FEW
@given(values=many(records, 40, 80))
def test_both_evaluators_agree_and_content_survives(spark: SparkSession, values: list[dict[str, Any]]) -> None:
    judge_in_python = evaluator(RULES)
    for value, row in zip(values, judged(spark, [framed(v) for v in values]), strict=True):
        assert {name: row[name] for name in LOG_FIELDS} == value
        of_rules = [v for v in row["violations"] if v["rule_fingerprint"]]
        assert [(v["code"], v["field"], v["message"], v["severity"], v["rule_fingerprint"]) for v in of_rules] == [
            (v.code, v.field, v.message, v.severity.value, v.rule_fingerprint) for v in judge_in_python(value, NOW_MS)
        ]


@FEW
@given(values=many(st.binary(max_size=60) | mutations(), 60, 120))
def test_any_bytes_end_in_exactly_one_half_and_only_real_records_decode(
    spark: SparkSession, values: list[bytes]
) -> None:
    rows = judged(spark, list(values))
    assert len(rows) == len(values)
    for value, row in zip(values, rows, strict=True):
        wanted = reference(value)
        decoded = row["problem_stage"] in (None, "schema")
        assert decoded == (wanted is not None), (value, row["problem_code"])
        assert row["is_valid"] == (not any(v["severity"] == "critical" for v in row["violations"]))
        assert row["value"] == value
        if wanted is not None:
            assert {name: row[name] for name in LOG_FIELDS} == wanted


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=many(addresses, 150, 250))
def test_addresses_are_those_of_the_standard_library(spark: SparkSession, values: list[str]) -> None:
    def is_address(text: str) -> bool:
        try:
            return "%" not in text and bool(ipaddress.ip_address(text))
        except ValueError:
            return False

    rows = judged(spark, [framed(record(client_ip=v)) for v in values])
    assert [row["is_valid"] for row in rows] == [is_address(v) for v in values]


def test_a_pattern_for_the_whole_text_tries_every_branch_and_nothing_longer(spark: SparkSession) -> None:
    rule = Pattern(
        id="p",
        field="http_method",
        check="pattern",
        regex="a|ab",
        whole=True,
        severity="critical",
        message="m",
        owner="o",
    )
    rules = RuleSet(subject="s", rules=(rule,))
    wanted = {"a": True, "ab": True, "abc": False, "xa": False, "b": False, "": False, "ab\n": False}
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    rows = [(None, framed(record(http_method=v)), "t", 0, n, at, None) for n, v in enumerate(wanted)]
    frame = spark.createDataFrame(rows, SOURCE).transform(judge(merge(SCHEMA, {1: SCHEMA}), rules))
    assert {r["http_method"]: r["is_valid"] for r in frame.select("http_method", "is_valid").collect()} == wanted
    judge_in_python = evaluator(rules)
    assert {v: not judge_in_python(record(http_method=v), NOW_MS) for v in wanted} == wanted


@pytest.mark.parametrize("claimed", [2**31 - 1, 2**31, 2**40, 17 * 2**20, -1, -(2**31)])
def test_a_length_that_is_only_claimed_allocates_nothing(spark: SparkSession, claimed: int) -> None:
    zigzag = (claimed << 1) ^ (claimed >> 63)
    prefix = b""
    while zigzag > 0x7F:
        prefix += bytes([zigzag & 0x7F | 0x80])
        zigzag >>= 7
    value = framed(record())
    bomb = value[:11] + prefix + bytes([zigzag]) + b"abc"  # after the six bytes of the timestamp
    [row] = judged(spark, [bomb])
    assert (row["problem_stage"], row["is_valid"]) == ("decode", False)


def test_versions_mixed_in_one_batch_decode_into_the_reader_schema(spark: SparkSession) -> None:
    older = TEXT.replace('"type": "long"', '"type": "int"').replace(
        '{"name": "payload_size", "type": "int"},',
        '{"name": "region", "type": "string"}, {"name": "payload_size", "type": "int"},',
    )
    schemas = merge(SCHEMA, {1: SCHEMA, 9: LogSchema(older)})
    old = record(timestamp=1_700_000) | {"region": "eu-west"}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(older)), old)
    values = [
        framed(record()),
        b"\x00\x00\x00\x00\x09" + out.getvalue(),
        b"\x00\x00\x00\x00\x09" + out.getvalue() + b"!",
    ]
    rows = judged(spark, values, schemas)
    assert [row["schema_id"] for row in rows] == [1, 9, 9]
    assert {name: rows[1][name] for name in LOG_FIELDS} == {name: old[name] for name in LOG_FIELDS}
    assert rows[2]["problem_code"] == "trailing_bytes"


def test_a_negative_or_huge_schema_id_is_unknown_not_fatal(spark: SparkSession) -> None:
    rows = judged(spark, [b"\x00\xff\xff\xff\xff" + body(record()), b"\x00\x80\x00\x00\x00x"])
    assert [(r["problem_code"], r["schema_id"]) for r in rows] == [
        ("unknown_schema_id", 2**32 - 1),
        ("unknown_schema_id", 2**31),
    ]


def test_no_python_runs_in_the_hot_path(spark: SparkSession) -> None:
    frame = spark.range(1).select(
        F.lit(None).cast("binary").alias("key"), F.lit(b"x").alias("value"), F.lit("t").alias("topic"),
        F.lit(0).alias("partition"), F.col("id").alias("offset"), F.current_timestamp().alias("timestamp"),
        F.lit(None).cast("array<struct<key: string, value: binary>>").alias("headers"),
    )  # fmt: skip
    plan = frame.transform(judge(merge(SCHEMA, {1: SCHEMA}), RULES))._jdf.queryExecution().executedPlan().toString()
    assert "Python" not in plan
