"""Kafka administration: topics as conf/topics.yaml wants them, and offsets.

What concerns topics is the SDK's: there is one administration of topics, for services and for the platform.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from pipelines.contracts.kafka_options import librdkafka_options
from pipelines.contracts.topic_file import wanted_topics
from pipelines.contracts.topics import TopicReport, TopicSpec
from pipelines.settings import KafkaSettings, Settings
from sdk.admin_connection import PATIENCE_S, REQUEST_TIMEOUT_S, AdminConnection
from sdk.admin_connection import kafka_error as kafka_error  # for those who produce
from sdk.topic_cluster import TopicCluster
from sdk.topics import TopicAdmin


def ensure_topics(settings: Settings) -> list[TopicReport]:
    """Create the topics of conf/topics.yaml that are missing; report, never change, those that differ."""
    return KafkaAdmin(settings.kafka).ensure(wanted_topics(settings.kafka))


class KafkaAdmin:
    """One cluster, as its administrator sees it.

    Every call raises BrokerUnavailable when no broker answers within ``patience_s`` seconds, and UsageError when the
    cluster refuses (a topic that does not exist, missing rights).
    """

    def __init__(self, kafka: KafkaSettings, patience_s: float = PATIENCE_S) -> None:
        self._connection = AdminConnection(kafka.bootstrap, librdkafka_options(kafka), patience_s)
        self.topics = TopicAdmin.of(TopicCluster(self._connection))

    def ensure(self, specs: Iterable[TopicSpec]) -> list[TopicReport]:
        """Make sure that each topic exists and has leaders, with as many copies as there are brokers."""
        return self.topics.ensure(specs)

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition → (earliest offset, offset of the next record)."""
        return self._connection.retried(lambda: self._watermarks(topic))

    def first_since(self, topic: str, at: datetime) -> dict[int, int]:
        """Partition → first offset whose Kafka timestamp is not before ``at``; the next offset where there is none."""
        return self._connection.retried(lambda: self._first_since(topic, at))

    def partitions(self, topic: str) -> int:
        """Number of partitions of the topic."""
        return self._connection.retried(lambda: len(self._connection.leaders(topic)))

    def exists(self, topic: str) -> bool:
        """Whether the topic exists."""
        return self.topics.describe(topic) is not None

    def _watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        partitions = [TopicPartition(topic, p) for p in self._connection.leaders(topic)]
        earliest = self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        latest = self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {p: (earliest[p], latest[p]) for p in sorted(earliest)}

    def _first_since(self, topic: str, at: datetime) -> dict[int, int]:
        partitions = [TopicPartition(topic, p) for p in self._connection.leaders(topic)]
        ends = self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        found = self._offsets(partitions, OffsetSpec.for_timestamp(round(at.timestamp() * 1000)))
        return {p: ends[p] if found[p] < 0 else found[p] for p in sorted(found)}

    def _offsets(self, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
        futures = self._connection.client.list_offsets(
            dict.fromkeys(partitions, spec), request_timeout=REQUEST_TIMEOUT_S
        )
        return {p.partition: future.result().offset for p, future in futures.items()}
