"""The log producer: one API request, one record in Kafka.

::

    with Api6LogProducer(settings.load()) as logs:
        future = logs.send(record)       # raises ContractViolation with everything that is wrong with the record
        print(future.result())           # Delivered(topic, partition, offset, timestamp_ms), or an SdpError
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Protocol, Self

from prometheus_client import REGISTRY, CollectorRegistry

from pipelines.contracts.evolution import base_schema, columns_written, shipped
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.rules import RuleSet
from pipelines.settings import Settings
from sdk import metrics
from sdk.delivery import Delivered, Outbox
from sdk.encoding import LogEncoder
from sdk.outbox import KafkaOutbox
from sdk.profiles import LOGS
from sdk.schemas import Registered, RegisteredSchemas

NAME = "api6-logs"
"""Folder of the spool, label of the metrics."""

KEY = "request_id"
"""Column whose value is the key."""


class Schemas(Protocol):
    """Where registered schemas come from."""

    def get(self, subject: str) -> Registered: ...


class AsyncOutbox(Outbox, Protocol):
    """An outbox that can be awaited."""

    async def put_async(
        self, topic: str, key: bytes | None, value: bytes, *, timestamp_ms: int | None = None
    ) -> Delivered: ...


class Api6LogProducer:
    """Sends API6 logs. Safe to use from many threads, and from asyncio with ``async with`` and ``send_async``.

    The key of a record is its ``request_id``: records spread evenly, a request that is sent again stays in its
    partition. Rules are read once, here (InvalidRuleFile); the schema's id is asked for with the first record, or by
    ``prepare``. ``outbox`` and ``schemas``: default the ones that ``settings`` describe. Raises SpoolInUse.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        registry: CollectorRegistry | None = REGISTRY,
        outbox: AsyncOutbox | None = None,
        schemas: Schemas | None = None,
    ) -> None:
        self._topic, self._subject = settings.kafka.topic, settings.registry.subject
        self._settings = settings
        self._schemas = schemas or RegisteredSchemas(settings)
        self._encoder: LogEncoder | None = None
        self._rules = _rules(settings)
        self._outbox = outbox or _outbox(settings, registry)

    def __repr__(self) -> str:
        return f"Api6LogProducer(topic={self._topic!r}, outbox={self._outbox!r})"

    def prepare(self) -> None:
        """Ask for the schema now, so that a service learns at its start that it could not send.

        Raises RegistryUnavailable when the registry is away and no earlier process has kept the schema's id, and
        UsageError when the schema is not registered or the tables have no place for its records.
        """
        if self._encoder is None:
            self._prepared()

    def send(self, record: Mapping[str, Any]) -> Future[Delivered]:
        """Check, encode and accept a record; the future resolves to where it is or fails with an SdpError.

        Raises ContractViolation with all critical violations (only those of the schema if ``on_invalid`` is ``send``),
        what ``prepare`` raises, and what ``Outbox.put`` raises; then the record was not accepted.
        """
        now_ms = time.time_ns() // 1_000_000
        encoder = self._encoder or self._prepared()
        value = encoder.encode(record, now_ms)
        return self._outbox.put(self._topic, encoder.value(record, KEY).encode(), value, timestamp_ms=now_ms)

    async def send_async(self, record: Mapping[str, Any]) -> Delivered:
        """The same for asyncio, until the record is acknowledged.

        The first call may wait for the registry inside of the event loop, unless ``prepare`` was called before.
        """
        now_ms = time.time_ns() // 1_000_000
        encoder = self._encoder or self._prepared()
        value, key = encoder.encode(record, now_ms), encoder.value(record, KEY).encode()
        return await self._outbox.put_async(self._topic, key, value, timestamp_ms=now_ms)

    def close(self, timeout_s: float = 30) -> None:
        """Deliver what was accepted, for at most ``timeout_s`` seconds; the rest stays in the spool."""
        self._outbox.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def _prepared(self) -> LogEncoder:
        self._encoder = encoder = LogEncoder(self._schemas.get(self._subject), self._rules, _columns(self._subject))
        return encoder


def _rules(settings: Settings) -> RuleSet | None:
    if settings.producer.on_invalid == "send":
        return None
    subject = settings.registry.subject
    return load_rules(settings.rules_path, base_schema(subject).kinds, subject)


def _columns(subject: str) -> dict[str, str | None]:
    """Column → the field of the newest version, which is what the producer writes."""
    versions = shipped(subject)
    return columns_written(base_schema(subject), versions, max(versions))


def _outbox(settings: Settings, registry: CollectorRegistry | None) -> KafkaOutbox:
    outbox = KafkaOutbox(settings, NAME, LOGS)
    if registry is not None:
        metrics.expose(outbox, registry)
    return outbox
