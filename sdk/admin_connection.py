"""One connection of a Kafka administrator: patience while no broker answers, and errors of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from pipelines.errors import BrokerUnavailable, InvalidSetting, SdpError, UsageError

T = TypeVar("T")

REQUEST_TIMEOUT_S = 10.0
PATIENCE_S = 20.0
"""How long a call is retried while no broker answers."""

TOPIC_UNKNOWN = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}

_HOPELESS = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError._INVALID_ARG,
}
"""Errors that a retry does not mend."""


class AdminConnection:
    """A client of one cluster.

    ``options``: librdkafka's. A call made through ``retried`` raises BrokerUnavailable when no broker answers within
    ``patience_s`` seconds, and UsageError when the cluster refuses (a topic that does not exist, missing rights).
    Raises InvalidSetting when librdkafka does not take the options.
    """

    def __init__(self, bootstrap_servers: str, options: Mapping[str, Any], patience_s: float = PATIENCE_S) -> None:
        self.address, self.patience_s = bootstrap_servers, patience_s
        try:
            self.client = AdminClient({"log_level": "2", **options, "bootstrap.servers": bootstrap_servers})
        except KafkaException as error:
            raise InvalidSetting(f"options of the Kafka client: {error.args[0].str()}") from None

    def retried(self, call: Callable[[], T]) -> T:
        """The result of the call, made again while that may help."""
        attempts = Retrying(
            retry=retry_if_exception_type(BrokerUnavailable),
            stop=stop_after_delay(self.patience_s),
            wait=wait_exponential_jitter(multiplier=0.2, max=3),
            reraise=True,
        )
        return cast(T, attempts(self._mapped, call))

    def leaders(self, topic: str) -> list[int]:
        """Partitions of the topic; raises KafkaException (LEADER_NOT_AVAILABLE) until each has a leader."""
        metadata = self.client.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
        if metadata.error is not None:
            raise KafkaException(metadata.error)
        if any(p.leader < 0 for p in metadata.partitions.values()):
            raise not_yet()
        return sorted(metadata.partitions)

    def _mapped(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except KafkaException as error:
            raise kafka_error(error, self.address) from error


def kafka_error(error: KafkaException, bootstrap: str) -> SdpError:
    """Our error for one of the client: UsageError when a retry can't help, BrokerUnavailable otherwise."""
    cause = error.args[0]
    if cause.code() in TOPIC_UNKNOWN:
        return UsageError(
            f"Kafka at {bootstrap} has no such topic ({cause.str()}): run `sdp init`, or check kafka.topic"
        )
    if cause.code() in _HOPELESS:
        return UsageError(f"Kafka at {bootstrap} refuses: {cause.str()}")
    return BrokerUnavailable("Kafka", bootstrap, cause.str())


def not_yet() -> KafkaException:
    """The error of a topic that not all brokers know yet; a retry mends it."""
    return KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))


def single(futures: Mapping[Any, Future[Any]]) -> Any:
    """The result of a call about a single resource."""
    (future,) = futures.values()
    return future.result()
