"""What is with the Kafka client: records given to it, and its last word on each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message

from sdk.failures import Fate, fate
from sdk.pending import Pending

log = logging.getLogger(__name__)


class Client(Protocol):
    """The part of confluent_kafka.Producer that is used."""

    def produce(self, topic: str, value: bytes, key: bytes | None, **options: Any) -> None: ...
    def poll(self, timeout: float) -> int: ...
    def purge(self) -> None: ...


class Carrier:
    """Holds the client and the records in it.

    ``connect`` makes a client. ``acknowledged`` and ``failed`` hear the client's last word on each record; they are
    called from ``poll``, in whatever thread that is. ``is_lost``: the client has a fatal error.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        acknowledged: Callable[[Pending], None],
        failed: Callable[[Pending, KafkaError], None],
    ) -> None:
        self._connect, self._acknowledged, self._failed = connect, acknowledged, failed
        self._client = connect()
        self._out: dict[Pending, None] = {}
        self.is_lost = False

    def __len__(self) -> int:
        return len(self._out)

    def __contains__(self, pending: Pending) -> bool:
        return pending in self._out

    def records(self) -> list[Pending]:
        """All records that the client holds, oldest first."""
        return list(self._out)

    def take(self, pending: Pending) -> bool:
        """Give a record to the client; False when it has no room. Raises KafkaException for one that it refuses."""
        item = pending.item
        assert item is not None, "only a record in memory can be sent"
        self._out[pending] = None
        pending.report = self._report
        try:
            self._client.produce(
                item.topic,
                item.value,
                item.key,
                timestamp=item.timestamp_ms,
                headers=list(item.headers),
                on_delivery=pending,
            )
        except BufferError:
            del self._out[pending]
            return False
        except KafkaException as error:
            del self._out[pending]
            kind = fate(error.args[0])
            self.is_lost |= kind is Fate.CLIENT_LOST
            if kind in (Fate.CLIENT_LOST, Fate.RETRY):
                return False
            raise
        return True

    def poll(self, timeout_s: float) -> None:
        """Take the client's reports, wait at most ``timeout_s`` for the first."""
        self._client.poll(timeout_s)

    def purge(self) -> None:
        """Make the client give back what it holds; ``poll`` brings it."""
        self._client.purge()

    def renew(self) -> None:
        """Replace a lost client, as soon as it has given everything back."""
        if self._out:
            self._client.purge()
        else:
            log.warning("the Kafka client has failed for good; a new one takes over")
            self._client, self.is_lost = self._connect(), False

    def leak(self) -> None:
        """Never destroy the client: in a forked child librdkafka would wait for threads that only the parent has."""
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._client))

    def _report(self, pending: Pending, error: KafkaError | None, message: Message) -> None:
        self._out.pop(pending, None)
        if error is None:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None and partition is not None and offset is not None  # noqa: PT018
            self._acknowledged(pending)
            pending.acknowledge(topic, partition, offset, message.timestamp()[1])
        else:
            self._failed(pending, error)
