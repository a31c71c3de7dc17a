"""Requests that ask for too much at once are cut in half; documents of the wrong day are noticed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import BadRequestError

from pipelines.adapters.elastic_sums import ElasticSums
from pipelines.errors import UsageError
from pipelines.reconcile.figures import SUMMED, VALUED, Place
from pipelines.settings import load

DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
TOPIC = "logs"
META = ApiResponseMeta(400, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "e", 9200))


class FakeCluster:
    """One document per hour, all in one index; refuses more than ``most`` hours."""

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, list[int]()
        self.foreign: list[dict[str, Any]] = []
        self.raw, self.url = self, "http://e:9200"

    def call(self, request: Callable[[], Any]) -> Any:
        return request()

    def search(self, *, query: Any, aggregations: Any, **_: Any) -> dict[str, Any]:
        if "foreign" in aggregations:
            return {"aggregations": {"foreign": {"buckets": self.foreign}}}
        if "aggs" not in aggregations["indices"]:
            return {"aggregations": {"indices": {"buckets": []}}}
        [_, wanted] = query["bool"]["filter"]
        start, end = wanted["range"]["timestamp"]["gte"], wanted["range"]["timestamp"]["lt"]
        hours = range(start, end, HOUR_MS)
        self.asked.append(len(hours))
        if len(hours) > self.most:
            raise BadRequestError("search_phase_execution_exception", META, {"error": "too_many_buckets_exception"})
        return {"aggregations": {"indices": {"buckets": [self._index("api6-logs-valid-2026.03.01", hours)]}}}

    def _index(self, name: str, hours: range) -> dict[str, Any]:
        cell = {n: {"value": 1.0} for n in SUMMED} | {
            f"by_{n}": {"sum_other_doc_count": 0, "buckets": [{"key": "x", "doc_count": 1}]} for n in VALUED
        }
        buckets = [{"key": float(h), "partitions": {"buckets": [{"key": 3, "doc_count": 1, **cell}]}} for h in hours]
        return {"key": name, "hours": {"buckets": buckets}}


def sums(cluster: FakeCluster) -> ElasticSums:
    found = ElasticSums(load("local").elasticsearch)
    found._elastic = cluster  # type: ignore[assignment]
    return found


def test_a_page_that_is_too_large_is_halved_until_it_fits() -> None:
    cluster = FakeCluster(most=7)
    found = sums(cluster).hours(TOPIC, [(DAY, DAY + timedelta(hours=24))])
    assert cluster.asked == [24, 12, 6, 6, 12, 6, 6]
    first = round(DAY.timestamp() * 1000)
    assert set(found.figures.sums) == {Place(3, first + n * HOUR_MS) for n in range(24)}
    assert found.strays == {}


def test_an_hour_that_does_not_fit_is_told() -> None:
    with pytest.raises(UsageError, match="one hour"):
        sums(FakeCluster(most=0)).hours(TOPIC, [(DAY, DAY + timedelta(hours=2))])


def test_documents_of_nobody_are_told_with_their_ids() -> None:
    cluster = FakeCluster(most=99)
    some = {"hits": {"hits": [{"_id": "a"}, {"_id": "b"}]}}
    topics = [{"key": "", "doc_count": 7, "some": some}, {"key": TOPIC, "doc_count": 1, "some": some}]
    cluster.foreign = [{"key": "logs-2026.03.01", "topics": {"buckets": topics}}]
    found = sums(cluster).hours(TOPIC, [(DAY, DAY + timedelta(hours=2))]).foreign
    assert [(f.index, f.topic, f.records, f.examples) for f in found] == [
        ("logs-2026.03.01", "", 7, ("a", "b")),
        ("logs-2026.03.01", TOPIC, 1, ("a", "b")),
    ]
    assert [text in f.told(TOPIC) for f, text in zip(found, ("no topic", "no partition"), strict=True)] == [True] * 2


def test_documents_of_another_day_are_counted() -> None:
    found = sums(FakeCluster(most=99)).hours(TOPIC, [(DAY - timedelta(hours=3), DAY + timedelta(hours=2))])
    assert found.strays == {"api6-logs-valid-2026.03.01": 3}
