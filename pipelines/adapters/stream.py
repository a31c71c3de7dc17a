"""Kafka as a Spark source: the stream itself, and a second read of a range."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from pipelines.adapters.kafka import KafkaAdmin
from pipelines.contracts.kafka_options import java_options
from pipelines.records import OffsetRange
from pipelines.settings import KafkaSettings

FETCH_OPTIONS = {
    "kafka.isolation.level": "read_committed",
    "kafka.max.poll.records": "5000",
    "kafka.fetch.max.wait.ms": "10",  # offset lookups queue behind a fetch that waits past the end of a partition
    "kafka.fetch.min.bytes": "1",
    "kafka.max.partition.fetch.bytes": "4194304",
    "includeHeaders": "true",
}


class KafkaStream:
    """One topic as a stream of micro-batches, each drain bounded by what is there when it starts."""

    def __init__(self, spark: SparkSession, kafka: KafkaSettings, max_offsets: int) -> None:
        self._spark, self._kafka, self._max_offsets = spark, kafka, max_offsets

    def start(
        self,
        checkpoint: str,
        handle: Callable[[DataFrame, int], None],
        starts: Mapping[int, int] | None = None,
        *,
        tolerate_loss: bool = False,
    ) -> StreamingQuery:
        """Drain in the background. ``starts``: first offsets of a query without a checkpoint, else the earliest."""
        reader = self._spark.readStream.format("kafka").options(**_source_options(self._kafka))
        reader = reader.option("subscribe", self._kafka.topic).option("maxOffsetsPerTrigger", self._max_offsets)
        reader = reader.option("failOnDataLoss", str(not tolerate_loss).lower())
        reader = reader.option("startingOffsets", _starting(self._kafka.topic, starts))
        writer = reader.load().writeStream.foreachBatch(handle).option("checkpointLocation", checkpoint)
        return writer.trigger(availableNow=True).start()


class KafkaBroker:
    """Kafka beside the stream: watermarks, and an independent count of a range."""

    def __init__(self, spark: SparkSession, kafka: KafkaSettings) -> None:
        self._spark, self._kafka, self._admin = spark, kafka, KafkaAdmin(kafka)

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition → (earliest, next) offset."""
        return self._admin.watermarks(topic)

    def recount(self, ranges: Sequence[OffsetRange]) -> dict[int, int]:
        """Partition → records that a fresh read of the ranges gives."""
        return {r["partition"]: r["count"] for r in self.read(ranges).groupBy("partition").count().collect()}

    def between(self, topic: str, since: datetime, until: datetime) -> tuple[OffsetRange, ...]:
        """Offsets of records whose Kafka timestamp lies between both times, without ``until`` itself.

        Kafka looks for the first such offset, so where timestamps go back some older ones lie within.
        """
        first, next_one = self._admin.first_since(topic, since), self._admin.first_since(topic, until)
        found = (OffsetRange(topic, p, offset, next_one[p]) for p, offset in first.items())
        return tuple(r for r in found if len(r))

    def read(self, ranges: Sequence[OffsetRange]) -> DataFrame:
        """The records of some ranges of one topic, at least one, in the columns of Spark's Kafka source."""
        topic = ranges[0].topic
        reader = self._spark.read.format("kafka").options(**_source_options(self._kafka))
        reader = reader.option("failOnDataLoss", "false")
        reader = reader.option("assign", json.dumps({topic: [r.partition for r in ranges]}))
        reader = reader.option("startingOffsets", _starting(topic, {r.partition: r.from_offset for r in ranges}))
        reader = reader.option("endingOffsets", _starting(topic, {r.partition: r.until_offset for r in ranges}))
        return reader.load()


def _source_options(kafka: KafkaSettings) -> dict[str, str]:
    clients = {f"kafka.{name}": value for name, value in java_options(kafka).items()}
    return {**FETCH_OPTIONS, **clients, "kafka.bootstrap.servers": kafka.bootstrap}


def _starting(topic: str, offsets: Mapping[int, int] | None) -> str:
    return json.dumps({topic: {str(p): o for p, o in offsets.items()}}) if offsets else "earliest"
