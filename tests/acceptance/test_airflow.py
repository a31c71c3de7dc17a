"""The DAGs in a real Airflow: scheduler, DAG processor, triggerer, API server.

Most of it calls a stand-in for spark-submit.sh: what is tried are schedules, retries, branches and messages.
"""

from __future__ import annotations

import json
import shlex
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from pipelines import settings as settings_module
from pipelines.settings import Settings
from stack import airflow, dist, ports
from stack.process import Processes
from tests.dag_runs import Api, until
from tests.mailboxes import Mailboxes, listening
from tests.stand_in import StandIn
from tests.submitting import SCRIPT, selection
from tests.world import NOW_MS, World, record

HOUR_MS, RECORDS = 3_600_000, 50
RECONCILIATION = "api6_reconciliation"
DAGS = {RECONCILIATION, "api6_data_quality", "api6_maintenance", "api6_lag_check"}
WRONG = {
    "run_id": "x",
    "records": 1000,
    "discrepant": 15,
    "lost": 3,
    "share": 0.015,
    "adds_up": True,
    "verdict": "escalate",
    "window_from": "2026-03-01T00:00:00Z",
    "window_until": "2026-03-02T00:00:00Z",
    "findings": ["many"],
}
WAITING = """
from datetime import datetime, UTC
from airflow.sdk import DAG
from api6_sensors import CompletenessSensor

with DAG("waiting", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    CompletenessSensor(task_id="logs_are_complete", until="2026-03-01T22:30:00+01:00", poke_interval=1)
"""


@pytest.fixture(scope="module")
def submit(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return StandIn.make(tmp_path_factory.mktemp("airflow") / "stand-in")


@pytest.fixture(scope="module")
def mailboxes() -> Iterator[Mailboxes]:
    with listening() as found:
        yield found


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, dist_folder: Path) -> Settings:
    home = tmp_path_factory.mktemp("home")
    return settings_module.load(home=home, dist=dist_folder, stack={"airflow_port": ports.pick()})


