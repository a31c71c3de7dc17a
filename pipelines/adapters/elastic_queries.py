"""What Elasticsearch is asked for: aggregations of figures, and of documents that are nobody's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pipelines.reconcile.figures import SUMMED, VALUED, Foreign, Place
from pipelines.reconcile.hours import Window, in_ms

HOUR_MS = 3_600_000
MOST_VALUES, MOST_PARTITIONS, MOST_INDICES, MOST_TOPICS = 500, 4096, 10_000, 100
EXAMPLES = 3


def sums_and_values(without: Collection[str]) -> dict[str, Any]:
    told = [name for name in VALUED if name not in without]
    sums = {name: {"sum": {"field": name}} for name in SUMMED}
    return sums | {f"by_{name}": {"terms": {"field": name, "size": MOST_VALUES}} for name in told}


NOTHING: dict[str, Any] = {"sum_other_doc_count": 0, "buckets": []}


def by_hour(inner: Mapping[str, Any]) -> dict[str, Any]:
    hours = {"field": "timestamp", "interval": HOUR_MS, "min_doc_count": 1}
    return {"hours": {"histogram": hours, "aggs": {"partitions": partitions(inner)}}}


def partitions(inner: Mapping[str, Any]) -> dict[str, Any]:
    return {"terms": {"field": "kafka_partition", "size": MOST_PARTITIONS}, "aggs": dict(inner)}


def of_topic(topic: str) -> dict[str, Any]:
    return {"term": {"kafka_topic": topic}}


def between(start: int, end: int) -> dict[str, Any]:
    return {"range": {"timestamp": {"gte": start, "lt": end}}}


def cell(place: Place) -> dict[str, Any]:
    hour = between(place.hour_ms, place.hour_ms + HOUR_MS)
    return {"bool": {"filter": [{"term": {"kafka_partition": place.partition}}, hour]}}


def foreign_query(topic: str, windows: Sequence[Window], names: Sequence[str]) -> dict[str, Any]:
    """Documents of these hours, or in these indices, that are of another topic or lack their coordinates.

    Figures and records are asked for by topic and partition, so nobody else ever sees them.
    """
    here = [*(between(in_ms(start), in_ms(end)) for start, end in windows), {"terms": {"_index": list(names)}}]
    own = [of_topic(topic), *({"exists": {"field": name}} for name in ("kafka_partition", "kafka_offset"))]
    strange = {"bool": {"must_not": {"bool": {"filter": own}}}}
    return {"bool": {"filter": [strange, {"bool": {"should": here, "minimum_should_match": 1}}]}}


def foreign_aggs() -> dict[str, Any]:
    """By index and topic, with some ids."""
    some = {"top_hits": {"size": EXAMPLES, "_source": False}}
    topics = {"terms": {"field": "kafka_topic", "missing": "", "size": MOST_TOPICS}, "aggs": {"some": some}}
    return {"foreign": {"terms": {"field": "_index", "size": MOST_INDICES}, "aggs": {"topics": topics}}}


def foreign_of(answer: Mapping[str, Any]) -> Iterator[Foreign]:
    """What ``foreign_aggs`` was answered."""
    for index in answer.get("foreign", {}).get("buckets", []):
        for found in index["topics"]["buckets"]:
            ids = tuple(hit["_id"] for hit in found["some"]["hits"]["hits"])
            yield Foreign(index["key"], found["key"], found["doc_count"], ids)
