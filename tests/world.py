"""A test's own corner of the running servers: send records, run jobs, and look at everything that came out."""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fastavro
from confluent_kafka import Producer
from elasticsearch import Elasticsearch
from pyspark.sql import DataFrame, SparkSession

from pipelines import bootstrap
from pipelines.adapters.kafka import ensure_topics
from pipelines.adapters.registry import Registry
from pipelines.contracts import avro
from pipelines.flows.ports import Steps
from pipelines.records import ES_INVALID, INVALID, LEDGER, LOG_FIELDS, VALID
from pipelines.settings import Settings

NOW_MS = int(time.time() * 1000)
"""One moment for the whole run, so that event hours do not move under a test."""

VERSION = 1
"""Version of the log schema that ``record`` fits."""

PER_BATCH = ("batch_id", "ingested_at", "failed_at")
"""Columns that say when a row was written, not what it is."""


def record(**changes: Any) -> dict[str, Any]:
    """A valid API6 log with a request id of its own."""
    base: dict[str, Any] = {
        "timestamp": NOW_MS - 1_000,
        "request_id": str(uuid.uuid4()),
        "api_endpoint": "/v6/orders/{id}",
        "http_method": "GET",
        "status_code": 200,
        "response_time_ms": 17,
        "client_ip": "192.0.2.7",
        "user_agent": "curl/8.5 (Zürich; 東京)",
        "payload_size": 512,
        "error_message": None,
    }
    return base | changes


@dataclass
class World:
    """Settings, session and schema id of one test."""

    settings: Settings
    spark: SparkSession
    schema_id: int
    sent: list[bytes | None] = field(default_factory=list)

    @classmethod
    def create(cls, settings: Settings, spark: SparkSession) -> World:
        """Topics and schema, as `sdp init` makes them."""
        ensure_topics(settings)
        subject = settings.registry.subject
        return cls(settings, spark, Registry(settings.registry).register(subject, avro.load(subject, VERSION).text))

    def encode(self, value: Mapping[str, Any], schema_id: int | None = None) -> bytes:
        """A framed record, by fastavro and struct alone: no code of ours."""
        import io

        body = io.BytesIO()
        fastavro.schemaless_writer(body, avro.load(self.settings.registry.subject, VERSION).parsed, dict(value))
        return b"\x00" + struct.pack(">I", self.schema_id if schema_id is None else schema_id) + body.getvalue()

    def send(self, values: Iterable[bytes | None], partition: int | None = None, **options: Any) -> None:
        """Produce values in order; spread over partitions unless one is given."""
        producer = Producer({"bootstrap.servers": self.settings.kafka.bootstrap, "compression.type": "gzip", **options})
        for position, value in enumerate(values):
            target = position % 12 if partition is None else partition
            producer.produce(self.settings.kafka.topic, value, key=b"k", partition=target, timestamp=NOW_MS)
            producer.poll(0)
            self.sent.append(value)
        assert producer.flush(60) == 0

    def run(self, job: str, on_step: Steps | None = None, settings: Settings | None = None, **how: Any) -> None:
        """Run a job in this process until the end of the topic."""
        bootstrap.job(job, settings or self.settings, self.spark, on_step).run(once=True, **how)

    def with_settings(self, **changes: Any) -> Settings:
        """The same corner with other settings."""
        return self.settings.model_copy(
            update={
                name: getattr(self.settings, name).model_copy(update=value) if isinstance(value, dict) else value
                for name, value in changes.items()
            }
        )

    def overrides(self) -> list[str]:
        """The same corner as ``--set`` texts, for a job in a process of its own."""
        own = self.settings
        return [
            f"home={own.home}",
            f"dist={own.dist}",
            f"checkpoints={own.checkpoints}",
            f"kafka.topic={own.kafka.topic}",
            f"kafka.dlq_topic={own.kafka.dlq_topic}",
            f"elasticsearch.index_prefix={own.elasticsearch.index_prefix}",
            f"metastore.database={own.metastore.database}",
        ]

    def table(self, name: str) -> DataFrame:
        """A table as it is now."""
        self.spark.catalog.refreshTable(f"{self.settings.metastore.database}.{name}")
        return self.spark.table(f"{self.settings.metastore.database}.{name}")

    def rows(self, table: str, *without: str) -> dict[tuple[int, int], dict[str, Any]]:
        """Coordinates → row, less the columns that tell when it was written. Fails if a coordinate is there twice."""
        found = [r.asDict(recursive=True) for r in self.table(table).drop(*PER_BATCH, *without).collect()]
        by_coordinates = {(r["kafka_partition"], r["kafka_offset"]): r for r in found}
        assert len(by_coordinates) == len(found), f"{table} holds a record twice"
        return by_coordinates

    def valid(self) -> dict[tuple[int, int], dict[str, Any]]:
        return self.rows(VALID)

    def invalid(self) -> dict[tuple[int, int], dict[str, Any]]:
        return self.rows(INVALID)

    def es_invalid(self) -> dict[tuple[int, int], dict[str, Any]]:
        return self.rows(ES_INVALID)

    def codes(self, table: str = INVALID) -> dict[tuple[int, int], list[str]]:
        """Coordinates → codes of the critical violations."""
        return {
            at: [v["code"] for v in row["violations"] if v["severity"] == "critical"]
            for at, row in self.rows(table).items()
        }

    def ledger(self, job: str) -> dict[int, list[tuple[int, int, int, int, int, int]]]:
        """Partition → (from, until, valid, invalid, gaps, lost) in order of offsets."""
        out: dict[int, list[tuple[int, int, int, int, int, int]]] = {}
        columns = ("from_offset", "until_offset", "valid", "invalid", "gaps", "lost")
        rows = self.table(LEDGER).where(f"query = '{job}'").select("partition", *columns).collect()
        for row in sorted(map(tuple, rows)):
            out.setdefault(row[0], []).append(tuple(row[1:]))
        return out

    def documents(self) -> dict[str, dict[str, Any]]:
        """Document id → its source and index, over all daily indices."""
        client = Elasticsearch(self.settings.elasticsearch.url)
        pattern = f"{self.settings.elasticsearch.index_prefix}-*"
        client.indices.refresh(index=pattern)
        found: dict[str, dict[str, Any]] = {}
        after: Sequence[Any] | None = None
        while True:
            order = [{"kafka_partition": "asc"}, {"kafka_offset": "asc"}]
            extra: dict[str, Any] = {} if after is None else {"search_after": list(after)}
            hits = client.search(index=pattern, size=5_000, sort=order, **extra)["hits"]["hits"]
            if not hits:
                return found
            found |= {h["_id"]: {**h["_source"], "_index": h["_index"]} for h in hits}
            after = hits[-1]["sort"]


def fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """The ten fields of a row or document."""
    return {name: row.get(name) for name in LOG_FIELDS}
