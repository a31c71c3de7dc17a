"""Between ``put`` and the acknowledgement: what goes to the Kafka client, what to the disk, and what next.

Two ways. ``DIRECT``: a record goes to the client at once. ``SPOOLING``: it goes to the end of the spool, behind older
ones, and the spool is sent in order while the breaker allows; when nothing waits there any more, the way is direct
again.

When the breaker opens, what is with the client stays with it: the client keeps trying under the sequence numbers of the
first try, so brokers that had stored a record without being able to say so recognise it. A copy goes to the spool,
lent, so that it also survives the process. Purging the client instead would forget the sequence numbers and double
those.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from threading import Lock

from confluent_kafka import KafkaError

from pipelines.errors import BrokerUnavailable, SpoolUnavailable, StillSpooled
from pipelines.settings import ProducerSettings
from sdk.breaker import Breaker, BreakerState
from sdk.carrier import Carrier, Client
from sdk.failures import Fate, fate, refusal
from sdk.meter import Meter
from sdk.pending import Pending
from sdk.segment import State
from sdk.shelf import Shelf
from sdk.spool import Spool
from sdk.suspects import Suspects

log = logging.getLogger(__name__)

FEED = 500
"""Records read from the spool at a time."""


class Way(Enum):
    """Where ``put`` takes a record."""

    DIRECT = auto()
    SPOOLING = auto()


_DIRECT = Way.DIRECT
"""Found in a tenth of the time that a member of an Enum takes."""


class Dispatch:
    """State of one outbox; its methods are called with ``lock`` held, except ``resolve`` and the client's reports.

    ``unresolved``: failures that their senders do not know yet. ``batch_size``: a record of that many bytes is alone in
    its batch. ``connect`` makes a client.
    """

    def __init__(
        self,
        bootstrap: str,
        settings: ProducerSettings,
        spool: Spool,
        meter: Meter,
        connect: Callable[[], Client],
        batch_size: int,
    ) -> None:
        self._bootstrap, self._settings, self._meter, self._batch_size = bootstrap, settings, meter, batch_size
        self._writes_ahead = settings.spool.write_ahead
        self.lock = Lock()
        self.carrier = Carrier(connect, self._settle, meter.acknowledge, self._report_failure, self._refuse)
        self.shelf = Shelf(spool, settings.spool, self._drop, self._fail)
        self.breaker = Breaker(f"kafka {bootstrap}", settings.breaker)
        self.way = Way.SPOOLING if spool.unread else Way.DIRECT
        self._spool = spool
        self._suspects = Suspects()
        self.unresolved: deque[tuple[Pending, Exception]] = deque()
        self._acknowledged_seen = self._retries = 0
        self._progress_at = self._not_before = time.monotonic()
        self._rewind_wanted = False

    @property
    def is_drained(self) -> bool:
        """Whether everything accepted is acknowledged or has failed."""
        return not (len(self.carrier) or self._spool.unread or self._suspects or self._rewind_wanted)

    def accept(self, pending: Pending) -> bool:
        """Take a record. False: the client has no room now. Raises SpoolFull, SpoolUnavailable."""
        if self.way is _DIRECT:
            if self._writes_ahead:
                self.shelf.store(pending, lent=True)
            if self.carrier.take(pending):
                self._meter.sent += 1
                return True
            if pending.number is None and self._settings.spool.when_full == "block":
                return False
            self.shelf.withdraw(pending)  # it comes behind those that the client holds
            self.divert()
        self.shelf.store(pending)
        self.shelf.wait(pending)
        self._meter.sent += 1
        return True

    def divert(self) -> None:
        """From now on records go to the spool, and what the client holds is copied there. A bad disk is only logged."""
        if self.way is Way.SPOOLING:
            return
        self.way = Way.SPOOLING
        for pending in self.carrier.records():
            if not self.shelf.copy(pending):
                break
            if pending not in self.carrier:  # acknowledged meanwhile
                self.shelf.settle(pending)
        if self._settings.spool.fsync == "record":
            try:
                self._spool.sync()
            except SpoolUnavailable as error:
                log.error("copies of what the Kafka client holds may not survive a loss of power: %s", error)

    def step(self, now: float) -> None:
        """Look after everything once. ``now``: monotonic seconds."""
        if self.carrier.is_lost:
            self.carrier.renew()
        elif self.breaker.allows():
            self._watch(now)
            if self.breaker.state is BreakerState.OPEN:
                self.divert()
            else:
                self._send_on(now)

    def resolve(self) -> None:
        """Tell senders about failures. Their callbacks run here, so the lock must be free."""
        while self.unresolved:
            pending, error = self.unresolved.popleft()
            pending.set_exception(error)

    def leave(self) -> None:
        """Nothing is sent any more: keep what is left in the spool and tell its senders."""
        for pending in [*self.carrier.records(), *self._suspects.take_all()]:
            self._retry(pending)
        folder = str(self._spool.folder)
        self.unresolved.extend((pending, StillSpooled(self._bootstrap, folder)) for pending in self.shelf.leave())

    def _watch(self, now: float) -> None:
        """Judge the cluster by what was acknowledged since the last look."""
        if self.carrier.acknowledged != self._acknowledged_seen:
            self._acknowledged_seen = self.carrier.acknowledged
            self._progress_at, self._retries = now, 0
            self.breaker.succeeded()
        elif not len(self.carrier):
            self._progress_at = now
        elif now - self._progress_at >= self._settings.breaker.stall_s:
            self._progress_at = now
            self.breaker.failed(self._away("nothing was acknowledged"))

    def _send_on(self, now: float) -> None:
        """Give the client what comes next: suspects of a refused batch, then the spool."""
        if self._suspects:
            if not len(self.carrier):
                self._send_suspects()
            return
        if self._rewind_wanted:
            if len(self.carrier) or now < self._not_before:
                return
            self._rewind_wanted = False
            self.shelf.rewind()
        is_trial = self.breaker.state is BreakerState.HALF_OPEN
        room = (1 if is_trial else self._settings.window) - len(self.carrier)
        if self.way is Way.SPOOLING and room > 0:
            self._feed(min(room, FEED))
        if not (self._spool.unread or self._rewind_wanted or is_trial):
            self.way = Way.DIRECT

    def _feed(self, limit: int) -> None:
        lent = list(self.shelf.lend(limit))
        for position, pending in enumerate(lent):
            if not self.carrier.take(pending):
                assert pending.number is not None
                self._spool.unlend(pending.number)
                for later in lent[position:]:
                    self.shelf.wait(later)
                return

    def _send_suspects(self) -> None:
        group = self._suspects.next_group()
        for position, pending in enumerate(group):
            if not self.carrier.take(pending):
                self._suspects.put_back(group[position:])
                return

    def _settle(self, pending: Pending) -> None:
        with self.lock:
            self.shelf.settle(pending)

    def _report_failure(self, pending: Pending, error: KafkaError) -> None:
        with self.lock:
            self._failed(pending, error)

    def _failed(self, pending: Pending, error: KafkaError) -> None:
        assert pending.value is not None
        kind = fate(error)
        if kind is Fate.TOO_LARGE and not pending.is_alone and len(pending.value) < self._batch_size:
            self.divert()
            self._suspects.add(pending)
        elif kind in (Fate.TOO_LARGE, Fate.REFUSED):
            self._refuse(pending, error)
        else:
            if kind is Fate.CLIENT_LOST:
                self.carrier.is_lost = True
            else:
                self.breaker.failed(self._away(error.str()))
            self._retry(pending)

    def _retry(self, pending: Pending) -> None:
        """Send a record again, with all that wait, in order, after a pause."""
        is_kept = self.shelf.keep(pending)  # before younger ones are copied
        if is_kept:
            self.shelf.wait(pending)
        self.divert()
        self._meter.retried += 1
        if not self._rewind_wanted:
            self._rewind_wanted = True
            pause_s = min(self._settings.retry_longest_s, self._settings.retry_first_s * 2 ** min(self._retries, 30))
            self._not_before = time.monotonic() + pause_s * random.uniform(0.5, 1)
            self._retries += 1
        if not is_kept:
            self._fail(pending, "spool_full", self._away("a record was not delivered, and there is no room to keep it"))

    def _refuse(self, pending: Pending, error: KafkaError) -> None:
        self.shelf.settle(pending, State.GIVEN_UP)
        log.error("topic %s refuses a record: %s", pending.topic, error.name())
        self._fail(pending, error.name(), refusal(pending.topic, error))

    def _fail(self, pending: Pending | None, reason: str, error: Exception) -> None:
        self._meter.fail(reason)
        self._tell(pending, error)

    def _drop(self, pending: Pending | None, error: Exception) -> None:
        self._meter.dropped += 1
        self._tell(pending, error)

    def _tell(self, pending: Pending | None, error: Exception) -> None:
        if pending is not None:
            self.unresolved.append((pending, error))

    def _away(self, reason: str) -> BrokerUnavailable:
        return BrokerUnavailable("Kafka", self._bootstrap, reason)
