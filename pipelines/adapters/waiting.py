"""The first record at an offset of each partition: one small fetch, and nothing is committed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from pipelines.adapters.kafka import kafka_error
from pipelines.contracts.kafka_options import librdkafka_options
from pipelines.errors import BrokerUnavailable
from pipelines.settings import KafkaSettings

PATIENCE_S = 20.0
_FETCH = {
    "group.id": "sdp-lag",  # librdkafka wants one; no group is joined
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "queued.min.messages": 1,
    "fetch.message.max.bytes": 65536,
}


class WaitingRecords:
    """Looks at a topic without being one of its consumers."""

    def __init__(self, kafka: KafkaSettings, patience_s: float = PATIENCE_S) -> None:
        self._kafka, self._patience_s = kafka, patience_s

    def oldest(self, topic: str, starts: Mapping[int, int]) -> dict[int, datetime | None]:
        """Kafka timestamp of the first record at or behind each offset; None where there is none, or it has none.

        Raises BrokerUnavailable if not every partition answers in time.
        """
        consumer = Consumer({**librdkafka_options(self._kafka), **_FETCH})
        try:
            consumer.assign([TopicPartition(topic, p, offset) for p, offset in starts.items()])
            return self._first_of_each(consumer, topic, set(starts))
        finally:
            consumer.close()

    def _first_of_each(self, consumer: Consumer, topic: str, missing: set[int]) -> dict[int, datetime | None]:
        found: dict[int, datetime | None] = {}
        deadline = time.monotonic() + self._patience_s
        while missing:
            left = deadline - time.monotonic()
            if left <= 0:
                reason = f"partitions {sorted(missing)} gave no record in {self._patience_s:g} s"
                raise BrokerUnavailable("Kafka", self._kafka.bootstrap, reason)
            message = consumer.poll(left)
            if message is not None and (partition := message.partition()) in missing:
                found[partition] = self._time_of(message)
                missing.remove(partition)
                consumer.pause([TopicPartition(topic, partition)])
        return found

    def _time_of(self, message: Message) -> datetime | None:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise kafka_error(KafkaException(error), self._kafka.bootstrap)
        kind, at_ms = message.timestamp()
        return (
            None if error is not None or kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(at_ms / 1000, UTC)
        )
