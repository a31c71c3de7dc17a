"""The dead letter topic as a Spark sink."""

from __future__ import annotations

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame

from pipelines.contracts.kafka_options import java_options
from pipelines.errors import SinkUnavailable
from pipelines.settings import KafkaSettings

_PRODUCER_OPTIONS = {
    "kafka.acks": "all",
    "kafka.enable.idempotence": "true",
    "kafka.compression.type": "gzip",
    "kafka.linger.ms": "50",
    "kafka.batch.size": str(256 * 1024),
    "kafka.max.request.size": str(64 * 1024 * 1024),  # counted before compression; the topic bounds what is sent
    "kafka.max.block.ms": "30000",  # the job tries again by itself, and a stop need not wait longer
    "kafka.delivery.timeout.ms": "30000",
    "kafka.request.timeout.ms": "10000",
}


class DeadLetterTopic:
    """``api6-logs-dlq``."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def send(self, messages: DataFrame) -> None:
        """Write key, value and headers of every row; all are acknowledged on return. Raises SinkUnavailable.

        A message may be sent twice if the batch is tried again: readers tell by the coordinates in its headers.
        """
        clients = {f"kafka.{name}": value for name, value in java_options(self._kafka).items()}
        options = {**_PRODUCER_OPTIONS, **clients, "includeHeaders": "true", "topic": self._kafka.dlq_topic}
        try:
            messages.write.format("kafka").options(**options).save()
        except Py4JJavaError as error:
            reason = str(error.java_exception).splitlines()[0][:300]
            raise SinkUnavailable("Kafka", f"{self._kafka.bootstrap}/{self._kafka.dlq_topic}", reason) from error
