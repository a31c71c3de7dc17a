"""Kafka administration: topics as conf/topics.yaml wants them, and offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import datetime
from typing import Any, TypeVar, cast

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType  # type: ignore[attr-defined]
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from pipelines.contracts.kafka_options import librdkafka_options
from pipelines.contracts.topics import TopicReport, TopicSpec, compare, wanted_topics
from pipelines.errors import BrokerUnavailable, SdpError, UsageError
from pipelines.settings import KafkaSettings, Settings

T = TypeVar("T")

REQUEST_TIMEOUT_S = 10.0
PATIENCE_S = 20.0
"""How long a call is retried while no broker answers."""

_HOPELESS = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_CONFIG,
    KafkaError._INVALID_ARG,
}
"""Errors that a retry does not mend."""

_TOPIC_UNKNOWN = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}


def ensure_topics(settings: Settings) -> list[TopicReport]:
    """Create the topics of conf/topics.yaml that are missing; report, never change, those that differ."""
    return KafkaAdmin(settings.kafka).ensure(wanted_topics(settings.kafka))


class KafkaAdmin:
    """One cluster, as its administrator sees it.

    Every call raises BrokerUnavailable when no broker answers within ``patience_s`` seconds, and UsageError when the
    cluster refuses (a topic that does not exist, missing rights).
    """

    def __init__(self, kafka: KafkaSettings, patience_s: float = PATIENCE_S) -> None:
        self._bootstrap, self._patience_s = kafka.bootstrap, patience_s
        self._client = AdminClient({**librdkafka_options(kafka)})

    def ensure(self, specs: Iterable[TopicSpec]) -> list[TopicReport]:
        """Make sure that each topic exists and has leaders; one report each, in order."""
        return [self._ensure(spec) for spec in specs]

    def watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition → (earliest offset, offset of the next record)."""
        return self._retried(lambda: self._watermarks(topic))

    def first_since(self, topic: str, at: datetime) -> dict[int, int]:
        """Partition → first offset whose Kafka timestamp is not before ``at``; the next offset where there is none."""
        return self._retried(lambda: self._first_since(topic, at))

    def partitions(self, topic: str) -> int:
        """Number of partitions of the topic."""
        return self._retried(lambda: len(self._leaders(topic)))

    def exists(self, topic: str) -> bool:
        """Whether the topic exists."""
        return self._retried(lambda: self._found(topic) is not None)

    def _ensure(self, spec: TopicSpec) -> TopicReport:
        wanted = spec.fitted(self._retried(self._brokers))
        found = self._retried(lambda: self._found(spec.name))
        created = found is None and self._retried(lambda: self._create(wanted))
        if found is None:
            found = self._retried(lambda: self._settled(spec.name))
        return TopicReport(spec.name, created, found.partitions, found.replication, compare(wanted, found))

    def _create(self, spec: TopicSpec) -> bool:
        """True when created by us, False when somebody else was faster."""
        topic = NewTopic(spec.name, spec.partitions, spec.replication, config=dict(spec.config))
        try:
            _result(self._client.create_topics([topic], request_timeout=REQUEST_TIMEOUT_S))
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            return False
        return True

    def _found(self, topic: str) -> TopicSpec | None:
        metadata = self._client.list_topics(timeout=REQUEST_TIMEOUT_S).topics.get(topic)
        if metadata is None or not metadata.partitions:
            return None
        resource = ConfigResource(ResourceType.TOPIC, topic)
        config = _result(self._client.describe_configs([resource], request_timeout=REQUEST_TIMEOUT_S))
        replication = min(len(p.replicas) for p in metadata.partitions.values())
        values = {name: str(setting.value) for name, setting in config.items()}
        return TopicSpec(topic, len(metadata.partitions), replication, values)

    def _settled(self, topic: str) -> TopicSpec:
        """A topic just created, once all brokers know it; until then raises the retriable LEADER_NOT_AVAILABLE."""
        try:
            self._leaders(topic)
            found = self._found(topic)
        except KafkaException as error:
            if error.args[0].code() not in _TOPIC_UNKNOWN:
                raise
            found = None
        if found is None:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return found

    def _watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        partitions = [TopicPartition(topic, p) for p in self._leaders(topic)]
        earliest = self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        latest = self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {p: (earliest[p], latest[p]) for p in sorted(earliest)}

    def _first_since(self, topic: str, at: datetime) -> dict[int, int]:
        partitions = [TopicPartition(topic, p) for p in self._leaders(topic)]
        ends = self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        found = self._offsets(partitions, OffsetSpec.for_timestamp(round(at.timestamp() * 1000)))
        return {p: ends[p] if found[p] < 0 else found[p] for p in sorted(found)}

    def _offsets(self, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
        futures = self._client.list_offsets(dict.fromkeys(partitions, spec), request_timeout=REQUEST_TIMEOUT_S)
        return {p.partition: future.result().offset for p, future in futures.items()}

    def _leaders(self, topic: str) -> list[int]:
        """Partitions of the topic; raises the retriable LEADER_NOT_AVAILABLE until each has a leader."""
        metadata = self._client.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
        if metadata.error is not None:
            raise KafkaException(metadata.error)
        if any(p.leader < 0 for p in metadata.partitions.values()):
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return sorted(metadata.partitions)

    def _brokers(self) -> int:
        return len(self._client.list_topics(timeout=REQUEST_TIMEOUT_S).brokers)

    def _retried(self, call: Callable[[], T]) -> T:
        attempts = Retrying(
            retry=retry_if_exception_type(BrokerUnavailable),
            stop=stop_after_delay(self._patience_s),
            wait=wait_exponential_jitter(multiplier=0.2, max=3),
            reraise=True,
        )
        return cast(T, attempts(self._mapped, call))

    def _mapped(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except KafkaException as error:
            raise kafka_error(error, self._bootstrap) from error


def kafka_error(error: KafkaException, bootstrap: str) -> SdpError:
    """Our error for one of the client: UsageError when a retry can't help, BrokerUnavailable otherwise."""
    cause = error.args[0]
    if cause.code() in _TOPIC_UNKNOWN:
        return UsageError(
            f"Kafka at {bootstrap} has no such topic ({cause.str()}): run `sdp init`, or check kafka.topic"
        )
    if cause.code() in _HOPELESS:
        return UsageError(f"Kafka at {bootstrap} refuses: {cause.str()}")
    return BrokerUnavailable("Kafka", bootstrap, cause.str())


def _result(futures: dict[Any, Future[Any]]) -> Any:
    """The result of a call about a single resource."""
    (future,) = futures.values()
    return future.result()
