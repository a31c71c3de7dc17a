"""The notebook runs as committed and shows the numbers that the records give by hand."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from typing import Any

import fastavro
import nbformat
import pytest
from nbclient import NotebookClient

from pipelines.contracts import avro
from pipelines.settings import ROOT
from pipelines.traffic.defects import Outcome
from pipelines.traffic.generate import SCHEMA_VERSION, Message, Plan, generate
from pipelines.traffic.mix import parse_mix
from tests.world import NOW_MS, World

NOTEBOOK = ROOT / "notebooks" / "api6_logs.ipynb"
HALF_HOUR_MS = 1_800_000
PLOTS = ["traffic", "error rate", "latency", "bad rows"]


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def test_notebook_defines_nothing_and_holds_no_output(notebook: Any) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert not [
        line for cell in code for line in cell.source.splitlines() if re.search(r"\b(def|class|lambda)\b", line)
    ]


def test_plots_and_numbers_are_those_of_the_records(
    world: World, notebook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(600, 11, parse_mix("invalid=15%,warnings=3%,late=3%"), HALF_HOUR_MS, NOW_MS, world.schema_id)
    messages = list(generate(plan))
    world.send([m.value for m in messages])
    world.run("ingest")
    set_environment(world, monkeypatch)

    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    plots = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(plots) == len(PLOTS)
    text = "\n".join(output["data"]["text/plain"] for output in outputs if "text/html" in output.get("data", {}))
    endpoint, wanted = busiest(messages)
    assert shown(text, endpoint) == pytest.approx(wanted, abs=0.005)
    for reason in ("null_value", "truncated_avro", "duplicate_request_id", "status_code_range"):
        assert re.search(rf"^{reason} ", text, re.MULTILINE), f"no sample of {reason}"


def set_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's corner of the servers, as a person would point the notebook at it."""
    own = world.settings
    variables = {
        "SDP_HOME": own.home,
        "SDP_DIST": own.dist,
        "SDP_KAFKA__TOPIC": own.kafka.topic,
        "SDP_METASTORE__DATABASE": own.metastore.database,
        "SDP_SPARK__MASTER": "local[2]",
        "SDP_SPARK__DRIVER_MEMORY": "1g",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


def busiest(messages: list[Message]) -> tuple[str, list[float]]:
    """The endpoint with most valid requests, and: requests, 4xx and 5xx in per cent, p50, p95, p99 by nearest rank."""
    schema = avro.load("api6-logs-value", SCHEMA_VERSION).parsed
    valid = [m.value for m in messages if m.defect is None or m.defect.outcome in (Outcome.VALID, Outcome.WARNING)]
    records: list[Any] = [fastavro.schemaless_reader(io.BytesIO(v[5:]), schema, None) for v in valid if v]
    name = Counter(template(r) for r in records).most_common(1)[0][0]
    mine = [r for r in records if template(r) == name]
    latencies = sorted(r["response_time_ms"] for r in mine)
    families = Counter(r["status_code"] // 100 for r in mine)
    percent = [100 * families[family] / len(mine) for family in (4, 5)]
    return name, [len(mine), *percent, *(latencies[math.ceil(q * len(mine)) - 1] for q in (0.5, 0.95, 0.99))]


def template(record: dict[str, Any]) -> str:
    """``/orders/1234`` → ``/orders/{id}``."""
    return "/".join("{id}" if part.isdecimal() else part for part in record["api_endpoint"].split("/"))


def shown(text: str, endpoint: str) -> list[float]:
    """The numbers in the row of one endpoint."""
    [row] = [line for line in text.splitlines() if line.startswith(f"{endpoint} ")]
    return [float(number) for number in row.split()[1:]]
