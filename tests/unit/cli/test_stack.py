"""``sdp stack`` on a home where nothing was ever started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDP_HOME", str(tmp_path))
    monkeypatch.delenv("SDP_DIST", raising=False)
    return tmp_path


def sdp(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=answer)


def test_status_prints_one_object_and_exits_with_3(home: Path) -> None:
    result = sdp("stack", "status", "--json")
    assert result.exit_code == 3
    shown = json.loads(result.stdout)
    assert list(shown) == ["kafka", "elasticsearch", "registry", "metastore", "warehouse", "servers"]
    assert shown["warehouse"] == str(home / "warehouse")
    assert [server["running"] for server in shown["servers"].values()] == [False] * 4


def test_down_of_nothing_is_fine(home: Path) -> None:
    result = sdp("stack", "down", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"stopped": [], "removed": []}


def test_purge_asks_first(home: Path) -> None:
    tables = home / "warehouse"
    tables.mkdir()
    for answer in ("n\n", ""):
        refused = sdp("stack", "down", "--purge", answer=answer)
        assert refused.exit_code == 130
        assert refused.stderr.endswith("sdp: nothing was stopped or removed; --yes removes without asking\n")
    assert tables.is_dir()
    assert sdp("stack", "down", "--purge", answer="y\n").exit_code == 0
    assert not tables.exists()


def test_doctor_reports_problems_and_exits_with_3(home: Path) -> None:
    result = sdp("doctor", "--json")
    assert result.exit_code == 3
    findings = json.loads(result.stdout)["findings"]
    assert {"level", "what", "found", "advice"} == set(findings[0])
    assert "problem" in {finding["level"] for finding in findings}


def test_doctor_shows_an_address_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDP_KAFKA__BOOTSTRAP", "localhost:abc")
    result = sdp("doctor")
    assert result.exit_code == 3
    assert "localhost:abc: " in result.stdout


@pytest.mark.parametrize("command", [["stack", name] for name in ("up", "down", "status", "fetch")] + [["doctor"]])
def test_help_shows_an_example(command: list[str]) -> None:
    result = sdp(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: sdp {' '.join(command)}" in result.stdout
