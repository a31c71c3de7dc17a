"""How DAGs call jobs and what they make of the answers; without Airflow."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api6_calls import (
    Ending,
    WrongForm,
    answer,
    command,
    ending,
    figures,
    hour_after,
    hour_before,
    is_complete,
    is_proven,
    next_tasks,
    reasons,
    reconcile_options,
    run_id,
    summary,
    told_as,
    yesterday,
)

FORM: dict[str, Any] = {"window_from": None, "window_until": None, "sample": 1000, "deep": "on Sundays"}
MONDAY = datetime(2026, 3, 2, 22, 30, tzinfo=UTC)
SATURDAY = MONDAY - timedelta(days=2)


def value(of: str, options: list[str]) -> str:
    return options[options.index(of) + 1]


@pytest.mark.parametrize(
    ("code", "expected"),
    [(0, Ending.FINE), (1, Ending.DATA_WRONG), (2, Ending.WRONG_USE), (3, Ending.AWAY), (137, Ending.AWAY)],
)
def test_only_what_is_not_the_jobs_own_word_is_tried_again(code: int, expected: Ending) -> None:
    assert ending(code) is expected


@pytest.mark.parametrize(("code", "expected"), [(0, True), (1, False), (2, None), (3, False), (137, False)])
def test_who_waits_for_complete_hours_waits_on_while_a_server_is_away(code: int, expected: bool | None) -> None:
    assert is_complete(code) is expected


def test_variables_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDP_TARGET", "yarn-client")
    monkeypatch.setenv("SDP_SPARK_OPTIONS", "--queue logs")
    variables = {"sdp_submit": "/opt/sdp/spark-submit.sh", "sdp_spark_options": "--queue night"}
    assert command("lag", ["--json"], variables.get) == [
        *("/opt/sdp/spark-submit.sh", "yarn-client", "lag", "--json"),
        *("--", "--queue", "night"),
    ]


def test_by_default_the_script_of_this_repository_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDP_TARGET", raising=False)
    monkeypatch.delenv("SDP_SUBMIT", raising=False)
    script, *rest = command("lag", [], lambda _, otherwise: otherwise)
    assert script.endswith("/spark-submit.sh")
    assert rest == ["local", "lag"]


@given(st.integers(1_760_000_000, 1_800_000_000), st.timezones())
def test_windows_of_two_nights_touch_whatever_the_time_zone(epoch_s: int, zone: ZoneInfo) -> None:
    moment = datetime.fromtimestamp(epoch_s, zone)
    first = reconcile_options(FORM, "a", moment - timedelta(days=1), moment)
    second = reconcile_options(FORM, "b", moment, moment + timedelta(days=1))
    assert value("--to", first) == value("--from", second)
    assert value("--to", first).endswith(":00:00Z")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu"])
def test_no_hour_of_the_window_is_younger_than_its_grace_at_half_past_eleven(zone: str) -> None:
    night = datetime(2026, 3, 2, 23, 30, tzinfo=ZoneInfo(zone))
    until = datetime.fromisoformat(value("--to", reconcile_options(FORM, "a", night - timedelta(days=1), night)))
    assert timedelta(minutes=15) <= night - until < timedelta(minutes=15 + 60)


def test_the_window_of_the_form_wins() -> None:
    form = FORM | {"window_from": "2026-02-01T10:20:00+02:00", "window_until": "2026-02-01T12:00:00"}
    options = reconcile_options(form, "a", SATURDAY, MONDAY)
    assert (value("--from", options), value("--to", options)) == ("2026-02-01T08:00:00Z", "2026-02-01T12:00:00Z")


def test_a_beginning_alone_means_until_now_whatever_the_interval_of_the_run() -> None:
    form = FORM | {"window_from": "2026-02-01T10:20:00Z"}
    for interval in ((None, None), (SATURDAY, MONDAY)):
        options = reconcile_options(form, "a", *interval)
        assert value("--from", options) == "2026-02-01T10:00:00Z"
        assert "--to" not in options


@pytest.mark.parametrize("interval", [(None, None), (SATURDAY, MONDAY)])
def test_an_end_alone_is_refused_and_not_ignored(interval: tuple[datetime | None, datetime | None]) -> None:
    with pytest.raises(WrongForm, match="Until without From"):
        reconcile_options(FORM | {"window_until": "2026-02-01T12:00:00Z"}, "a", *interval)


def test_without_any_window_the_job_chooses() -> None:
    assert "--from" not in reconcile_options(FORM, "manual", None, None)


@pytest.mark.parametrize(
    ("deep", "end", "expected"),
    [
        ("on Sundays", datetime(2026, 3, 1, 23, 30, tzinfo=ZoneInfo("Asia/Tokyo")), True),
        ("on Sundays", MONDAY, False),
        ("always", MONDAY, True),
        ("never", datetime(2026, 3, 1, 23, 30, tzinfo=UTC), False),
    ],
)
def test_the_deep_run_is_weekly_unless_the_form_says_otherwise(deep: str, end: datetime, expected: bool) -> None:
    options = reconcile_options(FORM | {"deep": deep}, "a", end - timedelta(days=1), end)
    assert ("--deep" in options) is expected


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_run_id_is_the_same_for_each_try_and_another_for_each_run(one: str, other: str) -> None:
    assert run_id(one) == run_id(one)
    assert (run_id(one) == run_id(other)) is (one == other)
    assert run_id(one) != run_id(one, cleared=1)
    assert set(run_id(one)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert run_id(one).startswith("airflow-")


def test_hours_and_days_are_utc() -> None:
    berlin = datetime(2026, 3, 2, 0, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert hour_before(berlin) == "2026-03-01T23:00:00Z"
    assert hour_after(berlin) == "2026-03-02T00:00:00Z"
    assert hour_after(datetime(2026, 3, 2, tzinfo=UTC)) == "2026-03-02T00:00:00Z"
    assert yesterday(berlin) == "2026-02-28"


def test_an_answer_is_found_among_other_lines() -> None:
    found = {"verdict": "ok", "hours": [{"hour": 1}]}
    log = json.dumps({"event": "batch_done"})
    assert answer(f"loading\n{log}\n{json.dumps(found, indent=2)}\nShutting down\n") == found
    assert answer("{broken\nno answer at all") == {}


def test_findings_do_not_travel() -> None:
    run = {"run_id": "a", "verdict": "investigate", "records": 5, "hours": [1], "findings": [2]}
    assert figures({"run": run}) == figures(run) == {"run_id": "a", "verdict": "investigate", "records": 5}


@pytest.mark.parametrize(
    ("found", "repair", "expected"),
    [
        ({"exit_code": 0, "verdict": "ok"}, True, ["ok"]),
        ({"exit_code": 0}, False, ["ok"]),
        ({"exit_code": 1, "verdict": "warning"}, False, ["investigate"]),
        ({"exit_code": 1, "verdict": "investigate"}, True, ["investigate", "repair"]),
        ({"exit_code": 1, "verdict": "escalate"}, False, ["escalate"]),
        ({"exit_code": 1}, False, ["escalate"]),
        ({"exit_code": 1, "verdict": "ok"}, False, ["investigate"]),  # open findings below the thresholds
        ({"exit_code": 1, "verdict": "a new one"}, True, ["escalate", "repair"]),
    ],
)
def test_a_verdict_leads_to_its_alarm_and_to_a_repair_only_if_asked(
    found: dict[str, Any], repair: bool, expected: list[str]
) -> None:
    assert next_tasks(found, repair) == expected


@pytest.mark.parametrize(
    ("found", "repaired", "expected"),
    [
        ({"exit_code": 0, "adds_up": True}, False, True),
        ({"exit_code": 0}, False, True),
        ({"exit_code": 1, "adds_up": True}, True, True),
        ({"exit_code": 1, "adds_up": True}, False, False),
        ({"exit_code": 1, "adds_up": False}, True, False),
        ({"exit_code": 1}, True, False),
    ],
)
def test_a_repair_proves_nothing_where_offsets_do_not_add_up(
    found: dict[str, Any], repaired: bool, expected: bool
) -> None:
    assert is_proven(found, repaired=repaired) is expected


def test_whether_offsets_add_up_goes_on_and_is_said() -> None:
    run = {"run_id": "a", "verdict": "warning", "records": 5, "discrepant": 0, "lost": 0, "adds_up": False}
    assert figures(run)["adds_up"] is False
    assert summary({"exit_code": 1, **run}).endswith("0 lost; offsets and ledger do not add up")


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("ok", "open findings"),
        ("warning", "warning"),
        ("investigate", "investigate"),
        ("escalate", "escalate"),
        (None, "escalate"),
    ],
)
def test_a_message_is_about_the_verdict(verdict: str | None, expected: str) -> None:
    found = {"exit_code": 1} | ({"verdict": verdict} if verdict else {})
    (alarm,) = next_tasks(found, repair=False)
    assert told_as(found, alarm) == expected


def test_a_summary_has_the_figures() -> None:
    run = {"run_id": "a", "verdict": "escalate", "records": 1000, "discrepant": 15, "lost": 3, "share": 0.015}
    text = summary({"exit_code": 1, **run, "window_from": "f", "window_until": "u"})
    assert text == "reconciliation a of f to u: ESCALATE. 1,000 records, 15 discrepant (1.5 %), 3 lost"
    assert "reconciliation a ended with 1" in summary({"exit_code": 1, "options": ["--run-id", "a", "--json"]})


def test_reasons_are_what_the_answer_names_else_the_last_words() -> None:
    assert reasons(json.dumps({"ingest": {"problems": ["5 behind"]}, "index": {"problems": ["6 behind"]}})) == (
        "5 behind; 6 behind"
    )
    assert reasons(json.dumps({"failure": "metastore away"})) == "metastore away"
    assert reasons("x" * 900 + "the end\n").endswith("the end")
    assert len(reasons("x" * 900)) == 800
