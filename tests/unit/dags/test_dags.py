"""What can be said of the DAG files without Airflow."""

from __future__ import annotations

import ast
import re
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from api6_calls import hour_after, reconcile_options, told_as, yesterday
from pipelines.settings import ROOT

FILES = sorted((ROOT / "dags").glob("*.py"))
SHARED = {path.stem for path in FILES if "DAG(" not in path.read_text(encoding="utf-8")}
ALLOWED = {"airflow", *SHARED, *sys.stdlib_module_names}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def test_dags_import_airflow_and_each_other_only() -> None:
    assert {path.name: imported(path) - ALLOWED for path in FILES} == {path.name: set() for path in FILES}


def schedule(dag: str) -> tuple[int, int, str | None]:
    """Hour, minute and zone of a daily DAG; None is the zone of the settings."""
    tree = ast.parse((ROOT / "dags" / f"{dag}.py").read_text(encoding="utf-8"))
    (call,) = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "schedule" and isinstance(node.value, ast.Call)
    ]
    minute, hour, *rest = str(ast.literal_eval(call.args[0])).split()
    assert rest == ["*", "*", "*"]
    (zone,) = [keyword.value for keyword in call.keywords if keyword.arg == "timezone"]
    return int(hour), int(minute), str(zone.value) if isinstance(zone, ast.Constant) else None


@pytest.mark.parametrize("setting", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_each_utc_day_of_a_year_is_checked_once_and_when_it_is_over(setting: str) -> None:
    hour, minute, own = schedule("api6_data_quality")
    zone = ZoneInfo(own or setting)
    nights = [datetime(2026, 1, 1, hour, minute, tzinfo=zone) + timedelta(days=n) for n in range(366)]
    for shown_in in (UTC, ZoneInfo(setting)):
        days = [date.fromisoformat(yesterday(night.astimezone(UTC).astimezone(shown_in))) for night in nights]
        assert days == [date(2025, 12, 31) + timedelta(days=n) for n in range(366)]
    assert all(datetime.combine(day + timedelta(days=1), time(), UTC) <= n for day, n in zip(days, nights, strict=True))


def test_the_example_of_a_dag_that_waits_asks_for_hours_that_the_run_of_its_night_proves() -> None:
    """At the end of its own interval, up to that end; the nightly run comes within the hour."""
    text = (ROOT / "docs" / "airflow.md").read_text(encoding="utf-8")
    (minute, hour), (until,) = *re.findall(r'"([0-9]+) ([0-9]+) \* \* \*"', text), re.findall(r'until="(.*)",', text)
    assert until == "{{ data_interval_end }}"
    waits = datetime(2026, 3, 2, int(hour), int(minute), tzinfo=UTC)
    hour_of_run, minute_of_run, _ = schedule("api6_reconciliation")
    night = datetime(2026, 3, 2, hour_of_run, minute_of_run, tzinfo=UTC)
    form = {"sample": 0, "deep": "never"}
    options = reconcile_options(form, "a", night - timedelta(days=1), night)
    assert options[options.index("--to") + 1] == hour_after(waits)


def test_each_message_leads_to_a_section_of_the_runbook() -> None:
    tree = ast.parse((ROOT / "dags" / "api6_alerts.py").read_text(encoding="utf-8"))
    given = {
        t.id: n.value for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)
    }
    sections, paged = ast.literal_eval(given["SECTIONS"]), ast.literal_eval(given["PAGED"])
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    headings = {
        line[3:].lower().replace(":", "").replace(" ", "-") for line in runbook.splitlines() if line[:3] == "## "
    }
    assert set(sections.values()) <= headings
    assert set(sections) == set(paged)
    for verdict in ("ok", "warning", "investigate", "escalate"):
        assert sections[told_as({"verdict": verdict}, verdict)] == f"reconciliation-{verdict}"


def test_calls_know_nothing_of_airflow() -> None:
    assert "airflow" not in imported(ROOT / "dags" / "api6_calls.py")


def test_airflow_looks_for_dags_in_files_that_have_some() -> None:
    ignored = (ROOT / "dags" / ".airflowignore").read_text(encoding="utf-8").replace("\\", "").split()
    assert set(ignored) == {f"{name}.py" for name in SHARED}
