"""What every producer of ours sits on: put a record, and learn where it is or why it is not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where an acknowledged record is. ``timestamp_ms``: what Kafka keeps as its timestamp."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class Outbox(Protocol):
    """Takes records at once, delivers them whatever happens to the network."""

    def put(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        *,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Future[Delivered]:
        """Accept a record; its future resolves to where it is, or fails with an SdpError.

        Raises at once, and then has not accepted it: SpoolFull, ProducerClosed, ForkedProducer, RecordRefused.
        """
        ...

    def close(self, timeout_s: float = 30) -> None:
        """Deliver what was accepted, for at most ``timeout_s`` seconds. A second call does nothing."""
        ...
