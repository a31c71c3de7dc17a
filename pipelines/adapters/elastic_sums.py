"""Elasticsearch, asked for figures of many documents at once; no document leaves it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from elasticsearch import ApiError

from pipelines.adapters.elastic_client import ElasticClient
from pipelines.adapters.elastic_queries import (
    HOUR_MS,
    MOST_INDICES,
    NOTHING,
    between,
    by_hour,
    cell,
    foreign_aggs,
    foreign_of,
    foreign_query,
    of_topic,
    partitions,
    sums_and_values,
)
from pipelines.errors import SinkUnavailable, UsageError
from pipelines.reconcile.figures import SUMMED, VALUED, Figures, Foreign, Place
from pipelines.reconcile.hours import HOUR, Window, from_ms, in_ms
from pipelines.settings import ElasticsearchSettings

FIRST_PAGE_HOURS = 24
"""A page has as many buckets as places and values; one that would have too many for a request is cut in half."""


@dataclass(slots=True)
class Documents:
    """``strays``: index → documents in it that belong into another one by their timestamp.

    ``indices``: those that hold any of these documents. ``foreign``: documents there that are not of the topic at all.
    """

    figures: Figures = field(default_factory=Figures)
    strays: dict[str, int] = field(default_factory=dict)
    indices: set[str] = field(default_factory=set)
    foreign: list[Foreign] = field(default_factory=list)


class TooManyBuckets(Exception):
    """The cluster refuses a request that asks for so much at once."""


class ElasticSums:
    """Figures of one topic's documents. Every call raises SinkUnavailable when the cluster does not answer."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        self.index_prefix = settings.index_prefix
        self._elastic = ElasticClient(settings)

    def refresh(self) -> None:
        """Make everything that was written visible."""
        pattern = f"{self.index_prefix}-*"
        found = self._elastic.call(lambda: self._elastic.raw.indices.refresh(index=pattern))
        if found["_shards"]["failed"]:  # a copy that missed it would answer from before
            raise SinkUnavailable("Elasticsearch", self._elastic.url, f"{pattern} was refreshed on some copies only")

    def indices(self) -> list[str]:
        """Every daily index there is."""
        names: Any = self._elastic.call(
            lambda: self._elastic.raw.cat.indices(index=f"{self.index_prefix}-*", format="json", h="index")
        )
        return sorted(row["index"] for row in names)

    def index_of(self, hour_ms: int) -> str:
        """The index that documents of an hour belong into."""
        return f"{self.index_prefix}-{from_ms(hour_ms):%Y.%m.%d}"

    def hours(self, topic: str, windows: Sequence[Window]) -> Documents:
        """Figures per partition and event hour, whatever index the documents are in; and those in a wrong one."""
        found = Documents()
        for window in windows:
            for page in _pages(window):
                self._page(topic, page, found)
            self._outside(topic, window, found)
        names = sorted({name for window in windows for name in self._names(window)})
        found.foreign += foreign_of(self._search(foreign_query(topic, windows, names), foreign_aggs()))
        return found

    def blocks(
        self, topic: str, places: Collection[Place], size: int, without: Collection[str]
    ) -> tuple[Figures, set[Place]]:
        """Figures of some places, cut into blocks of ``size`` offsets; and the places that are too large for that.

        ``without``: fields whose values are too many to be told.
        """
        figures, left, waiting = Figures(many=set(without)), set[Place](), [sorted(places)]
        while waiting:
            chunk = waiting.pop()
            try:
                self._blocks(topic, chunk, size, figures)
            except TooManyBuckets:
                half = len(chunk) // 2
                waiting += [chunk[:half], chunk[half:]] if half else []
                left |= set() if half else set(chunk)
        return figures, left

    def _blocks(self, topic: str, places: Sequence[Place], size: int, figures: Figures) -> None:
        values = sums_and_values(figures.many)
        by_offset = {"histogram": {"field": "kafka_offset", "interval": size, "min_doc_count": 1}, "aggs": values}
        query = {"bool": {"filter": [of_topic(topic), {"bool": {"should": [cell(p) for p in places]}}]}}
        for partition, hour_ms, bucket in self._cells(self._search(query, by_hour({"blocks": by_offset}))):
            for block in bucket["blocks"]["buckets"]:
                _take(figures, Place(partition, hour_ms, round(block["key"]) // size), block)

    def stray_blocks(self, topic: str, strays: Collection[str], size: int) -> set[tuple[int, int]]:
        """Partition and block of the documents in these indices that belong into another one."""
        by_offset = {"histogram": {"field": "kafka_offset", "interval": size, "min_doc_count": 1}}
        aggs = {"partitions": partitions({"blocks": by_offset})}
        found: set[tuple[int, int]] = set()
        for index in sorted(strays):
            query = {"bool": {"filter": [of_topic(topic), self.stray(index)]}}
            answer = self._search(query, aggs)
            for p in answer.get("partitions", {}).get("buckets", []):
                found |= {(int(p["key"]), round(b["key"]) // size) for b in p["blocks"]["buckets"]}
        return found

    def stray(self, index: str) -> dict[str, Any]:
        """The documents of an index that belong into another one."""
        day = self._day(index)
        of_index = {"term": {"_index": index}}
        if day is None:
            return {"bool": {"filter": [of_index]}}
        out = [
            {"range": {"timestamp": {"lt": day}}},
            {"range": {"timestamp": {"gte": day + 24 * HOUR_MS}}},
            {"bool": {"must_not": {"exists": {"field": "timestamp"}}}},
        ]
        return {"bool": {"filter": [of_index, {"bool": {"should": out}}]}}

    def _day(self, index: str) -> int | None:
        try:
            day = datetime.strptime(index.removeprefix(f"{self.index_prefix}-"), "%Y.%m.%d").replace(tzinfo=UTC)
        except ValueError:
            return None
        return in_ms(day)

    def _page(self, topic: str, page: Window, found: Documents) -> None:
        query = {"bool": {"filter": [of_topic(topic), between(in_ms(page[0]), in_ms(page[1]))]}}
        aggs = {
            "indices": {
                "terms": {"field": "_index", "size": MOST_INDICES},
                "aggs": by_hour(sums_and_values(found.figures.many)),
            }
        }
        try:
            answer = self._search(query, aggs)
        except TooManyBuckets as error:
            hours = round((page[1] - page[0]) / HOUR)
            if hours < 2:
                raise UsageError(
                    f"one hour of {self.index_prefix}-* has more partitions and values than one request may ask for"
                ) from error
            middle = page[0] + hours // 2 * HOUR
            self._page(topic, (page[0], middle), found)
            self._page(topic, (middle, page[1]), found)
            return
        for index in answer.get("indices", {}).get("buckets", []):
            found.indices.add(index["key"])
            for partition, hour_ms, bucket in self._cells(index):
                _take(found.figures, Place(partition, hour_ms), bucket)
                if index["key"] != self.index_of(hour_ms):
                    found.strays[index["key"]] = found.strays.get(index["key"], 0) + bucket["doc_count"]

    def _outside(self, topic: str, window: Window, found: Documents) -> None:
        """Documents in the indices of the window's days whose timestamp is of no such day."""
        for chunk in _chunks(self._names(window), 200):
            query = {
                "bool": {
                    "filter": [of_topic(topic)],
                    "should": [self.stray(n) for n in chunk],
                    "minimum_should_match": 1,
                }
            }
            aggs = {"indices": {"terms": {"field": "_index", "size": MOST_INDICES}}}
            for bucket in self._search(query, aggs).get("indices", {}).get("buckets", []):
                found.strays[bucket["key"]] = max(bucket["doc_count"], found.strays.get(bucket["key"], 0))
                found.indices.add(bucket["key"])

    def _names(self, window: Window) -> list[str]:
        """The indices of the window's days."""
        days = range(in_ms(window[0].replace(hour=0)), in_ms(window[1]), 24 * HOUR_MS)
        return [self.index_of(day) for day in days]

    def _cells(self, answer: Mapping[str, Any]) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
        for hour in answer.get("hours", {}).get("buckets", []):
            for bucket in hour["partitions"]["buckets"]:
                yield int(bucket["key"]), round(hour["key"]), bucket

    def _search(self, query: Mapping[str, Any], aggs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Aggregations over what a query finds; a shard that is away is trouble, not a smaller answer."""
        return dict(self._elastic.call(lambda: self._aggregate(query, aggs)).get("aggregations", {}))

    def _aggregate(self, query: Mapping[str, Any], aggs: Mapping[str, Any]) -> Any:
        try:
            return self._elastic.raw.search(
                index=f"{self.index_prefix}-*",
                size=0,
                query=query,
                aggregations=aggs,
                track_total_hits=False,
                request_cache=False,
                allow_partial_search_results=False,
            )
        except ApiError as error:
            if "too_many_buckets" in str(error.body):
                raise TooManyBuckets from error
            raise


def _take(figures: Figures, place: Place, bucket: Mapping[str, Any]) -> None:
    figures.add(place, bucket["doc_count"], [bucket[name]["value"] for name in SUMMED])
    for name in VALUED:
        told = bucket.get(f"by_{name}", NOTHING)
        if told["sum_other_doc_count"]:
            figures.many.add(name)
        for value in told["buckets"]:
            figures.add_value(place, name, value["key"], value["doc_count"])


def _pages(window: Window) -> Iterator[Window]:
    start = window[0]
    while start < window[1]:
        end = min(start + FIRST_PAGE_HOURS * HOUR, window[1])
        yield start, end
        start = end


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