@pytest.fixture(scope="module")
def server(
    settings: Settings, submit: StandIn, mailboxes: Mailboxes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[airflow.Airflow]:
    """Airflow on our DAGs and one that waits for them; tries follow each other at once."""
    dags = tmp_path_factory.mktemp("dags")
    for file in airflow.DAGS.glob("*.py"):
        (dags / file.name).symlink_to(file)
    (dags / ".airflowignore").symlink_to(airflow.DAGS / ".airflowignore")
    (dags / "waiting.py").write_text(WAITING, encoding="utf-8")
    dist.fetch(settings, [airflow.DIST_SET])
    env = {"SDP_SUBMIT": str(submit.path), "SDP_RETRY_DELAY_S": "1", **mailboxes.connections}
    with airflow.running(settings, dags, env) as found:
        yield found
    assert not [name for name in _processes(settings).names() if _processes(settings).alive(name)]


@pytest.fixture(scope="module")
def api(server: airflow.Airflow) -> Api:
    """Its API, once all DAGs are there and switched on, and the last night's run, which that starts, is over."""
    found = Api.of(server)
    until(lambda: found.get("dags")["total_entries"], lambda count: count == len(DAGS) + 1)
    for dag in (RECONCILIATION, "api6_lag_check", "waiting"):
        found.patch(f"dags/{dag}", is_paused=False)
    (night,) = until(lambda: found.runs(RECONCILIATION), lambda runs: len(runs) == 1)
    assert found.ended(RECONCILIATION, night["dag_run_id"]) == "success"
    return found


def _processes(settings: Settings) -> Processes:
    return Processes(settings.stack_path / "pids", settings.stack_path / "logs")


def test_dags_load_fast_and_without_errors(api: Api) -> None:
    assert api.get("importErrors")["import_errors"] == []

    def seconds() -> dict[str, float]:
        return {dag["dag_id"]: dag["last_parse_duration"] for dag in api.get("dags")["dags"]}

    assert set(seconds()) == DAGS | {"waiting"}
    until(seconds, lambda found: max(found.values()) < 1)  # the first time each file is compiled as well


def test_the_password_is_a_new_one_that_only_its_owner_reads(server: airflow.Airflow) -> None:
    assert len(server.password) >= 20
    for name in ("passwords.json", "airflow.cfg"):
        assert stat.S_IMODE((server.home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(server.home.stat().st_mode) == 0o700


def test_last_nights_run_takes_the_hours_up_to_half_past_eleven(api: Api, submit: StandIn) -> None:
    (night,) = [run for run in api.runs(RECONCILIATION) if run["run_type"] == "scheduled"]
    day = {"start": night["data_interval_start"][:10], "end": night["data_interval_end"][:10]}
    assert night["data_interval_end"][11:] == "23:30:00Z"
    words = submit.calls("reconcile")[0].split()
    assert words[words.index("--from") + 1] == f"{day['start']}T23:00:00Z"
    assert words[words.index("--to") + 1] == f"{day['end']}T23:00:00Z"


def test_a_manual_run_takes_window_and_sample_of_the_form(api: Api, submit: StandIn) -> None:
    form = {"window_from": "2026-03-01T00:00:00Z", "window_until": "2026-03-01T06:00:00Z", "sample": 7}
    run = api.trigger(RECONCILIATION, **form, deep="always")
    assert api.ended(RECONCILIATION, run) == "success"
    (call,) = submit.calls("reconcile", "7")
    assert call.startswith("local reconcile --run-id airflow-manual-")
    assert call.endswith("--sample 7 --json --from 2026-03-01T00:00:00Z --to 2026-03-01T06:00:00Z --deep")
    states = api.states(RECONCILIATION, run)
    assert {name for name, state in states.items() if state == "skipped"} == {"investigate", "escalate", "repair"}
    assert states["ok"] == states["proven"] == "success"


def test_a_form_that_makes_no_sense_fails_at_once_and_says_why(api: Api, submit: StandIn) -> None:
    run = api.trigger(RECONCILIATION, window_until="2026-03-01T06:00:00Z", sample=6)
    assert api.ended(RECONCILIATION, run) == "failed"
    assert submit.calls("reconcile", "6") == []
    assert "Until without From" in api.log(RECONCILIATION, run, "reconcile")


def test_a_server_that_is_away_is_tried_again_under_the_same_run_id(api: Api, submit: StandIn) -> None:
    submit.does("reconcile", "[[ $* != *'--sample 8 '* || -e back ]] || { touch back; echo away >&2; exit 3; }")
    run = api.trigger(RECONCILIATION, sample=8)
    assert api.ended(RECONCILIATION, run) == "success"
    assert api.tasks(RECONCILIATION, run)["reconcile"]["try_number"] == 2
    first, second = submit.calls("reconcile", "8")
    assert first == second
    assert "away" in api.log(RECONCILIATION, run, "reconcile", 1)


def test_wrong_data_are_not_tried_again_and_people_are_told(api: Api, submit: StandIn, mailboxes: Mailboxes) -> None:
    submit.does("reconcile", f"echo '{json.dumps(WRONG)}'; exit 1")
    run = api.trigger(RECONCILIATION, sample=9)
    assert api.ended(RECONCILIATION, run) == "failed"
    assert len(submit.calls("reconcile", "9")) == 1
    states = api.states(RECONCILIATION, run)
    assert (states["escalate"], states["repair"], states["proven"]) == ("success", "skipped", "failed")
    (text,) = [text for text in mailboxes.slack if "ESCALATE" in text]
    (mail,) = [mail for mail in mailboxes.mails if "ESCALATE" in mail]
    for words in (text, mail):
        assert "1,000 records, 15 discrepant (1.5 %), 3 lost" in words
        assert "docs/runbook.md#reconciliation-escalate" in words
    assert mail.startswith("api6_reconciliation: escalate to ops@example.com")


def test_a_repair_that_is_asked_for_makes_the_run_good(api: Api, submit: StandIn) -> None:
    submit.does("reconcile", f"echo '{json.dumps(WRONG)}'; exit 1")
    run = api.trigger(RECONCILIATION, sample=10, repair=True, delete_extras=True)
    assert api.ended(RECONCILIATION, run) == "success"
    (compared,), (repaired,) = submit.calls("reconcile", "10"), submit.calls("repair")
    assert repaired == f"local repair {compared.split()[3]} --json --delete-extras"


def test_a_repair_makes_nothing_good_where_offsets_do_not_add_up(api: Api, submit: StandIn) -> None:
    submit.does("reconcile", f"echo '{json.dumps(WRONG | {'adds_up': False})}'; exit 1")
    run = api.trigger(RECONCILIATION, sample=11, repair=True)
    assert api.ended(RECONCILIATION, run) == "failed"
    states = api.states(RECONCILIATION, run)
    assert (states["repair"], states["proven"]) == ("success", "failed")


def test_two_past_days_are_filled_from_the_ui_and_one_from_the_command_line(
    api: Api, submit: StandIn, settings: Settings
) -> None:
    submit.does("reconcile", "")

    def filled() -> dict[str, str]:
        runs = [run for run in api.runs(RECONCILIATION) if run["run_type"] == "backfill"]
        return {run["data_interval_end"]: run["state"] for run in runs}

    ends = [f"2026-02-0{day}T23:30:00Z" for day in (2, 3, 4)]
    asked = api.post(
        "backfills", dag_id=RECONCILIATION, from_date="2026-02-01T00:00:00Z", to_date="2026-02-03T00:00:00Z"
    )
    until(filled, lambda found: found == dict.fromkeys(ends[:2], "success"))
    until(lambda: api.get(f"backfills/{asked['id']}")["completed_at"], bool)  # there is one at a time

    days = ["--from-date", "2026-02-03", "--to-date", "2026-02-04"]
    assert airflow.run_command(settings, ["backfill", "create", "--dag-id", RECONCILIATION, *days]) == 0
    until(filled, lambda found: found == dict.fromkeys(ends, "success"))
    hours = [f"2026-02-0{day}T23:00:00Z" for day in (1, 2, 3, 4)]
    filling = [call.split("--from ")[1] for call in submit.calls("reconcile") if "airflow-backfill" in call]
    assert sorted(filling) == [f"{start} --to {end}" for start, end in pairwise(hours)]


def test_a_real_comparison_names_what_is_lost_and_a_real_repair_brings_it_back(
    api: Api, submit: StandIn, world: World
) -> None:
    hour = (NOW_MS // HOUR_MS - 3) * HOUR_MS
    world.send(world.encode(record(timestamp=hour + i)) for i in range(RECORDS))
    world.run("ingest")
    world.run("index")
    lost, where = next(iter(world.documents().items()))
    Elasticsearch(world.settings.elasticsearch.url).delete(index=where["_index"], id=lost, refresh=True)

    for job in ("reconcile", "repair"):
        submit.does(job, f'exec {SCRIPT} "$@" {shlex.join(selection(world.settings))}')
    window = [datetime.fromtimestamp((hour + i * HOUR_MS) / 1000, UTC).isoformat() for i in (0, 1)]
    run = api.trigger(RECONCILIATION, window_from=window[0], window_until=window[1], sample=5, repair=True)
    assert api.ended(RECONCILIATION, run) == "success", api.log(RECONCILIATION, run, "repair")
    found = api.answer(RECONCILIATION, run, "reconcile")
    wanted = {"exit_code": 1, "verdict": "escalate", "records": RECORDS, "discrepant": 1, "lost": 1}
    assert {name: found.get(name) for name in wanted} == wanted, api.log(RECONCILIATION, run, "reconcile")
    assert api.states(RECONCILIATION, run)["escalate"] == "success"
    assert lost in world.documents()


def test_the_sensor_waits_without_a_worker_until_the_hours_are_complete(api: Api, submit: StandIn) -> None:
    submit.does("complete", "[[ ! -e complete-until ]] || exit 0; [[ -e asked ]] && exit 1; touch asked; exit 3")
    run = api.trigger("waiting")
    until(lambda: submit.calls("complete"), lambda calls: len(calls) >= 2)
    until(lambda: api.states("waiting", run), lambda states: states == {"logs_are_complete": "up_for_reschedule"})
    (submit.folder / "complete-until").touch()
    assert api.ended("waiting", run) == "success"
    assert set(submit.calls("complete")) == {"local complete --until 2026-03-01T22:00:00Z --json"}


def test_a_task_that_is_ended_by_hand_ends_its_job(api: Api, submit: StandIn) -> None:
    submit.does("lag", "trap 'touch stopped; exit 0' TERM; while :; do sleep 0.1; done")
    run = api.trigger("api6_lag_check", max_records=5)
    until(lambda: submit.calls("lag"), lambda calls: calls[-1:] == ["local lag --max-records 5 --json"])
    assert "Could not read served logs" not in api.log("api6_lag_check", run, "lag")
    api.patch(f"dags/api6_lag_check/dagRuns/{run}/taskInstances/lag", new_state="failed")
    until(lambda: (submit.folder / "stopped").exists(), bool)
    assert api.ended("api6_lag_check", run) == "failed"
