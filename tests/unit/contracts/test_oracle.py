"""The tables of ``tests/spark/oracle.py`` against the code that works without Spark."""

from __future__ import annotations

import io
import json

import fastavro
import pytest

from pipelines.contracts import avro, wire
from pipelines.contracts.avro_walk import find_problem
from pipelines.contracts.evaluate import evaluator
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import LogSchema
from pipelines.records import Violation
from pipelines.settings import ROOT
from tests.spark.oracle import (
    AVRO_CASES,
    BODY,
    KAFKA_MS,
    RECORD,
    RULE_CASES,
    WIRE_CASES,
    AvroCase,
    RuleCase,
    WireCase,
)

SCHEMA = avro.load("api6-logs-value", 1)
RULES: RuleSet = load_rules(ROOT / "conf" / "rules" / "api6-logs.yaml", LogSchema(SCHEMA.text).kinds)
JUDGE = evaluator(RULES)


def test_the_bytes_laid_out_in_the_table_are_the_record() -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(SCHEMA.text)), RECORD)
    assert bytes.fromhex("".join(BODY.values())) == out.getvalue()
    assert list(BODY) == list(RECORD)


def test_every_rule_is_broken_and_kept_by_some_case() -> None:
    broken = {code for case in RULE_CASES for code, _, _ in case.violations}
    assert broken == {rule.id for rule in RULES.rules}
    assert len({case.name for case in (*RULE_CASES, *WIRE_CASES, *AVRO_CASES)}) == len(
        (*RULE_CASES, *WIRE_CASES, *AVRO_CASES)
    )


@pytest.mark.parametrize("case", RULE_CASES, ids=lambda case: case.name)
def test_rules_in_plain_python(case: RuleCase) -> None:
    found = JUDGE(RECORD | dict(case.changes), KAFKA_MS)
    assert tuple((v.code, v.field, v.severity.value) for v in found) == case.violations
    assert not case.messages or tuple(v.message for v in found) == case.messages
    assert case.is_valid == (not case.unshowable and all(s != "critical" for _, _, s in case.violations))


@pytest.mark.parametrize("case", WIRE_CASES, ids=lambda case: case.name)
def test_headers_in_plain_python(case: WireCase) -> None:
    found = wire.parse(None if case.value is None else bytes.fromhex(case.value))
    if isinstance(found, Violation):
        assert found.code == case.code
    else:
        assert (case.code, found.schema_id == 1) == ("unknown_schema_id", False)


@pytest.mark.parametrize("case", AVRO_CASES, ids=lambda case: case.name)
def test_bodies_in_plain_python(case: AvroCase) -> None:
    found = find_problem(SCHEMA.parsed, case.body)
    if case.code is None:
        assert found is None
        return
    assert found is not None
    assert (found.code, found.field) == (case.code, case.at)
    if case.byte is not None:
        assert found.message.startswith(f"field {case.at}, byte {case.byte}: ")
        behind_header = find_problem(SCHEMA.parsed, case.body, 5)
        assert behind_header is not None
        assert behind_header.message.startswith(f"field {case.at}, byte {case.byte + 5}: ")
