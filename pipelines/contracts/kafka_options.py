"""Kafka client options: settings use Java's names; librdkafka clients need their own."""

from __future__ import annotations

import re

from pipelines.errors import InvalidSetting
from pipelines.settings import KafkaSettings

_LIBRDKAFKA_NAMES = {
    "ssl.truststore.location": "ssl.ca.location",
    "ssl.truststore.certificates": "ssl.ca.pem",
    "ssl.keystore.certificate.chain": "ssl.certificate.pem",
    "ssl.keystore.key": "ssl.key.pem",
}
_STORE_TYPES = {"ssl.truststore.type": {"PEM"}, "ssl.keystore.type": {"PEM", "PKCS12"}}
_JAVA_ONLY = re.compile(r".*\.(class|classes|serializer|deserializer)|max\.poll\.records|ssl\.protocol")
_JAAS = re.compile(r'\b(username|password)="((?:[^"\\]|\\.)*)"')


def librdkafka_options(kafka: KafkaSettings) -> dict[str, str]:
    """Options for confluent_kafka clients, credentials included.

    Java names are translated, options that only a JVM understands are left out. Raises InvalidSetting for a key or
    trust store in a format that librdkafka can't read.
    """
    options = {"bootstrap.servers": kafka.bootstrap, "log_level": "2"}
    for name, value in kafka.options.items():
        if name in _STORE_TYPES:
            _check_store(name, value)
        elif name == "sasl.jaas.config":
            options |= {f"sasl.{key}": _unquoted(text) for key, text in _JAAS.findall(value)}
        elif name == "ssl.endpoint.identification.algorithm":
            options[name] = value or "none"
        elif not _JAVA_ONLY.fullmatch(name):
            options[_LIBRDKAFKA_NAMES.get(name, name)] = value
    if kafka.sasl_username is not None:
        options["sasl.username"] = kafka.sasl_username
    if kafka.sasl_password is not None:
        options["sasl.password"] = kafka.sasl_password.get_secret_value()
    return options


def java_options(kafka: KafkaSettings) -> dict[str, str]:
    """Options for JVM clients (Spark: put ``kafka.`` before each name), credentials included."""
    options = {"bootstrap.servers": kafka.bootstrap, **kafka.options}
    if kafka.sasl_username is not None and kafka.sasl_password is not None:
        module = "scram.ScramLoginModule" if "SCRAM" in options.get("sasl.mechanism", "") else "plain.PlainLoginModule"
        user, password = _quoted(kafka.sasl_username), _quoted(kafka.sasl_password.get_secret_value())
        options["sasl.jaas.config"] = (
            f'org.apache.kafka.common.security.{module} required username="{user}" password="{password}";'
        )
    return options


def _check_store(name: str, value: str) -> None:
    if value.upper() not in _STORE_TYPES[name]:
        allowed = " or ".join(sorted(_STORE_TYPES[name]))
        raise InvalidSetting(f"kafka.options.{name}: {value} can't be read by all clients, use {allowed}")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
