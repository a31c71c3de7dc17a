"""Peer of ``index``: the same Python loop into Elasticsearch with ``helpers.parallel_bulk``.

Invalid messages are only counted. Duplicates are found by Elasticsearch itself (409 of the external version), as the
second time in the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from elasticsearch.helpers import parallel_bulk

from benchmarks import elastic_lab
from benchmarks.meter import Meter, Outcome
from benchmarks.python_loop import Drain, Judge, Judged
from pipelines.ingest.coordinates import PARTITION_BITS
from pipelines.settings import Settings

THREADS = 2
BULK_ENTRIES = 2_000
BULK_BYTES = 4 * 1024 * 1024

NEWEST_VERSION = 1 << 62


def run(settings: Settings) -> Outcome:
    """Drain the topic into fresh indices."""
    meter = Meter()
    with elastic_lab.fresh_indices(settings):
        with meter, elastic_lab.client(settings, THREADS) as es:
            drain = Drain(settings)
            feed = Feed(settings, drain)
            sent = parallel_bulk(es, feed, THREADS, BULK_ENTRIES, BULK_BYTES, raise_on_error=False, queue_size=THREADS)
            refused = sum(not taken for taken, _ in sent)
            drain.commit()
        valid = elastic_lab.stored(settings)
    return meter.outcome(valid + refused + feed.invalid, valid=valid, invalid=refused + feed.invalid, batches=1)


class Feed:
    """Bulk actions of all valid messages; counts the others."""

    def __init__(self, settings: Settings, drain: Drain) -> None:
        self._judge, self._drain = Judge(settings), drain
        self._prefix = settings.elasticsearch.index_prefix
        self._days: dict[int, str] = {}
        self.invalid = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for messages in self._drain:
            for message in messages:
                row = self._judge(message)
                if row.is_valid:
                    yield self._action(row)
                else:
                    self.invalid += 1

    def _action(self, row: Judged) -> dict[str, Any]:
        record, message = row.record, row.message
        assert record is not None
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        document = {name: value for name, value in record.items() if value is not None}
        document["@timestamp"] = record["timestamp"]
        if row.violations:
            document["warnings"] = [v.code for v in row.violations]
        document["schema_id"] = row.schema_id
        document["content_hash"] = row.hash
        document["kafka_topic"] = message.topic()
        document["kafka_partition"] = partition
        document["kafka_offset"] = offset
        document["kafka_timestamp"] = message.timestamp()[1]
        return {
            "_op_type": "index",
            "_index": self._index(record["timestamp"]),
            "_id": record["request_id"],
            "version": NEWEST_VERSION - ((offset << PARTITION_BITS) + partition),
            "version_type": "external_gte",
            "_source": document,
        }

    def _index(self, event_ms: int) -> str:
        day = event_ms // 86_400_000
        if day not in self._days:
            shown = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y.%m.%d")
            self._days[day] = f"{self._prefix}-{shown}"
        return self._days[day]
