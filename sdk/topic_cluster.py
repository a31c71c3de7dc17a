"""The topics of a running cluster: read them, make one, change one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from pipelines.contracts.topic_plan import ClusterState
from pipelines.contracts.topics import TopicSpec
from sdk.admin_connection import REQUEST_TIMEOUT_S, TOPIC_UNKNOWN, AdminConnection, not_yet, single


class TopicCluster:
    """The topics of one cluster. Errors are those of the connection."""

    def __init__(self, connection: AdminConnection) -> None:
        self._connection, self._client = connection, connection.client
        self.address, self.patience_s = connection.address, connection.patience_s

    def read(self, names: Collection[str], complete: bool = False) -> ClusterState:
        """The cluster, and those of these topics that exist; ``complete``: wait until all of them do.

        A broker that is away counts if it holds replicas. ``config`` of a topic has every setting in force, and its
        replication is that of the partition with the fewest copies.
        """
        return self._connection.retried(lambda: self._read(names, complete))

    def create(self, topic: TopicSpec) -> bool:
        """Make a topic and wait for its leaders. False: somebody else was faster, and it may differ."""
        created = self._connection.retried(lambda: self._create(topic))
        self._connection.retried(lambda: self._settled(topic.name))
        return created

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions, up to so many in all. Raises UsageError when it has more."""
        self._connection.retried(lambda: self._grow(topic, partitions))

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Set these settings of a topic, all in one step; its others stay."""
        entries = [ConfigEntry(n, value, incremental_operation=AlterConfigOpType.SET) for n, value in config.items()]
        wanted = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)]
        self._connection.retried(
            lambda: single(self._client.incremental_alter_configs(wanted, request_timeout=REQUEST_TIMEOUT_S))
        )

    def _read(self, names: Collection[str], complete: bool) -> ClusterState:
        metadata = self._client.list_topics(timeout=REQUEST_TIMEOUT_S)
        copies = {n: [p.replicas for p in t.partitions.values()] for n, t in metadata.topics.items() if t.partitions}
        if complete and not copies.keys() >= set(names):
            raise not_yet()
        configs = self._configs([name for name in names if name in copies])
        return ClusterState(
            brokers=len(metadata.brokers.keys() | {b for topic in copies.values() for held in topic for b in held}),
            names=frozenset(metadata.topics),
            topics={n: TopicSpec(n, len(copies[n]), min(map(len, copies[n])), config) for n, config in configs.items()},
        )

    def _configs(self, topics: Collection[str]) -> dict[str, dict[str, str]]:
        if not topics:
            return {}
        wanted = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
        futures = self._client.describe_configs(wanted, request_timeout=REQUEST_TIMEOUT_S)
        return {resource.name: _values(future) for resource, future in futures.items()}

    def _create(self, topic: TopicSpec) -> bool:
        wanted = NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.config))
        try:
            single(self._client.create_topics([wanted], request_timeout=REQUEST_TIMEOUT_S))
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            return False
        return True

    def _grow(self, topic: str, partitions: int) -> None:
        wanted = [NewPartitions(topic, partitions)]
        try:
            single(self._client.create_partitions(wanted, request_timeout=REQUEST_TIMEOUT_S))
        except KafkaException as error:  # the answer to an earlier try may have been lost
            code = error.args[0].code()
            if code != KafkaError.INVALID_PARTITIONS or len(self._connection.leaders(topic)) != partitions:
                raise

    def _settled(self, topic: str) -> None:
        try:
            self._connection.leaders(topic)
        except KafkaException as error:
            if error.args[0].code() not in TOPIC_UNKNOWN:
                raise
            raise not_yet() from error


def _values(future: Future[Any]) -> dict[str, str]:
    """Settings of a topic of which some broker has told; another one may not know it yet."""
    try:
        return {name: str(entry.value) for name, entry in future.result().items() if entry.value is not None}
    except KafkaException as error:
        if error.args[0].code() not in TOPIC_UNKNOWN:
            raise
        raise not_yet() from error
