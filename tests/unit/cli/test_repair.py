"""``sdp repair`` on a platform in memory: what it says, what it writes, and its exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines import bootstrap_repair
from pipelines.cli import app
from pipelines.cli.repair import show
from pipelines.errors import UsageError
from pipelines.flows.repair_report import Report
from pipelines.reconcile.model import Kind, Side
from pipelines.reconcile.repair_plan import Action, Change, Outcome, Place, Step
from tests.unit.flows.damage import damaged
from tests.unit.flows.repair_fakes import Platform


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Platform:
    found = damaged()
    monkeypatch.setattr(bootstrap_repair, "repair", lambda *_, **__: found.process())
    monkeypatch.setattr("pipelines.monitoring.logs.configure", lambda **_: None)
    return found


def sdp(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["repair", *arguments], catch_exceptions=False)


def as_json(result: Result) -> Any:
    return json.loads(result.stdout)


def test_a_dry_run_shows_kind_side_source_and_samples(on: Platform) -> None:
    result = sdp("latest", "--dry-run")
    assert result.exit_code == 0
    assert "dry run of a repair of run run-1: 10 open findings" in result.stdout
    [line] = [line for line in result.stdout.splitlines() if "insert_row" in line]
    assert [w for w in line.split() if w.isalnum()][:2] == ["missing", "valid"]
    assert "kafka" in line
    assert "planned" in line
    assert "0@0 r-0-0" in line
    assert (on.audit, on.journal) == ({}, None)


def test_a_pipe_gets_the_whole_id_of_a_document_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    index, document = "api6-logs-valid-2026.01.30", "8a4f3f52-6f1c-4b57-9a55-" + "0123456789ab" * 9
    step = Step(
        Place(7, 123_456_789),
        Kind.DOUBLED,
        Side.ELASTICSEARCH,
        Action.REMOVE_DOCUMENT,
        datetime(2026, 1, 30, tzinfo=UTC),
        es_index=index,
        es_id=document,
    )
    report = Report("repair-1", "run-1", 1)
    report.add([Change(step, Outcome.REFUSED, message="only with --delete-extras")])
    show(report)
    [line] = [line for line in capsys.readouterr().out.splitlines() if "remove_document" in line]
    assert f"7@123456789 {index}/{document} only with --delete-extras" in line


def test_the_result_in_json_and_the_exit_code_of_what_is_left(on: Platform) -> None:
    result = sdp("latest", "--json", "--as", "ana", "--rate", "0")
    assert result.exit_code == 1
    told = as_json(result)
    assert {name: told[name] for name in ("run_id", "findings", "closed", "left", "stopped", "again", "dry_run")} == {
        "run_id": "run-1",
        "findings": 10,
        "closed": 7,
        "left": 3,
        "stopped": False,
        "again": ["run-2"],
        "dry_run": False,
    }
    [extra] = [d for d in told["deeds"] if d["kind"] == "extra"]
    assert (extra["action"], extra["source"], extra["outcome"], extra["changes"]) == (
        "remove_document",
        None,
        "skipped",
        1,
    )
    assert extra["samples"][0]["message"] == "documents are removed with --delete-extras only"
    assert {repair for repair, _ in on.audit} == {told["repair_id"]}


def test_a_clean_end_is_0_and_so_is_nothing_to_do(on: Platform) -> None:
    result = sdp("run-1", "--delete-extras")
    assert (result.exit_code, "10 findings closed, 0 left" in result.stdout) == (0, True)
    on.findings.clear()
    result = sdp("run-1")
    assert (result.exit_code, result.stdout) == (0, "run run-1 has no open finding: nothing to repair\n")


def test_wrong_use(on: Platform) -> None:
    with pytest.raises(UsageError):
        sdp("run-9")
    assert sdp("latest", "--rate", "nan").exit_code == 2
    assert sdp("latest", "--rate", "-1").exit_code == 2
    assert sdp().exit_code == 2
