"""The trial of a rule set on stored rows, against counts and samples written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.adapters.tables import COLUMNS
from pipelines.contracts.rules import RuleSet
from pipelines.flows.rule_trial import RulesTrial, Verdict
from pipelines.ingest.rule_trial import Sample, Trial, as_trial, rule_trial
from pipelines.records import LOG_FIELDS, VALID
from tests.world import NOW_MS, record

AT = datetime.fromtimestamp(NOW_MS / 1000, UTC)


def rule(name: str, check: str, field: str, **rest: Any) -> dict[str, Any]:
    base = {"id": name, "field": field, "check": check, "severity": "critical", "message": "m", "owner": "us"}
    return base | rest


RULES = RuleSet.model_validate(
    {
        "subject": "s",
        "personal": ["client_ip"],
        "rules": [
            rule("small", "range", "status_code", max=499),
            rule("told", "required", "error_message", when={"field": "status_code", "min": 500}),
            rule("local", "pattern", "client_ip", regex="^10[.]", severity="warning"),
            rule("never", "length", "http_method", max=100),
            rule("fits", "compare", "payload_size", op=">=", other="response_time_ms", severity="warning"),
        ],
    }
)


def stored(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """Rows of the table: partition 3, offsets from 100 on, a second apart."""
    full = []
    for n, row in enumerate(rows):
        at = AT + timedelta(seconds=n)
        full.append((*(row[f] for f in LOG_FIELDS), at, [], "t", 3, 100 + n, at, 1, 0, 0, at, at.date(), at.hour))
    return spark.createDataFrame(full, COLUMNS[VALID])


def tried(frame: DataFrame, samples: int, rules: RuleSet = RULES) -> Trial:
    [row] = frame.transform(rule_trial(rules, samples)).collect()
    return as_trial(row, rules, samples)


FINE = {"client_ip": "10.0.0.1"}


def sample(n: int, found: str) -> Sample:
    at = AT.replace(microsecond=AT.microsecond // 1000 * 1000) + timedelta(seconds=n)
    return Sample(3, 100 + n, at, found)


def test_rows_are_counted_by_rule_and_once_in_all(spark: SparkSession) -> None:
    frame = stored(
        spark,
        record(**FINE),
        record(**FINE, status_code=500, error_message="broken"),  # small
        record(**FINE, status_code=503),  # small, told
        record(client_ip="192.0.2.7"),  # local
        record(client_ip="192.0.2.7", payload_size=1, response_time_ms=2),  # local, fits
    )
    found = tried(frame, samples=3)
    assert (found.rows, found.rejected) == (5, 2)
    assert [(one.rule.id, one.rows) for one in found.rules] == [
        ("small", 2),
        ("told", 1),
        ("local", 2),
        ("never", 0),
        ("fits", 1),
    ]
    assert [one.samples for one in found.rules] == [
        (sample(1, "500"), sample(2, "503")),
        (sample(2, "null"),),
        (sample(3, "***"), sample(4, "***")),
        (),
        (sample(4, "1; response_time_ms is 2"),),
    ]


def test_samples_are_few_distinct_and_those_of_their_rows(spark: SparkSession) -> None:
    n = 2_000
    frame = stored(spark, *(record(**FINE, status_code=500 + i, error_message=f"e{i}") for i in range(n))).repartition(
        7
    )
    for wanted in (1, 2, 3, 20):
        small = tried(frame, wanted).rules[0]
        assert small.rows == n
        assert len(set(small.samples)) == len(small.samples) == wanted
        for one in small.samples:
            assert one == sample(one.offset - 100, str(400 + one.offset))
    offsets = [one.offset for one in tried(frame, 3).rules[0].samples]
    assert (offsets[0], offsets[-1]) == (100, 100 + n - 1)


def test_without_samples_only_numbers_are_kept(spark: SparkSession) -> None:
    found = tried(stored(spark, record(**FINE, status_code=500)), samples=0)
    assert [(one.rows, one.samples) for one in found.rules] == [(1, ()), (1, ()), (0, ()), (0, ()), (0, ())]


def test_no_rows_at_all(spark: SparkSession) -> None:
    found = tried(stored(spark), samples=3)
    assert (found.rows, found.rejected) == (0, 0)
    assert all((one.rows, one.samples) == (0, ()) for one in found.rules)


def test_a_set_without_rules_rejects_nothing(spark: SparkSession) -> None:
    found = tried(stored(spark, record()), 3, RuleSet(subject="s", rules=()))
    assert found == Trial(rows=1, rejected=0, rules=())


def test_a_full_set_can_be_tried(spark: SparkSession) -> None:
    rules = RuleSet.model_validate(
        {"subject": "s", "rules": [rule(f"r{k}", "range", "status_code", max=599 - k) for k in range(60)]}
    )
    found = tried(stored(spark, record(status_code=541), record(status_code=200)), 3, rules)
    assert (found.rows, found.rejected) == (2, 1)
    assert [one.rows for one in found.rules] == [0] * 59 + [1]
    found = tried(stored(spark, record(status_code=570), record(status_code=200)), 3, rules)
    assert [one.rows for one in found.rules] == [0] * 30 + [1] * 30


def test_the_rows_are_read_once(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = str(tmp_path_factory.mktemp("rows") / "rows")
    stored(spark, record(), record()).write.parquet(place)
    frame = spark.read.parquet(place).transform(rule_trial(RULES, 3))
    plan = frame._jdf.queryExecution().sparkPlan().toString()
    assert plan.count("Scan") == 1
    assert "Python" not in plan


class FakeTables:
    """One table."""

    def __init__(self, frame: DataFrame) -> None:
        self._frame = frame

    def read(self, table: str) -> DataFrame:
        assert table == VALID
        return self._frame


@pytest.mark.parametrize(
    ("since_s", "until_s", "rows"),
    [(0, 3, 3), (0, 2, 2), (1, 3, 2), (1, 2, 1), (0.001, 3, 2), (0, 2.001, 3), (5, 6, 0)],
)
def test_the_window_is_one_of_kafka_timestamps_without_its_end(
    spark: SparkSession, since_s: float, until_s: float, rows: int
) -> None:
    frame = stored(spark, record(), record(), record())
    trial = RulesTrial("t", FakeTables(frame), lambda: None)
    begin, end = AT + timedelta(seconds=since_s), AT + timedelta(seconds=until_s)
    verdict = trial(RULES, begin, end, 0)
    assert isinstance(verdict, Verdict)
    assert (verdict.trial.rows, verdict.changes) == (rows, None)


def test_rows_of_other_topics_are_left_out(spark: SparkSession) -> None:
    trial = RulesTrial("another", FakeTables(stored(spark, record())), lambda: RULES)
    verdict = trial(RULES, AT - timedelta(1), AT + timedelta(1), 0)
    assert verdict.trial.rows == 0
    assert verdict.changes is not None
    assert not verdict.changes
