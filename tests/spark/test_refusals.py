"""What `sdp status` says of refusals, over tables made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from pyspark.sql import DataFrame, SparkSession

from pipelines.flows.ports import TableStore
from pipelines.flows.status import Documents, Refusals, Status
from pipelines.records import INVALID, LEDGER

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEDGER_COLUMNS = """query string, query_id string, batch_id bigint, topic string, partition int, from_offset bigint,
    until_offset bigint, valid bigint, invalid bigint, committed_at timestamp"""
INVALID_COLUMNS = """kafka_topic string, kafka_partition int, kafka_offset bigint, status string,
    violations array<struct<code: string, severity: string>>"""


class Tables:
    """Two tables in memory."""

    def __init__(self, spark: SparkSession, ledger: list[Any], invalid: list[Any]) -> None:
        self._frames = {
            LEDGER: spark.createDataFrame(ledger, LEDGER_COLUMNS),
            INVALID: spark.createDataFrame(invalid, INVALID_COLUMNS),
        }

    def read(self, table: str) -> DataFrame:
        return self._frames[table]


def confirmed(batch: int, partition: int, start: int, until: int, invalid: int, hours_ago: int, **other: str) -> Any:
    query, query_id, topic = (other.get(name, default) for name, default in DEFAULTS.items())
    at = NOW - timedelta(hours=hours_ago)
    return query, query_id, batch, topic, partition, start, until, until - start - invalid, invalid, at


DEFAULTS = {"query": "ingest", "query_id": "q", "topic": "logs"}


def bad(partition: int, offset: int, code: str, status: str = "open", topic: str = "logs") -> Any:
    return (
        topic,
        partition,
        offset,
        status,
        [("odd_agent", "warning"), (code, "critical"), ("not_the_first", "critical")],
    )


def test_only_recent_batches_and_the_last_one_count_and_nothing_that_was_replayed(spark: SparkSession) -> None:
    ledger = [
        confirmed(1, 0, 0, 1_000, 900, 25),
        confirmed(2, 0, 1_000, 1_100, 2, 23),
        confirmed(2, 1, 0, 100, 0, 23),
        confirmed(3, 0, 1_100, 1_150, 2, 1),
        confirmed(4, 0, 1_150, 9_999, 9, 0, query="index"),
        confirmed(4, 0, 1_150, 9_999, 9, 0, topic="others"),
    ]
    invalid = [
        *(bad(0, offset, "old") for offset in (1, 999)),
        bad(0, 1_000, "a"),
        bad(0, 1_099, "b", status="replayed"),
        bad(0, 1_100, "a"),
        bad(0, 1_149, "c", status="unrecoverable"),
        bad(0, 1_050, "a", topic="others"),
    ]
    tables = cast(TableStore, Tables(spark, ledger, invalid))
    status = Status("logs", dict, tables, cast(Documents, None))
    recent, last = status.refusals(NOW - timedelta(hours=24))
    assert recent == Refusals(3, 250, {"a": 2, "c": 1})
    assert last == Refusals(2, 50, {"a": 1, "c": 1})
    assert recent.share == 0.012
    assert status.refusals(NOW + timedelta(hours=1)) == (Refusals(0, 0, {}), None)
