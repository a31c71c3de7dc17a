"""``sdp schemas test`` from findings made by hand: what it shows, and what it calls wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner, Result

from pipelines import bootstrap
from pipelines.cli import app, options
from pipelines.contracts.compatibility import Incompatibility, Problem
from pipelines.contracts.proposal import Change, ColumnChange, Proposal
from pipelines.contracts.writer import LogSchema
from pipelines.errors import UsageError
from pipelines.flows.schema_trial import Answer, Count, Effect, Rejection
from pipelines.records import OffsetRange
from pipelines.settings import ROOT

SHIPPED = ROOT / "schemas" / "api6-logs-value" / "v1.avsc"
MISMATCH = Problem(
    "fields.status_code", Incompatibility.TYPE_MISMATCH, "field status_code: int can't be read as string"
)
FINE = Answer((1, 7), {}, "BACKWARD", True, (ColumnChange("region", Change.NEW, "", "string or null"),))
BAD = replace(FINE, incompatible={7: (MISMATCH,)}, registry_accepts=False, changes=())
RANGES = (OffsetRange("api6-logs", 0, 10, 1_510),)
NOTHING_LOST = Effect(RANGES, (Count(1, 1_490, 1_480, 1_480, 0, 2), Count(None, 10, 0, 0, 0, 0)))
LOST = Effect(
    RANGES,
    (Count(1, 1_500, 1_480, 980, 500, 0),),
    (
        Rejection(1, "incompatible_schema", 400, ((0, 10), (3, 77), (11, 1_509))),
        Rejection(1, "status_code_range", 100, ((0, 12),)),
    ),
)


@dataclass
class FakeTrial:
    """Answers as told, and remembers the window."""

    given: Answer
    found: Effect
    window: tuple[datetime, datetime] | None = None
    version: LogSchema | None = None

    def proposal(self, version: LogSchema) -> Proposal:
        self.version = version
        return cast(Proposal, None)

    def answer(self, proposal: Proposal, version: LogSchema) -> Answer:
        return self.given

    def effect(self, proposal: Proposal, since: datetime, until: datetime) -> Effect:
        self.window = since, until
        return self.found


@contextmanager
def not_following(spark: SparkSession, told: Callable[[int, int], None]) -> Iterator[None]:
    told(1, 2)
    yield


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(options.out, "width", 120)
    monkeypatch.delenv("SDP_ENV", raising=False)
    monkeypatch.setattr(bootstrap, "spark_session", lambda settings, app: None)
    monkeypatch.setattr(bootstrap, "following", not_following)

    def run(trial: FakeTrial, *more: str, file: Path = SHIPPED) -> Result:
        monkeypatch.setattr(bootstrap, "schema_trial", lambda settings: trial)
        return CliRunner().invoke(app, ["schemas", "test", str(file), *more])

    return run


def cells(result: Result) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")] for line in result.stdout.split("\n")
    ]


def test_a_version_that_loses_nothing_exits_with_0(run: Callable[..., Result]) -> None:
    trial = FakeTrial(FINE, NOTHING_LOST)
    result = run(trial)
    assert result.exit_code == 0
    shown = cells(result)
    assert ["1", "yes"] in [line[:2] for line in shown]
    assert ["7", "yes"] in [line[:2] for line in shown]
    assert ["region", "new", "", "string or null"] in shown
    assert ["1", "1,490", "1,480", "1,480", "0", "2"] in shown
    assert ["not registered", "10", "0", "0", "0", "0"] in shown
    assert ["all", "1,500", "1,480", "1,480", "0", "2"] in shown
    assert "the registry, which holds the subject to BACKWARD, accepts it" in result.stdout
    assert "compatible with 2 registered versions, 0 of 1,500 records newly rejected" in result.stdout
    assert trial.version == LogSchema(SHIPPED.read_text(encoding="utf-8"))


def test_an_incompatible_version_exits_with_1_and_names_field_and_reason(run: Callable[..., Result]) -> None:
    result = run(FakeTrial(BAD, NOTHING_LOST))
    assert result.exit_code == 1
    assert ["7", "no", "type_mismatch", "field status_code: int can't be read as string"] in cells(result)
    assert "refuses it" in result.stdout
    assert "INCOMPATIBLE with 2 registered versions" in result.stdout


def test_newly_rejected_records_exit_with_1_and_are_shown_by_reason(run: Callable[..., Result]) -> None:
    result = run(FakeTrial(FINE, LOST))
    assert result.exit_code == 1
    assert ["1", "incompatible_schema", "400", "0/10, 3/77, 11/1509"] in cells(result)
    assert ["1", "status_code_range", "100", "0/12"] in cells(result)
    assert "500 (33.33% of 1,500) records newly rejected" in result.stdout


def test_a_refusal_of_the_registry_alone_exits_with_1(run: Callable[..., Result]) -> None:
    assert run(FakeTrial(replace(FINE, registry_accepts=False), NOTHING_LOST)).exit_code == 1


def test_a_version_without_a_place_in_the_tables_exits_with_1(run: Callable[..., Result]) -> None:
    trial = FakeTrial(replace(FINE, misfit="field size is required, and this version lacks it"), NOTHING_LOST)
    result = run(trial)
    assert result.exit_code == 1
    refused = "field size is required, and this version lacks it"
    assert f"the tables have no place for it: {refused}; its records would be invalid" in result.stdout
    assert "compatible with 2 registered versions, NOT with the tables" in result.stdout
    assert json.loads(run(trial, "--json").stdout)["refused"] == refused


def test_a_window_without_records(run: Callable[..., Result]) -> None:
    result = run(FakeTrial(FINE, Effect(())))
    assert result.exit_code == 0
    assert "0 of 0 records newly rejected" in result.stdout


def test_json_is_one_object(run: Callable[..., Result]) -> None:
    result = run(FakeTrial(BAD, LOST), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "compatible": False,
        "registry": {"accepts": False, "level": "BACKWARD"},
        "versions": [
            {"schema_id": 1, "problems": []},
            {
                "schema_id": 7,
                "problems": [
                    {
                        "path": "fields.status_code",
                        "code": "type_mismatch",
                        "message": "field status_code: int can't be read as string",
                    }
                ],
            },
        ],
        "columns": [],
        "refused": None,
        "offsets": 1_500,
        "newly_rejected": 500,
        "schemas": [
            {
                "schema_id": 1,
                "records": 1_500,
                "decode_today": 1_480,
                "would_decode": 980,
                "newly_rejected": 500,
                "newly_accepted": 0,
            }
        ],
        "rejections": [
            {
                "schema_id": 1,
                "reason": "incompatible_schema",
                "records": 400,
                "samples": [[0, 10], [3, 77], [11, 1_509]],
            },
            {"schema_id": 1, "reason": "status_code_range", "records": 100, "samples": [[0, 12]]},
        ],
    }


def test_progress_goes_to_standard_error(run: Callable[..., Result]) -> None:
    result = run(FakeTrial(FINE, NOTHING_LOST), "--json")
    assert "records: 1,500, done in" in result.stderr
    assert "records" in json.loads(result.stdout)["schemas"][0]


def test_the_window_is_two_hours_unless_given(run: Callable[..., Result]) -> None:
    trial = FakeTrial(FINE, NOTHING_LOST)
    run(trial)
    assert trial.window is not None
    assert trial.window[1] - trial.window[0] == timedelta(hours=2)
    run(trial, "--since", "2026-01-30T06:00:00", "--until", "2026-01-30T07:30:00Z")
    assert trial.window[1] - trial.window[0] == timedelta(minutes=90)


WRONG: list[tuple[list[str], str]] = [
    (["--since", "yesterday"], "expected now, a span"),
    (["--since", "1h", "--until", "2h"], "is not before"),
    (["--env", "nowhere"], "no environment 'nowhere'"),
]


@pytest.mark.parametrize(("more", "named"), WRONG)
def test_wrong_use_exits_with_2(run: Callable[..., Result], more: list[str], named: str) -> None:
    result = run(FakeTrial(FINE, NOTHING_LOST), *more)
    assert result.exit_code == 2 or isinstance(result.exception, UsageError)
    assert named in " ".join((result.stderr + str(result.exception)).replace("│", " ").split())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{", "not an Avro schema"),
        (b'"string"', "a log schema is an Avro record"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_log_schema_is_wrong_use(
    run: Callable[..., Any], tmp_path: Path, content: bytes, named: str
) -> None:
    file = tmp_path / "v2.avsc"
    file.write_bytes(content)
    result = run(FakeTrial(FINE, NOTHING_LOST), file=file)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(f"{file}: ")
    assert named in str(result.exception)


def test_a_file_that_is_not_there_is_wrong_use(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(FakeTrial(FINE, NOTHING_LOST), file=tmp_path / "none.avsc")
    assert result.exit_code == 2
    assert "does not exist" in " ".join(result.stderr.replace("│", " ").split())
