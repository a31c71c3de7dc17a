"""The daily indices of Elasticsearch as maintenance sees them: their state, and the steps through their life.

Only names that are exactly ``<index_prefix>-YYYY.MM.DD`` are ever seen or touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any

from elasticsearch import ApiError

from pipelines.adapters.elastic_client import ElasticClient
from pipelines.maintenance.indices import Ages, Index, day_of
from pipelines.maintenance.retirement import Count, Unit
from pipelines.settings import ElasticsearchSettings

MERGE_TIMEOUT_S = 3600.0
"""An index merges for as long as it must; beyond this the cluster goes on by itself and the next run looks again."""

MOST_TOPICS, MOST_PARTITIONS = 1_000, 4_096
_NO_SUCH_FEATURE = {400, 403, 404, 405}


class DailyIndices:
    """Every method raises SinkUnavailable when the cluster does not answer."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        self._client, self._prefix = ElasticClient(settings), settings.index_prefix

    def names(self) -> list[str]:
        """All of them, oldest first."""
        return sorted(self._settings())

    def all(self) -> list[Index]:
        """The state of each, oldest first."""
        return [self._state(name, found) for name, found in sorted(self._settings().items())]

    def counts(self, names: Iterable[str]) -> list[Count]:
        """Documents of each index by where they came from, after a refresh."""
        return [count for name in names for count in self._count(self._checked(name))]

    def block(self, name: str) -> None:
        """Make an index read-only, once every write that is under way has ended."""
        name = self._checked(name)
        self._call(lambda: self._api.indices.add_block(index=name, block="write"))

    def unblock(self, day: date) -> str | None:
        """Let an index be written to until the next maintenance; its name, or None if that day has none."""
        name = self._checked(f"{self._prefix}-{day:%Y.%m.%d}")
        if name not in self._settings():
            return None
        self._call(lambda: self._api.indices.put_settings(index=name, settings={"index.blocks.write": None}))
        return name

    def merge(self, name: str) -> None:
        """One segment per shard. Raises SinkUnavailable after ``MERGE_TIMEOUT_S``."""
        name, patient = self._checked(name), self._api.options(request_timeout=MERGE_TIMEOUT_S)
        self._call(lambda: patient.indices.forcemerge(index=name, max_num_segments=1))
        self._call(lambda: self._api.indices.refresh(index=name))  # lets go of the segments that were merged

    def delete(self, name: str) -> None:
        """Delete one index for good."""
        name = self._checked(name)
        self._call(lambda: self._api.indices.delete(index=name, ignore_unavailable=True))

    def has_lifecycle(self) -> bool:
        """Whether the cluster moves indices through their phases by itself (ILM)."""

        def ask() -> bool:
            try:
                self._api.ilm.get_lifecycle()
            except ApiError as error:
                if error.status_code in _NO_SUCH_FEATURE:
                    return False
                raise
            return True

        return bool(self._call(ask))

    def keep_policy(self, ages: Ages) -> bool:
        """Make sure that the cluster has the policy named like the prefix; False if it had it already."""
        wanted = policy(ages)
        held = self._call(
            lambda: self._api.options(ignore_status=404).ilm.get_lifecycle(name=self._prefix, filter_path="*.policy")
        )
        found = held.body.get(self._prefix, {}).get("policy", {}).get("phases", {})
        if all(found.get(phase, {}).get("min_age") == what.get("min_age") for phase, what in wanted.items()):
            return False
        self._call(lambda: self._api.ilm.put_lifecycle(name=self._prefix, policy={"phases": wanted}))
        return True

    def without_policy(self) -> list[str]:
        """Indices that no policy is attached to."""
        return sorted(name for name, found in self._settings().items() if not found.get("lifecycle", {}).get("name"))

    def attach_policy(self, name: str) -> None:
        """Let the policy move an index, by the age of its day."""
        name = self._checked(name)
        begin = datetime.combine(day_of(name, self._prefix) or date.max, time(), UTC)
        lifecycle = {"name": self._prefix, "origination_date": round(begin.timestamp() * 1000)}
        self._call(lambda: self._api.indices.put_settings(index=name, settings={"index": {"lifecycle": lifecycle}}))

    @property
    def _api(self) -> Any:
        return self._client.raw

    def _call(self, request: Any) -> Any:
        return self._client.call(request)

    def _settings(self) -> dict[str, dict[str, Any]]:
        """Name → what its settings say of blocks and lifecycle, ours only."""
        parts = "*.settings.index.uuid,*.settings.index.blocks,*.settings.index.lifecycle"
        found = self._call(lambda: self._api.indices.get_settings(index=f"{self._prefix}-*", filter_path=parts))
        return {name: s["settings"]["index"] for name, s in found.items() if day_of(name, self._prefix)}

    def _state(self, name: str, settings: dict[str, Any]) -> Index:
        day = day_of(name, self._prefix)
        assert day is not None, "_settings names ours only"
        is_read_only = str(settings.get("blocks", {}).get("write", "false")) == "true"
        return Index(name, day, is_read_only, self._segments(name) if is_read_only else 0)

    def _segments(self, name: str) -> int:
        """Segments of the shard copy that has most of them."""
        path = "indices.*.shards.*.num_search_segments"
        found = self._call(lambda: self._api.indices.segments(index=name, filter_path=path))
        shards = found.get("indices", {}).get(name, {}).get("shards", {})
        return max((copy["num_search_segments"] for copies in shards.values() for copy in copies), default=0)

    def _count(self, name: str) -> list[Count]:
        self._call(lambda: self._api.indices.refresh(index=name))
        partitions = {"terms": {"field": "kafka_partition", "size": MOST_PARTITIONS}}
        by = {"topics": {"terms": {"field": "kafka_topic", "size": MOST_TOPICS}, "aggs": {"partitions": partitions}}}
        found = self._call(lambda: self._api.search(index=name, size=0, aggregations=by))
        return [
            Count(Unit(name), topic["key"], int(part["key"]), int(part["doc_count"]))
            for topic in found["aggregations"]["topics"]["buckets"]
            for part in topic["partitions"]["buckets"]
        ]

    def _checked(self, name: str) -> str:
        if day_of(name, self._prefix) is None:
            raise ValueError(f"{name} is no daily index of {self._prefix}")
        return name


def policy(ages: Ages) -> dict[str, dict[str, Any]]:
    """The phases of an ILM policy that does what the task does on a cluster without ILM."""
    return {
        "hot": {"min_age": "0ms", "actions": {}},
        "warm": {
            "min_age": f"{ages.hot_days}d",
            "actions": {"readonly": {}, "forcemerge": {"max_num_segments": 1}},
        },
        "delete": {"min_age": f"{ages.delete_days}d", "actions": {"delete": {}}},
    }
