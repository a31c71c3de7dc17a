"""``sdp status`` from states made by hand: what it shows and what it calls wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from typer.testing import CliRunner, Result

from pipelines import bootstrap
from pipelines.cli import app, options
from pipelines.cli.status import as_data, job_states
from pipelines.errors import SinkUnavailable
from pipelines.flows.status import JobState, PartitionState, Refusals, Status

AT = datetime(2026, 1, 31, 12, 0, 5)  # noqa: DTZ001 Spark gives UTC without saying so
FINE = PartitionState(
    partition=0,
    kafka_from=2,
    kafka_until=1_010,
    first=0,
    until=1_000,
    valid=900,
    invalid=90,
    gaps=7,
    lost=3,
    held_valid=900,
    held_invalid=90,
)
EMPTY = PartitionState(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
AWAY = SinkUnavailable("Elasticsearch", "http://e:9200", "refused")


def state(*partitions: PartitionState, job: str = "ingest") -> JobState:
    return JobState(job, 7, AT, partitions)


def test_a_partition_that_adds_up_has_no_problem() -> None:
    assert (FINE.problems, FINE.lag) == ([], 10)
    assert (EMPTY.problems, EMPTY.lag) == ([], 0)


@pytest.mark.parametrize(
    ("wrong", "problems"),
    [
        (replace(FINE, gaps=6), ["partition 0: 1000 offsets read, 999 explained"]),
        (replace(FINE, lost=4), ["partition 0: 1000 offsets read, 1001 explained"]),
        (replace(FINE, first=1), ["partition 0: 999 offsets read, 1000 explained"]),
        (replace(FINE, held_valid=899), ["partition 0: ledger says 900 valid, found 899"]),
        (replace(FINE, held_invalid=91), ["partition 0: ledger says 90 invalid, found 91"]),
        (
            replace(FINE, valid=901, held_invalid=0),
            [
                "partition 0: 1000 offsets read, 1001 explained",
                "partition 0: ledger says 901 valid, found 900",
                "partition 0: ledger says 90 invalid, found 0",
            ],
        ),
        (replace(FINE, held_valid=920, replayed=20), []),
        (replace(FINE, replayed=20), ["partition 0: ledger says 900 valid and 20 were replayed, found 900"]),
        (replace(FINE, unrecoverable=20), []),
        (replace(EMPTY, held_valid=1), ["partition 1: ledger says 0 valid, found 1"]),
    ],
)
def test_a_partition_that_does_not_add_up_says_how(wrong: PartitionState, problems: list[str]) -> None:
    assert wrong.problems == problems


def test_errors_in_two_partitions_do_not_cancel_out() -> None:
    job = state(replace(FINE, held_valid=901), replace(FINE, partition=1, held_valid=899))
    assert job.total("valid") == job.total("held_valid")
    assert job.problems == [
        "partition 0: ledger says 900 valid, found 901",
        "partition 1: ledger says 900 valid, found 899",
    ]


def test_as_data() -> None:
    assert as_data([state(FINE, EMPTY)], AWAY) == {
        "ingest": {
            "last_batch": 7,
            "last_committed_at": AT,
            "lag": 10,
            "valid": 900,
            "invalid": 90,
            "gaps": 7,
            "lost": 3,
            "held_valid": 900,
            "held_invalid": 90,
            "open": 90,
            "replayed": 0,
            "unrecoverable": 0,
            "adds_up": True,
            "problems": [],
            "partitions": [
                {
                    "partition": 0,
                    "kafka_from": 2,
                    "kafka_until": 1_010,
                    "first": 0,
                    "until": 1_000,
                    "valid": 900,
                    "invalid": 90,
                    "gaps": 7,
                    "lost": 3,
                    "held_valid": 900,
                    "held_invalid": 90,
                    "replayed": 0,
                    "unrecoverable": 0,
                    "lag": 10,
                },
                {
                    "partition": 1,
                    "kafka_from": 0,
                    "kafka_until": 0,
                    "first": 0,
                    "until": 0,
                    "valid": 0,
                    "invalid": 0,
                    "gaps": 0,
                    "lost": 0,
                    "held_valid": 0,
                    "held_invalid": 0,
                    "replayed": 0,
                    "unrecoverable": 0,
                    "lag": 0,
                },
            ],
        },
        "unavailable": "Elasticsearch at http://e:9200 is not available: refused",
    }


class FakeStatus:
    """The states of both jobs, or an Elasticsearch that is away."""

    def __init__(
        self, ingest: JobState, index: JobState | None = None, refused: tuple[Refusals, Refusals | None] | None = None
    ) -> None:
        self._ingest, self._index, self._refused = ingest, index, refused or (Refusals(0, 0, {}), None)
        self.complete_until = lambda: datetime(2026, 1, 31, 11, tzinfo=UTC)

    def ingest(self) -> JobState:
        return self._ingest

    def refusals(self, since: datetime) -> tuple[Refusals, Refusals | None]:
        assert abs(datetime.now(UTC) - since - timedelta(hours=24)) < timedelta(minutes=1)
        return self._refused

    def index(self) -> JobState:
        if self._index is None:
            raise AWAY
        return self._index


def test_a_job_that_can_not_be_seen_does_not_hide_the_other() -> None:
    jobs, away = job_states(cast(Status, FakeStatus(state(FINE))))
    assert jobs == [state(FINE)]
    assert away is AWAY


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(options.out, "width", 120)
    monkeypatch.delenv("SDP_ENV", raising=False)
    return monkeypatch


def sdp_status(
    monkeypatch: pytest.MonkeyPatch,
    ingest: JobState,
    index: JobState | None,
    *more: str,
    refused: tuple[Refusals, Refusals | None] | None = None,
) -> Result:
    monkeypatch.setattr(bootstrap, "status", lambda _: FakeStatus(ingest, index, refused))
    return CliRunner().invoke(app, ["status", *more])


def lines(result: Result) -> list[list[str]]:
    """Cells of every line, frames left out."""
    return [
        [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")] for line in result.stdout.split("\n")
    ]


def test_what_adds_up_is_shown_and_exits_with_0(shown: pytest.MonkeyPatch) -> None:
    result = sdp_status(shown, state(FINE, EMPTY), state(FINE, job="index"))
    assert result.exit_code == 0
    assert "ingest: last batch 7 at 2026-01-31 12:00:05 UTC" in result.stdout
    cells = lines(result)
    assert cells[2] == [
        "partition", "from", "until", "lag", "valid", "invalid", "gaps", "lost", "found valid", "found invalid",
    ]  # fmt: skip
    assert ["0", "0", "1,000", "10", "900", "90", "7", "3", "900", "90"] in cells
    assert ["1", "0", "0", "0", "0", "0", "0", "0", "0", "0"] in cells
    assert ["all", "", "", "10", "900", "90", "7", "3", "900", "90"] in cells
    assert "ingest: 1,000 offsets read = 900 valid + 90 invalid + 7 gaps + 3 lost" in result.stdout
    assert result.stdout.count("it adds up") == 2
    assert "proven complete until 2026-01-31 11:00 UTC" in result.stdout


def test_states_of_invalid_rows_are_shown_once_there_is_more_than_one(shown: pytest.MonkeyPatch) -> None:
    repaired = replace(FINE, held_valid=920, replayed=20, unrecoverable=3)
    result = sdp_status(shown, state(repaired), state(FINE, job="index"))
    assert result.exit_code == 0
    assert "ingest: invalid rows by state: 67 open, 20 replayed, 3 unrecoverable" in result.stdout
    assert "index: invalid rows by state" not in result.stdout


REASONS = {"null_value": 60, "trailing_bytes": 30}


@pytest.mark.parametrize(
    ("judged", "last", "warns"),
    [(4_501, (2, 100), False), (4_499, (0, 100), True), (100_000, (3, 100), True), (4_499, (0, 0), True)],
    ids=["neither", "the window", "a fresh burst", "a last batch without records"],
)
def test_more_than_two_percent_is_a_warning_in_the_window_or_the_last_batch(
    shown: pytest.MonkeyPatch, judged: int, last: tuple[int, int], warns: bool
) -> None:
    refused = Refusals(90, judged, REASONS), Refusals(*last, {})
    result = sdp_status(shown, state(FINE), state(FINE, job="index"), refused=refused)
    [line] = [line for line in result.stdout.splitlines() if "refused in the last 24 hours: 90 records" in line]
    assert "null_value 60, trailing_bytes 30; in the last batch: " in line
    assert line.startswith("WARNING, more than 2% is refused") == warns


def test_what_was_refused_long_ago_is_not_spoken_of(shown: pytest.MonkeyPatch) -> None:
    """The ledger holds invalid rows, but no batch of the last 24 hours."""
    result = sdp_status(shown, state(FINE), state(FINE, job="index"), refused=(Refusals(0, 0, {}), None))
    assert "refused" not in result.stdout


def test_nothing_is_said_of_refusals_where_there_are_none(shown: pytest.MonkeyPatch) -> None:
    never = JobState("ingest", None, None, (EMPTY,))
    assert "refused" not in sdp_status(shown, never, replace(never, job="index")).stdout


def test_what_does_not_add_up_is_shown_and_exits_with_1(shown: pytest.MonkeyPatch) -> None:
    result = sdp_status(shown, state(FINE), state(replace(FINE, held_valid=899), job="index"))
    assert result.exit_code == 1
    assert "index: DOES NOT ADD UP\n  partition 0: ledger says 900 valid, found 899\n" in result.stdout
    assert result.stdout.count("it adds up") == 1


def test_a_cluster_that_is_away_is_shown_and_exits_with_3(shown: pytest.MonkeyPatch) -> None:
    result = sdp_status(shown, state(FINE), None)
    assert result.exit_code == 3
    assert "index: Elasticsearch at http://e:9200 is not available: refused\n" in result.stdout
    assert "it adds up" in result.stdout


def test_wrong_data_counts_more_than_a_cluster_that_is_away(shown: pytest.MonkeyPatch) -> None:
    assert sdp_status(shown, state(replace(FINE, gaps=0)), None).exit_code == 1


def test_a_job_that_never_ran(shown: pytest.MonkeyPatch) -> None:
    never = JobState("ingest", None, None, (EMPTY,))
    result = sdp_status(shown, never, replace(never, job="index"))
    assert result.exit_code == 0
    assert "ingest: no batch yet" in result.stdout


def test_json_is_one_object(shown: pytest.MonkeyPatch) -> None:
    refused = Refusals(90, 1_000, REASONS), Refusals(1, 4, {"null_value": 1})
    result = sdp_status(shown, state(replace(FINE, gaps=0)), state(FINE, job="index"), "--json", refused=refused)
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert list(found) == ["ingest", "index", "unavailable", "refused", "complete_until"]
    assert found["refused"] == {
        "hours": 24,
        "rows": 90,
        "judged": 1_000,
        "share": 0.09,
        "reasons": REASONS,
        "last_batch": {"rows": 1, "judged": 4, "share": 0.25, "reasons": {"null_value": 1}},
    }
    assert (found["ingest"]["adds_up"], found["index"]["adds_up"], found["unavailable"]) == (False, True, None)
    assert found["ingest"]["problems"] == ["partition 0: 1000 offsets read, 993 explained"]
    assert found["index"]["last_committed_at"] == "2026-01-31 12:00:05"
