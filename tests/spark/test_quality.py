"""A day of rows against its expectations, by Great Expectations on Spark: each defect fails its own, no other."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.adapters.great_expectations import GreatExpectations
from pipelines.adapters.tables import COLUMNS
from pipelines.bootstrap import plain
from pipelines.errors import Unavailable, UsageError
from pipelines.flows.quality import Quality
from pipelines.quality import frames
from pipelines.quality.expectation import Asset, load_expectations
from pipelines.quality.result import DayChecked, State
from pipelines.records import INVALID, LEDGER, LOG_FIELDS, VALID
from pipelines.settings import ROOT, QualitySettings
from tests.world import record

DAY = date(2026, 3, 29)
HOURS = (0, 1, 7, 23)
PER_HOUR = 25
MOST_JOBS = 25
EXPECTATIONS = load_expectations(ROOT / "conf" / "quality" / "api6-logs.yaml")
LEDGER_COLUMNS = """query STRING, topic STRING, date DATE,
    hours ARRAY<STRUCT<hour: TIMESTAMP, valid: BIGINT, content_hash: BIGINT>>"""

Rows = list[dict[str, Any]]
Check = Callable[..., DayChecked]


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def day_of_rows(day: date) -> Rows:
    """25 rows in each of four hours: 96 % of them 200, 4 % 503."""
    made: Rows = []
    for hour in HOURS:
        for n in range(PER_HOUR):
            event = at(day, hour) + timedelta(minutes=2 * n)
            row = record(
                timestamp=int(event.timestamp() * 1000),
                request_id=f"{day}-{hour}-{n}",
                status_code=503 if n == 0 else 200,
            )
            made.append(
                row
                | {"event_time": event, "warnings": [], "kafka_topic": "t", "kafka_partition": 3}
                | {"kafka_offset": hour * 100 + n, "kafka_timestamp": event, "schema_id": 1, "content_hash": 5}
                | {"batch_id": 0, "ingested_at": event, "date": day, "hour": hour}
            )
    return made


class FakeTables:
    """Three tables, made by hand."""

    def __init__(self, **tables: DataFrame) -> None:
        self._tables = tables

    def read(self, table: str) -> DataFrame:
        return self._tables[table]


def frame(spark: SparkSession, rows: Rows) -> DataFrame:
    names = [part.split()[0] for part in re.sub(r"<.*?>+", "", COLUMNS[VALID]).split(",")]
    return spark.createDataFrame([tuple(row[name] for name in names) for row in rows], COLUMNS[VALID])


def refused(spark: SparkSession, statuses: Sequence[str], day: date = DAY) -> DataFrame:
    rows = [("t", day, status) for status in statuses]
    return spark.createDataFrame(rows, "kafka_topic STRING, date DATE, status STRING")


def ledger(spark: SparkSession, hours: Sequence[int] = HOURS, valid: int = PER_HOUR) -> DataFrame:
    parts = [(at(DAY, hour), valid, 5) for hour in hours] + [(at(DAY - timedelta(1), 23), 9, 5)]
    rows = [
        ("ingest", "t", DAY + timedelta(1), parts),
        ("index", "t", DAY, [(at(DAY, 5), 1, 5)]),
        ("ingest", "t", DAY, None),
    ]
    return spark.createDataFrame(rows, LEDGER_COLUMNS)


@pytest.fixture(scope="module", name="spark")
def plain_session(spark: SparkSession) -> SparkSession:
    """As bootstrap makes it."""
    return plain(spark)


@pytest.fixture(scope="module")
def before(spark: SparkSession) -> Iterator[DataFrame]:
    """Three days before, and one that is too long ago to count."""
    days = [DAY - timedelta(n) for n in (1, 3, 7, 8)]
    kept = frame(spark, [row for day in days for row in day_of_rows(day)]).cache()
    yield kept
    kept.unpersist()


@pytest.fixture
def check(spark: SparkSession, before: DataFrame, tmp_path: Path) -> Check:
    def run(rows: Rows, **changed: DataFrame) -> DayChecked:
        tables = {
            VALID: before.unionByName(frame(spark, rows)),
            INVALID: refused(spark, ["open", "replayed"]),
            LEDGER: ledger(spark),
        }
        tables |= changed
        flow = Quality("t", EXPECTATIONS, QualitySettings(), FakeTables(**tables), GreatExpectations(tmp_path / "docs"))
        return flow(DAY)

    return run


def ids(found: DayChecked, state: State = State.FAILED) -> set[str]:
    return {one.expectation.id for one in found.checked if one.state is state}


def texts(found: DayChecked) -> dict[str, str]:
    return {one.expectation.id: one.found for one in found.checked}


def test_a_clean_day_passes_all_and_says_what_it_saw(check: Check, spark: SparkSession) -> None:
    context = spark.sparkContext
    context.setJobGroup("clean", "a clean day")
    found = check(day_of_rows(DAY))
    jobs = len(context.statusTracker().getJobIdsForGroup("clean"))
    assert jobs <= MOST_JOBS
    assert ids(found) == ids(found, State.SKIPPED) == set()
    assert len(found.checked) == len(EXPECTATIONS) == len(ids(found, State.PASSED))
    assert (found.day, found.rows, found.refused) == (DAY, 100, 1)
    assert texts(found) | {
        "present_request_id": "all 100 rows",
        "hours_present": "all 4 hours",
        "server_errors": "4 of 100 rows are not so (4.00%); 5.00% may be",
        "request_id_unique": "no request ids at all",
        "volume_not_low": "100; expected at least 50",
        "refused_share": "0.009901; expected at most 0.05",
        "status_codes_as_usual": "0; expected at most 0.1",
    } == texts(found)


NULL = [f"present_{name}" for name in LOG_FIELDS if name not in ("user_agent", "error_message")] + [
    *("stamped_event_time", "stamped_kafka_partition", "stamped_kafka_offset", "stamped_kafka_timestamp"),
    *("stamped_schema_id", "stamped_content_hash", "stamped_batch_id", "stamped_ingested_at"),
]
WRONG: Mapping[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "status_code_range": ("status_code", lambda _: 99),
    "http_method_known": ("http_method", lambda _: "FETCH"),
    "api_endpoint_slash": ("api_endpoint", lambda _: "no-such-endpoint"),
    "request_id_length": ("request_id", lambda row: row["request_id"].rjust(129, "x")),
    "not_negative_response_time_ms": ("response_time_ms", lambda _: -1),
    "not_negative_payload_size": ("payload_size", lambda _: -1),
    "response_time_plausible": ("response_time_ms", lambda _: 600_001),
    "payload_size_plausible": ("payload_size", lambda _: 1_000_000_001),
    "in_partition": ("hour", lambda row: row["hour"] - 1 if row["hour"] else 1),
    "event_time_agrees": ("event_time", lambda row: row["event_time"] + timedelta(milliseconds=1)),
}
"""Expectation → the column that is spoilt, and how."""


def spoil(rows: Rows) -> dict[str, int]:
    """Spoil the rows in every way, each way in another number of them; expectation → that number."""
    ways = {name: (name.partition("_")[2], lambda _: None) for name in NULL} | dict(WRONG)
    ways = dict(sorted(ways.items(), key=lambda way: way[1][0] != "status_code"))  # few: the classes must not move
    mixed = sorted(rows, key=lambda row: row["kafka_offset"] % 100)  # no hour may lose all its rows
    counts: dict[str, int] = {}
    used = {"hour": 50}  # behind the rows without a timestamp
    for n, (name, (column, wrong)) in enumerate(ways.items(), start=1):
        start = used.get(column, 0)
        for row in mixed[start : start + n]:
            row[column] = wrong(row)
        used[column] = start + n
        counts[name] = n
    assert max(used.values()) <= len(rows)
    return counts


def test_each_defect_is_counted_by_its_own_expectation(check: Check, tmp_path: Path) -> None:
    rows = day_of_rows(DAY)
    for row in rows:
        row["status_code"] = 200
    counts = spoil(rows)
    found = check(rows)
    told = {one.expectation.id: one.found.split(" of ")[0] for one in found.checked if one.state is State.FAILED}
    assert told == {name: str(n) for name, n in counts.items()}
    assert all("no-such-endpoint" not in path.read_text() for path in tmp_path.rglob("*.[hj][ts]*"))


def test_what_is_wrong_with_the_day_as_a_whole(check: Check, spark: SparkSession) -> None:
    rows = day_of_rows(DAY) + [row | {"request_id": f"{row['request_id']}-more"} for row in day_of_rows(DAY)]
    for row in rows[:50]:
        row["status_code"] = 404
    rows[10]["request_id"] = rows[11]["request_id"]  # in one hour
    rows[12]["request_id"] = rows[60]["request_id"]  # in two
    rows[13]["request_id"] = rows[61]["request_id"]
    found = check(
        rows,
        **{LEDGER: ledger(spark, (*HOURS, 12)), INVALID: refused(spark, ["open"] * 30)},
    )
    assert {name: texts(found)[name] for name in ids(found)} == {
        "hours_present": "1 of 5 hours are not so (20.00%)",
        "request_id_unique": "1 of 3 request ids are not so (33.33%)",
        "request_id_unique_over_hours": "2 of 3 request ids are not so (66.67%)",
        "volume_not_high": "200; expected at most 150",
        "refused_share": "0.1304; expected at most 0.05",
        "status_codes_as_usual": "0.25; expected at most 0.1",
    }
    assert {one.expectation.id for one in found.failed} == {"hours_present", "request_id_unique", "refused_share"}


def test_too_few_rows_and_too_many_server_errors(check: Check) -> None:
    found = check([row for row in day_of_rows(DAY) if row["kafka_offset"] % 100 < 8])
    assert ids(found) == {"volume_not_low", "server_errors"}
    assert texts(found)["volume_not_low"] == "32; expected at least 50"
    assert texts(found)["server_errors"] == "4 of 32 rows are not so (12.50%); 5.00% may be"


def test_what_cannot_be_compared_is_skipped_and_said(check: Check, spark: SparkSession, before: DataFrame) -> None:
    two = before.where(f"date in ('{DAY - timedelta(1)}', '{DAY - timedelta(3)}', '{DAY - timedelta(8)}')")
    without = ledger(spark).drop("hours")
    found = check(day_of_rows(DAY), **{VALID: two.unionByName(frame(spark, day_of_rows(DAY))), LEDGER: without})
    why = "2 of the 7 days before have rows; it takes 3"
    assert ids(found) == set()
    assert {name: texts(found)[name] for name in ids(found, State.SKIPPED)} == {
        "hours_present": "the ledger holds no hours: it was written by an earlier version",
        "volume_not_low": why,
        "volume_not_high": why,
        "status_codes_as_usual": why,
    }


def test_a_day_without_rows_fails_and_what_holds_of_no_row_is_skipped(check: Check, spark: SparkSession) -> None:
    found = check([], **{INVALID: refused(spark, [])})
    assert ids(found) == {"has_rows", "volume_not_low", "hours_present"}
    assert ids(found, State.PASSED) == {"volume_not_high"}
    assert (found.rows, texts(found)["present_request_id"]) == (0, "the day has no rows")
    assert texts(found)["refused_share"] == "the day has no records"


def test_an_outage_fails_also_where_there_is_nothing_to_compare_with(check: Check, spark: SparkSession) -> None:
    nothing = {VALID: frame(spark, []), INVALID: refused(spark, ["open"]), LEDGER: ledger(spark, ())}
    found = check([], **nothing)
    assert {one.expectation.id for one in found.failed} == {"has_rows", "refused_share"}
    assert ids(found, State.PASSED) == set()
    assert texts(found)["hours_present"] == "the ledger has no hour of the day either"
    assert texts(found)["has_rows"] == "0; expected at least 1"


def test_pages_open_without_network_and_nothing_else_is_written_or_called(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    connect = socket.socket.connect

    def watched(own: socket.socket, address: Any) -> None:
        called.append(address[0] if isinstance(address, tuple) else address)
        connect(own, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    check(day_of_rows(DAY))
    found = check(day_of_rows(DAY)[:10])
    assert {path.name for path in tmp_path.iterdir()} == {"docs"}
    assert set(called) <= {"127.0.0.1", "localhost"}
    pages = list((tmp_path / "docs").rglob("*.html"))
    assert found.pages in pages
    assert len(pages) == 1 + 5 + 2 * 5  # index, suites, two runs
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"""<(script|link|img)\b[^>]*https?:|url\(\s*["']?https?:|<script""", text), page
        local = [link for link in re.findall(r'href="([^"#:]+)"', text) if link.endswith(".html")]
        assert all((page.parent / link).is_file() for link in local), page
    index = found.pages.read_text(encoding="utf-8")
    assert index.count("<tr><td>2026-03-29</td>") == 10
    assert "not met" in index


def test_a_folder_that_cannot_be_written_is_wrong_use(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checker = GreatExpectations(tmp_path / "file" / "docs")
    with pytest.raises(UsageError, match=r"can't write the pages to .*/file/docs: Not a directory"):
        checker.check(DAY, {}, ())


def test_data_that_cannot_be_read_is_no_verdict(spark: SparkSession, tmp_path: Path) -> None:
    place = tmp_path / "rows"
    frame(spark, day_of_rows(DAY)).transform(frames.rows).write.parquet(str(place))
    rows = spark.read.parquet(str(place))
    for part in place.glob("part-*"):
        part.unlink()
    asked = [one for one in EXPECTATIONS if one.of is Asset.ROWS and not one.parameters]
    with pytest.raises(Unavailable, match="rows of the day is not available"):
        GreatExpectations(tmp_path / "docs").check(DAY, {Asset.ROWS: rows}, asked)
    assert [path.name for path in tmp_path.rglob("*.*") if path.suffix in (".json", ".html")] == []
