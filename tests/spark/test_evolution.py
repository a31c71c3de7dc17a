"""Records of every version in one micro-batch, written by fastavro, read into one set of columns (law 6)."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import fastavro
import pytest
from pyspark.sql import SparkSession

from pipelines.contracts import avro
from pipelines.contracts.evolution import merge
from pipelines.contracts.writer import LogSchema
from pipelines.records import LOG_FIELDS
from tests.spark.test_judge import judged
from tests.world import record

V1 = json.loads(avro.load("api6-logs-value", 1).text)


def changed(*added: dict[str, Any], **replaced: dict[str, Any] | None) -> dict[str, Any]:
    """Version 1 with fields replaced (None: removed) and others behind them."""
    kept = [replaced.get(f["name"], f) for f in V1["fields"]]
    return {**V1, "fields": [f for f in kept if f is not None] + list(added)}


LEVELS = {"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH"]}
MORE_LEVELS = {"type": "enum", "name": "Level", "symbols": ["LOW", "MIDDLE", "HIGH"]}
VERSIONS: dict[int, dict[str, Any]] = {
    1: V1,
    2: changed({"name": "region", "type": ["null", "string"], "default": None}),
    3: changed(user_agent=None),
    4: changed(payload_size={"name": "payload_size", "type": "long"}),
    5: changed(payload_size={"name": "body_bytes", "type": "long", "aliases": ["payload_size"]}),
    6: changed({"name": "level", "type": ["null", LEVELS], "default": None}),
    7: changed({"name": "level", "type": [MORE_LEVELS, "null"], "default": "LOW"}),
    8: changed(
        {"name": "zone", "type": "string", "default": "zone-ü"}, {"name": "ratio", "type": "double", "default": 0.5}
    ),
    9: changed({"name": "ratio", "type": "float", "default": 0.5}),
    10: changed(status_code={"name": "status_code", "type": "string"}),
    11: changed(status_code={"name": "status_code", "type": ["null", "int"], "default": None}),
}
SCHEMAS = merge(LogSchema(json.dumps(V1)), {n: LogSchema(json.dumps(v)) for n, v in VERSIONS.items()})
BIG = 2**40


def written(version: int, **values: Any) -> bytes:
    """A framed record by fastavro alone; ``values`` in the version's own field names."""
    fields = {f["name"] for f in VERSIONS[version]["fields"]}
    content = {k: v for k, v in (record() | values).items() if k in fields}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(VERSIONS[version]), content)
    return b"\x00" + struct.pack(">I", version) + out.getvalue()


ADDED = {"region": None, "level": None, "zone": "zone-ü", "ratio": 0.5}
"""What a record of version 1 has in the columns that later ones added."""

CASES: list[tuple[bytes, dict[str, Any]]] = [
    (written(1, payload_size=7), ADDED | {"payload_size": 7}),
    (written(2, region="eu"), ADDED | {"region": "eu"}),
    (written(2, region=None), ADDED),
    (written(3), ADDED | {"user_agent": None}),
    (written(4, payload_size=BIG), ADDED | {"payload_size": BIG}),
    (written(5, body_bytes=-0), ADDED | {"payload_size": 0}),
    (written(5, body_bytes=BIG + 1), ADDED | {"payload_size": BIG + 1}),
    (written(6, level="HIGH"), ADDED | {"level": "HIGH"}),
    (written(7, level="MIDDLE"), ADDED | {"level": "MIDDLE"}),
    (written(7, level=None), ADDED),
    (written(8, zone="", ratio=2.25), ADDED | {"zone": "", "ratio": 2.25}),
    (written(9, ratio=-1.5), ADDED | {"ratio": -1.5}),
    (written(11, status_code=503), ADDED | {"status_code": 503}),
]


def test_every_version_of_one_batch_ends_in_the_same_columns(spark: SparkSession) -> None:
    rows = judged(spark, [value for value, _ in CASES], SCHEMAS)
    assert [row["problem_code"] for row in rows] == [None] * len(CASES)
    assert [{name: row[name] for name in wanted} for row, (_, wanted) in zip(rows, CASES, strict=True)] == [
        wanted for _, wanted in CASES
    ]
    assert all(row["is_valid"] for row in rows)


def test_one_byte_too_many_or_too_few_is_seen_in_every_version(spark: SparkSession) -> None:
    longer = judged(spark, [value + b"\x00" for value, _ in CASES], SCHEMAS)
    assert [row["problem_code"] for row in longer] == ["trailing_bytes"] * len(CASES)
    shorter = judged(spark, [value[:-1] for value, _ in CASES], SCHEMAS)
    assert [row["problem_code"] for row in shorter] == ["truncated_avro"] * len(CASES)
    last = [row["problem_field"] for row in shorter]
    assert last == [VERSIONS[row["schema_id"]]["fields"][-1]["name"] for row in shorter]


def test_an_incompatible_version_is_bad_data_with_its_reason_and_the_others_go_on(spark: SparkSession) -> None:
    bad, good = judged(spark, [written(10, status_code="200"), written(1)], SCHEMAS)
    assert (bad["problem_stage"], bad["problem_code"], bad["is_valid"]) == ("schema", "incompatible_schema", False)
    assert bad["problem_message"] == (
        "schema id 10 does not fit the tables: field status_code: string can't be read as int"
    )
    assert good["is_valid"]


def test_null_in_a_field_that_every_log_has_is_a_violation_of_that_field(spark: SparkSession) -> None:
    [row] = judged(spark, [written(11, status_code=None)], SCHEMAS)
    assert not row["is_valid"]
    found = [(v["code"], v["field"], v["severity"]) for v in row["violations"]]
    assert found == [("missing_field", "status_code", "critical")]


def test_the_ten_fields_come_through_unchanged_beside_the_added_ones(spark: SparkSession) -> None:
    sent = record()
    [row] = judged(spark, [written(2, **sent, region="eu")], SCHEMAS)
    assert {name: row[name] for name in LOG_FIELDS} == sent


@pytest.mark.parametrize("kept", [[], [2, 3]])
def test_any_set_of_versions_compiles(spark: SparkSession, kept: list[int]) -> None:
    texts = {n: LogSchema(json.dumps(VERSIONS[n])) for n in kept}
    schemas = merge(LogSchema(json.dumps(V1)), texts)
    [row] = judged(spark, [written(2, region="x")], schemas)
    assert row["problem_code"] == (None if kept else "unknown_schema_id")
