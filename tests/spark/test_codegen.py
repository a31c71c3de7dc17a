"""The generated code of the hot path stays below what the JVM compiles, however many rules and versions there are."""

from __future__ import annotations

import json
from itertools import cycle, islice
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.evolution import merge
from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import LogSchema
from pipelines.ingest.judge import judge
from tests.spark.test_judge import RULES, SCHEMA, SOURCE

HUGE_METHOD_BYTES = 8_000
"""HotSpot's HugeMethodLimit: the interpreter runs what is larger."""


def rules(number: int) -> RuleSet:
    """The rules that ship, again and again under other names."""
    many = (rule.model_copy(update={"id": f"r{k}"}) for k, rule in enumerate(islice(cycle(RULES.rules), number)))
    return RuleSet(subject="s", rules=tuple(many))


def versions(number: int) -> dict[int, LogSchema]:
    """Each has one optional field more than the last."""
    schema = json.loads(SCHEMA.text)
    found = {1: SCHEMA}
    for k in range(2, number + 1):
        schema["fields"].append({"name": f"extra_{k}", "type": ["null", "string"], "default": None})
        found[k] = LogSchema(json.dumps(schema))
    return found


def largest_method(frame: DataFrame) -> list[int]:
    """Bytes of the largest method of each piece of generated code, as Spark itself tells."""
    jvm: Any = frame.sparkSession._jvm
    debug = getattr(jvm.org.apache.spark.sql.execution.debug, "package$")
    pieces = getattr(debug, "MODULE$").codegenStringSeq(frame._jdf.queryExecution().executedPlan())
    return [pieces.apply(k)._3().maxMethodCodeSize() for k in range(pieces.size())]


@pytest.mark.parametrize(("schemas", "number"), [(1, 13), (1, 20), (5, 13), (8, 13), (1, 60), (8, 60)])
def test_every_piece_of_the_judge_is_compiled(spark: SparkSession, schemas: int, number: int) -> None:
    frame = spark.createDataFrame([], SOURCE).transform(judge(merge(SCHEMA, versions(schemas)), rules(number)))
    sizes = largest_method(frame)
    assert len(sizes) >= 2
    assert max(sizes) < HUGE_METHOD_BYTES
