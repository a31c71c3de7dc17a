"""What an error of Kafka means for the record it is about."""

from __future__ import annotations

from enum import Enum, auto

from confluent_kafka import KafkaError

from pipelines.errors import RecordRefused, RecordTooLarge


class Fate(Enum):
    """What happens next to a record that failed."""

    RETRY = auto()
    """Kafka is away or busy: sent again until it is there."""
    REFUSED = auto()
    """The record or its topic is wrong: its future fails."""
    TOO_LARGE = auto()
    """The record, or another one in its batch, is too large."""
    CLIENT_LOST = auto()
    """The client gave up all of its records; another client sends them."""


_REFUSED = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._INVALID_ARG,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
_CLIENT_LOST = {KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}


def fate(error: KafkaError) -> Fate:
    """What happens next.

    Rights on the cluster and expired credentials are infrastructure that somebody mends: they are retried (law 4).
    """
    code = error.code()
    if error.fatal() or code in _CLIENT_LOST:
        return Fate.CLIENT_LOST
    if code in _TOO_LARGE:
        return Fate.TOO_LARGE
    return Fate.REFUSED if code in _REFUSED else Fate.RETRY


def refusal(topic: str, error: KafkaError) -> RecordRefused:
    """The typed error for a record that Kafka never takes."""
    kind = RecordTooLarge if error.code() in _TOO_LARGE else RecordRefused
    return kind(topic, error.name(), error.str())
