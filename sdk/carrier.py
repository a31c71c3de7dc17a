"""What is with the Kafka client: records given to it, and its last word on each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock, get_ident
from time import time
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message

from sdk.failures import Fate, fate
from sdk.pending import Pending

log = logging.getLogger(__name__)

PARTITION_UA = -1
"""The client chooses the partition."""

_LET_S = 0.01
"""How long a sender lets another thread take reports: it may hold what a callback there waits for."""


class Client(Protocol):
    """The part of confluent_kafka.Producer that is used."""

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        partition: int,
        callback: Callable[[KafkaError | None, Message], None],
        on_delivery: None,
        timestamp: int,
        headers: list[tuple[str, bytes | None]] | None,
        /,
    ) -> None: ...
    def poll(self, timeout: float) -> int: ...
    def purge(self) -> None: ...


class Carrier:
    """Holds the client and the records in it.

    ``connect`` makes a client. Called from ``poll``, in whatever thread that is: ``settle`` for an acknowledged record
    that is in the spool, ``note`` with the seconds that an acknowledgement took, ``failed`` for a record that the
    client gave up. From ``take``: ``refused`` for a record that the client will never take. ``acknowledged`` changes
    with every acknowledgement. ``is_lost``: the client has a fatal error.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        settle: Callable[[Pending], None],
        note: Callable[[float], None],
        failed: Callable[[Pending, KafkaError], None],
        refused: Callable[[Pending, KafkaError], None],
    ) -> None:
        self._connect, self._settle, self._note, self._failed, self._refused = connect, settle, note, failed, refused
        self._client = connect()
        self._polled = Lock()
        self._polling: int | None = None
        self._seen = 0
        self._reported = self._report
        self._out: dict[Pending, None] = {}
        self.acknowledged = 0
        self.is_lost = False

    def __len__(self) -> int:
        return len(self._out)

    def __contains__(self, pending: Pending) -> bool:
        return pending in self._out

    def records(self) -> list[Pending]:
        """All records that the client holds, oldest first."""
        return list(self._out)

    def take(self, pending: Pending) -> bool:
        """Give a record to the client, or refuse it; False when the client has no room."""
        value, headers = pending.value, pending.headers
        assert value is not None, "only a record in memory can be sent"
        pending.reported = self._reported
        self._out[pending] = None
        try:  # by position, which is a tenth cheaper
            self._client.produce(
                pending.topic,
                value,
                pending.key,
                PARTITION_UA,
                pending,
                None,
                pending.timestamp_ms,
                list(headers) if headers else None,
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
            self._refused(pending, error.args[0])
        return True

    def poll(self, timeout_s: float) -> None:
        """Take the client's reports, wait at most ``timeout_s`` for the first, or for another thread that takes them.

        One thread at a time: two would hand the interpreter to each other with every report. And never from within a
        report, such as a callback that sends: the client would abort the process.
        """
        self._poll(timeout_s, timeout_s)

    def catch_up(self) -> None:
        """Take the reports that are there, or let a thread finish that is at it: while this one runs, it hardly can."""
        if self._polling != get_ident():
            is_at_it = self._polled.locked() and self.acknowledged != self._seen
            self._poll(_LET_S if is_at_it else 0, 0)

    def _poll(self, turn_s: float, timeout_s: float) -> None:
        if self._polled.acquire(timeout=turn_s):
            try:
                self._polling, self._seen = get_ident(), self.acknowledged
                self._client.poll(timeout_s)
            finally:
                self._polling = None
                self._polled.release()

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
        """The client's last word on a record."""
        self._out.pop(pending, None)
        if error is not None:
            pending.reported = None
            self._failed(pending, error)
            return
        if pending.number is not None:
            self._settle(pending)
        self.acknowledged += 1
        self._note(time() - pending.accepted_ms / 1000)
        pending.acknowledge(message.partition() or 0, message.offset() or 0, message.timestamp()[1])
