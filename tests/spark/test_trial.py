"""A proposed version and recent rows: who would be newly rejected, counted in one pass."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts import avro
from pipelines.contracts.evolution import merge
from pipelines.contracts.proposal import PROPOSED_ID, Proposal, propose
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.writer import LogSchema
from pipelines.ingest.trial import SAMPLES, sample_coordinates, trial
from pipelines.settings import ROOT
from tests.world import NOW_MS, record

TEXT = avro.load("api6-logs-value", 1).text
BASE = LogSchema(TEXT)
RULES = load_rules(ROOT / "conf" / "rules" / "api6-logs.yaml", BASE.kinds)
SOURCE = """key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp,
    headers array<struct<key: string, value: binary>>"""


def with_fields(*fields: dict[str, Any], without: Sequence[str] = ()) -> LogSchema:
    """The shipped schema with some fields changed, added behind, or left out."""
    schema = json.loads(TEXT)
    new = {f["name"]: f for f in fields}
    kept = [new.pop(f["name"], f) for f in schema["fields"] if f["name"] not in without]
    return LogSchema(json.dumps(schema | {"fields": [*kept, *new.values()]}))


REGION = {"name": "region", "type": ["null", "string"], "default": None}
TENANT = {"name": "tenant", "type": "string"}


def framed(value: dict[str, Any], schema_id: int = 1, schema: LogSchema = BASE) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(schema.text)), value)
    return b"\x00" + struct.pack(">I", schema_id) + out.getvalue()


def tried(spark: SparkSession, proposal: Proposal, values: Sequence[bytes | None]) -> dict[Any, dict[str, Any]]:
    """(schema id, reason) → the counted row. The n-th value is at partition n % 3, offset 100 + n."""
    rows = [
        (None, value, "t", n % 3, 100 + n, datetime.fromtimestamp(NOW_MS / 1000, UTC), None)
        for n, value in enumerate(values)
    ]
    found = spark.createDataFrame(rows, SOURCE).transform(trial(proposal, RULES)).collect()
    return {(r["schema_id"], r["reason"]): r.asDict() for r in found}


def counts(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return row["records"], row["decode_today"], row["would_decode"], row["newly_accepted"]


def test_a_new_optional_field_rejects_nothing(spark: SparkSession) -> None:
    proposal = propose(BASE, {1: BASE}, with_fields(REGION))
    values = [
        framed(record()),
        framed(record(user_agent=None)),
        framed(record(status_code=99)),  # decodes, and is invalid today
        framed(record())[:-1],
        None,
        b"{}",
        framed(record(), schema_id=77),
        framed(record(), schema_id=78),
        framed(record(user_agent="AAAA")).replace(b"AAAA", b"\xff\xfe\xc3\x28"),
    ]
    found = tried(spark, proposal, values)
    assert {key: counts(row) for key, row in found.items()} == {(1, None): (5, 3, 3, 0), (None, None): (4, 0, 0, 0)}


def test_a_new_required_field_rejects_what_is_valid_today(spark: SparkSession) -> None:
    older = with_fields(REGION)
    proposal = propose(BASE, {1: BASE, 2: older}, with_fields(REGION, TENANT))
    values = [framed(record()) for _ in range(10)]
    values += [framed(record(region="eu"), 2, older), framed(record(status_code=99)), framed(record(), 3)]
    found = tried(spark, proposal, values)
    assert {key: counts(row) for key, row in found.items()} == {
        (1, "incompatible_schema"): (10, 10, 0, 0),
        (2, "incompatible_schema"): (1, 1, 0, 0),
        (1, None): (1, 1, 0, 0),
        (None, None): (1, 0, 0, 0),
    }
    samples = [sample_coordinates(found[1, "incompatible_schema"][name]) for name in SAMPLES]
    assert samples[:2] == [(0, 100), (0, 109)]
    assert samples[2] in {(n % 3, 100 + n) for n in range(10)}
    assert {sample_coordinates(found[2, "incompatible_schema"][name]) for name in SAMPLES} == {(1, 110)}


def test_only_the_versions_that_can_not_be_read_are_rejected(spark: SparkSession) -> None:
    tenants = with_fields(TENANT)
    proposal = propose(BASE, {1: BASE, 2: tenants}, with_fields(TENANT | {"aliases": ["customer"]}))
    found = tried(spark, proposal, [framed(record()), framed(record(tenant="a"), 2, tenants)])
    assert {key: counts(row) for key, row in found.items()} == {
        (1, "incompatible_schema"): (1, 1, 0, 0),
        (2, None): (1, 1, 1, 0),
    }


def test_a_wider_number_and_a_field_that_is_gone(spark: SparkSession) -> None:
    version = with_fields({"name": "payload_size", "type": "long"}, without=["error_message"])
    proposal = propose(BASE, {1: BASE}, version)
    values = [framed(record(payload_size=2**31 - 1)), framed(record(error_message="x"))]
    assert {key: counts(row) for key, row in tried(spark, proposal, values).items()} == {(1, None): (2, 2, 2, 0)}


def test_records_of_the_proposed_version_itself_decode_beside_the_others(spark: SparkSession) -> None:
    version = with_fields(REGION, {"name": "payload_size", "type": "long"})
    proposal = propose(BASE, {1: BASE}, version)
    values = [framed(record(region="eu", payload_size=2**40), PROPOSED_ID, version), framed(record())]
    assert {key: counts(row) for key, row in tried(spark, proposal, values).items()} == {
        (None, None): (1, 0, 1, 1),
        (1, None): (1, 1, 1, 0),
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request_id": ("rid", "")}, "request_id_blank"),
        ({"http_method": ("verb", "GETT")}, "http_method_known"),
        ({"http_method": ("verb", "GETT"), "request_id": ("rid", " ")}, "request_id_blank"),
        ({"user_agent": ("agent", "")}, None),  # a warning rejects nothing
        ({"timestamp": ("at", 2**62)}, "timestamp_window"),
    ],
)
def test_the_reason_is_the_first_critical_rule_that_breaks(
    spark: SparkSession, changes: dict[str, tuple[str, Any]], reason: str | None
) -> None:
    """A reader that forgets the alias of a renamed field takes its own default instead, which a rule may refuse."""
    written, aliased, forgetful = (json.loads(TEXT) for _ in range(3))
    for position, field in enumerate(json.loads(TEXT)["fields"]):
        name, default = changes.get(field["name"], (field["name"], None))
        if field["name"] in changes:
            written["fields"][position]["name"] = name
            aliased["fields"][position]["aliases"] = [name]
            forgetful["fields"][position] |= {"type": field["type"], "default": default}
            if isinstance(field["type"], list):
                forgetful["fields"][position]["type"] = field["type"][::-1]
    writer, today, proposed = (LogSchema(json.dumps(s)) for s in (written, aliased, forgetful))
    value = {changes.get(name, (name,))[0]: value for name, value in record().items()}
    proposal = Proposal((1,), merge(today, {1: writer}), merge(proposed, {1: writer}), {}, ())
    found = tried(spark, proposal, [framed(value, 1, writer)])
    assert {key: counts(row) for key, row in found.items()} == {(1, reason): (1, 1, 1, 0)}


def test_rows_are_read_once_and_never_by_python(spark: SparkSession) -> None:
    frame: DataFrame = spark.createDataFrame(
        [(None, framed(record()), "t", 0, 0, datetime.fromtimestamp(NOW_MS / 1000, UTC), None)], SOURCE
    )
    tested = frame.transform(trial(propose(BASE, {1: BASE}, with_fields(REGION)), RULES))
    plan = tested._jdf.queryExecution().executedPlan().toString()
    assert plan.count("Scan ExistingRDD") == 1
    assert plan.count("Python") == 0
    assert "SortAggregate" not in plan
