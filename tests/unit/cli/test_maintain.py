"""``sdp maintain`` and ``sdp lag``: what they print, and with which code they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines import bootstrap_maintenance
from pipelines.cli import app
from pipelines.cli.options import Interrupted
from pipelines.errors import BrokerUnavailable, UsageError
from pipelines.maintenance.lag import JobLag, Limits, PartitionLag
from pipelines.maintenance.step import Step
from pipelines.settings import Settings

STEP = Step("merge files", "api6_logs_valid", "1 partitions: 9 files became 1")
NOW = datetime(2026, 1, 31, tzinfo=UTC)


class FakeMaintenance:
    """Every task tells the same step and then fails with ``error``, if there is one."""

    def __init__(self, *steps: Step, error: BaseException | None = None) -> None:
        self.steps, self.error, self.opened = steps, error, list[date]()
        self.called: list[tuple[str, dict[str, bool]]] = []

    def __getattr__(self, task: str) -> Callable[..., None]:
        def run(now: datetime, told: Callable[[Step], None], **how: bool) -> None:
            assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)
            self.called.append((task, how))
            for step in self.steps:
                told(step)
            if self.error:
                raise self.error

        return run

    def open_index(self, day: date, told: Callable[[Step], None]) -> None:
        self.opened.append(day)


def maintain(monkeypatch: pytest.MonkeyPatch, fake: FakeMaintenance, *arguments: str) -> Result:
    monkeypatch.delenv("SDP_ENV", raising=False)
    monkeypatch.setattr(bootstrap_maintenance, "maintenance", lambda _: fake)
    return CliRunner().invoke(app, ["maintain", *arguments])


@pytest.mark.parametrize("task", ["optimize", "vacuum", "indices", "checkpoints"])
def test_each_step_is_a_line(monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    line = "merge files: api6_logs_valid: 1 partitions: 9 files became 1\n"
    fake = FakeMaintenance(STEP)
    result = maintain(monkeypatch, fake, task)
    assert (result.exit_code, result.stdout) == (0, line)
    assert maintain(monkeypatch, fake, task, "--dry-run").stdout == f"would {line}"
    assert [(name, how["dry_run"]) for name, how in fake.called] == [(task, False), (task, True)]
    assert maintain(monkeypatch, FakeMaintenance(), task).stdout == f"{task}: nothing to do\n"


def test_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result = maintain(monkeypatch, FakeMaintenance(STEP), "vacuum", "--json", "--dry-run")
    assert json.loads(result.stdout) == {
        "task": "vacuum",
        "dry_run": True,
        "steps": [{"action": STEP.action, "target": STEP.target, "detail": STEP.detail}],
    }


def test_what_was_done_before_an_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = FakeMaintenance(STEP, error=UsageError("no"))
    result = maintain(monkeypatch, broken, "optimize", "--json")
    assert (type(result.exception), len(json.loads(result.stdout)["steps"])) == (UsageError, 1)
    cut_off = maintain(monkeypatch, FakeMaintenance(STEP, error=KeyboardInterrupt()), "optimize")
    assert (cut_off.exit_code, "the steps that were printed are done" in cut_off.stderr) == (130, True)
    assert issubclass(Interrupted, KeyboardInterrupt)


def test_force_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMaintenance()
    maintain(monkeypatch, fake, "vacuum", "--force")
    assert fake.called == [("vacuum", {"dry_run": False, "force": True})]


def test_opening_an_index_does_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMaintenance(STEP)
    assert maintain(monkeypatch, fake, "indices", "--open", "2026-01-31", "--open", "2026-02-01").exit_code == 0
    assert (fake.opened, fake.called) == ([date(2026, 1, 31), date(2026, 2, 1)], [])
    for wrong in (["--open", "yesterday"], ["--open", "2026-01-31", "--dry-run"]):
        assert isinstance(maintain(monkeypatch, fake, "indices", *wrong).exception, UsageError)


# lag


def waiting(records: int, limits: Limits) -> list[JobLag]:
    old = PartitionLag(0, 0, 0, records, NOW - timedelta(seconds=75))
    return [JobLag("ingest", NOW, limits, (old,)), JobLag("index", NOW, limits, (PartitionLag(0, 9, 0, 9),))]


def lag(monkeypatch: pytest.MonkeyPatch, records: int, *arguments: str) -> Result:
    def wired(settings: Settings) -> Callable[[datetime], list[JobLag]]:
        return lambda _: waiting(records, Limits(settings.lag.max_records, settings.lag.max_age_s))

    monkeypatch.delenv("SDP_ENV", raising=False)
    monkeypatch.setattr(bootstrap_maintenance, "lag", wired)
    return CliRunner().invoke(app, ["lag", *arguments])


@pytest.mark.parametrize(
    ("records", "arguments", "code"),
    [
        (100_000, [], 0),
        (100_001, [], 1),
        (100_001, ["--max-records", "100001"], 0),
        (5, ["--max-records", "4"], 1),
        (5, ["--max-age-s", "74.9"], 1),
        (5, ["--max-age-s", "75"], 0),
        (5, ["--set", "lag.max_records=4"], 1),
    ],
)
def test_the_exit_code_of_lag(monkeypatch: pytest.MonkeyPatch, records: int, arguments: list[str], code: int) -> None:
    result = lag(monkeypatch, records, *arguments)
    assert result.exit_code == code
    assert ("both jobs are within" in result.stdout) == (code == 0)


def test_lag_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = json.loads(lag(monkeypatch, 5, "--json").stdout)
    assert list(found) == ["ingest", "index"]
    partition = {
        "partition": 0,
        "position": 0,
        "kafka_from": 0,
        "kafka_until": 5,
        "records": 5,
        "age_s": 75.0,
        "gone": 0,
    }
    assert found["ingest"] == {
        "records": 5,
        "oldest_s": 75.0,
        "max_records": 100_000,
        "max_age_s": 3600.0,
        "problems": [],
        "partitions": [partition],
    }
    assert (found["index"]["records"], found["index"]["oldest_s"]) == (0, None)


def test_a_kafka_that_is_away_is_infrastructure(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Settings) -> Callable[[datetime], list[JobLag]]:
        raise BrokerUnavailable("Kafka", "k:9092", "refused")

    monkeypatch.setattr(bootstrap_maintenance, "lag", away)
    error = CliRunner().invoke(app, ["lag"]).exception
    assert isinstance(error, BrokerUnavailable)
    assert error.exit_code == 3
