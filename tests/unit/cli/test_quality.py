"""``sdp quality`` on outcomes made by hand: what it shows and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines import bootstrap, cli
from pipelines.cli import app
from pipelines.errors import MetastoreUnavailable
from pipelines.quality.expectation import Asset, Expectation
from pipelines.quality.result import Checked, DayChecked, State
from pipelines.records import Severity
from pipelines.settings import ROOT, Settings

DAY = date(2026, 1, 31)


def checked(name: str, severity: Severity, state: State, found: str) -> Checked:
    asked = Expectation(name, Asset.ROWS, "expect_it", {"column": "status_code"}, severity, f"{name} is so")
    return Checked(asked, state, found)


MET = checked("range", Severity.CRITICAL, State.PASSED, "all 1,234 rows")
WARNED = checked("high", Severity.WARNING, State.FAILED, "9; expected at most 5")
LEFT_OUT = checked("volume", Severity.CRITICAL, State.SKIPPED, "too few days")
BROKEN = checked("there", Severity.CRITICAL, State.FAILED, "3 of 1,234 rows are not so")


class Found:
    """Stands for the wiring, and remembers what it was asked."""

    def __init__(self, *outcome: Checked) -> None:
        self.outcome, self.asked, self.pages = outcome, date.min, Path()

    def __call__(self, settings: Settings, pages: Path) -> Found:
        self.pages = pages
        return self

    def check(self, day: date) -> DayChecked:
        self.asked = day
        return DayChecked(day, 1234, 5, self.outcome, Path("/docs/index.html"))


def sdp(monkeypatch: pytest.MonkeyPatch, found: Found, *arguments: str) -> Result:
    monkeypatch.delenv("SDP_ENV", raising=False)
    monkeypatch.setattr(bootstrap, "quality", lambda settings, pages: found(settings, pages).check)
    return CliRunner().invoke(app, ["quality", *arguments])


def test_one_line_per_expectation_and_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    result = sdp(monkeypatch, Found(MET, WARNED, LEFT_OUT), "--day", "2026-01-31")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "2026-01-31: 1,234 rows, 5 refused records",
        "  passed  critical  range   all 1,234 rows",
        "  failed  warning   high    9; expected at most 5",
        "  skipped critical  volume  too few days",
        "1 of 3 expectations are met, none that is critical failed, 1 failed with a warning, 1 skipped",
        "pages: /docs/index.html",
    ]


def test_a_critical_failure_exits_with_1_and_its_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    result = sdp(monkeypatch, Found(MET, BROKEN, WARNED), "--day", "2026-01-31")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-3:] == [
        "FAILED: 1 of 3 expectations, critical",
        "  there: 3 of 1,234 rows are not so. Expected: there is so",
        "pages: /docs/index.html",
    ]


def test_json_is_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    result = sdp(monkeypatch, Found(BROKEN, LEFT_OUT), "--day", "2026-01-31", "--json")
    assert result.exit_code == 1
    first = {"id": "there", "of": "rows", "column": "status_code", "severity": "critical", "state": "failed"}
    assert json.loads(result.stdout) == {
        "day": "2026-01-31",
        "rows": 1234,
        "refused": 5,
        "passed": False,
        "reasons": ["there: 3 of 1,234 rows are not so. Expected: there is so"],
        "expectations": [
            first | {"means": "there is so", "found": "3 of 1,234 rows are not so"},
            first | {"id": "volume", "state": "skipped", "means": "volume is so", "found": "too few days"},
        ],
        "pages": "/docs/index.html",
    }


def test_it_is_about_yesterday_and_writes_below_home_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = Found(MET)
    before = datetime.now(UTC).date()
    sdp(monkeypatch, found, "--set", f"home={tmp_path}")
    after = datetime.now(UTC).date()
    assert found.asked + timedelta(days=1) in (before, after)
    assert found.pages == tmp_path / "quality" / "docs"
    sdp(monkeypatch, found, "--docs", "/elsewhere", "--day", "2026-01-31")
    assert (found.asked, found.pages) == (DAY, Path("/elsewhere"))


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "31.01.2026", "2026-01-31T00"])
def test_another_day_than_one_of_the_calendar_is_wrong_use(monkeypatch: pytest.MonkeyPatch, day: str) -> None:
    result = sdp(monkeypatch, Found(MET), "--day", day)
    assert result.exit_code == 2
    assert "2026-01-31" in result.stderr


def test_infrastructure_that_is_away_is_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def away(*_: object) -> None:
        raise MetastoreUnavailable("Hive metastore", "thrift://m", "refused")

    monkeypatch.setattr(bootstrap, "quality", away)
    with pytest.raises(SystemExit) as caught:
        cli.main(["quality"])
    assert caught.value.code == 3
    assert "Hive metastore at thrift://m is not available" in capsys.readouterr().err


def test_without_great_expectations_it_says_what_to_run(tmp_path: Path) -> None:
    program = "import sys; sys.modules['great_expectations'] = None; from pipelines.cli import main; main(['quality'])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SDP_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("run `make install`, which brings Great Expectations\n")


def test_nothing_else_pays_for_great_expectations() -> None:
    program = "import sys, pipelines.cli, pipelines.bootstrap; assert 'great_expectations' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], timeout=120, env=environment, check=True)
