"""Client options: Java names in the settings, each client's own names at the client."""

from __future__ import annotations

import pytest

from pipelines.contracts.kafka_options import java_options, librdkafka_options
from pipelines.errors import InvalidSetting
from pipelines.settings import KafkaSettings

OPTIONS = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": "/certs/ca.pem",
    "ssl.endpoint.identification.algorithm": "",
    "max.poll.records": "10",
}


def kafka(**options: str) -> KafkaSettings:
    return KafkaSettings.model_validate(
        {
            "bootstrap": "k:9092",
            "topic": "t",
            "dlq_topic": "d",
            "options": options,
            "sasl_username": 'a"b',
            "sasl_password": "c\\d",
        }
    )


def test_librdkafka_names() -> None:
    assert librdkafka_options(kafka(**OPTIONS)) == {
        "bootstrap.servers": "k:9092",
        "log_level": "2",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "ssl.ca.location": "/certs/ca.pem",
        "ssl.endpoint.identification.algorithm": "none",
        "sasl.username": 'a"b',
        "sasl.password": "c\\d",
    }


def test_java_credentials_are_quoted() -> None:
    found = java_options(kafka(**OPTIONS))
    assert found["sasl.jaas.config"] == (
        'org.apache.kafka.common.security.scram.ScramLoginModule required username="a\\"b" password="c\\\\d";'
    )
    assert found["ssl.truststore.location"] == "/certs/ca.pem"


def test_credentials_within_options_are_found() -> None:
    plain = KafkaSettings(
        bootstrap="k", topic="t", dlq_topic="d", options={"sasl.jaas.config": java_options(kafka())["sasl.jaas.config"]}
    )
    found = librdkafka_options(plain)
    assert (found["sasl.username"], found["sasl.password"]) == ('a"b', "c\\d")


def test_a_store_that_not_all_clients_read() -> None:
    with pytest.raises(InvalidSetting, match="JKS"):
        librdkafka_options(kafka(**{"ssl.truststore.type": "JKS"}))
