"""Is the cluster there? A circuit breaker that learns from acknowledgements."""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum

from purgatory import SyncCircuitBreakerFactory
from purgatory.domain.model import CLOSED, OPENED, OpenedState

from pipelines.errors import BrokerUnavailable
from pipelines.settings import BreakerSettings


class BreakerState(IntEnum):
    """As Prometheus shows it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Opens after ``failures`` in a row, lets one try through after ``open_s``, closes when that is acknowledged.

    Used by one thread; ``state`` may be read by any.
    """

    def __init__(self, name: str, settings: BreakerSettings) -> None:
        circuits = SyncCircuitBreakerFactory(settings.failures, settings.open_s)
        self._circuit = circuits.get_breaker(name)

    @property
    def state(self) -> BreakerState:
        found = self._circuit.context.state
        return {CLOSED: BreakerState.CLOSED, OPENED: BreakerState.OPEN}.get(found, BreakerState.HALF_OPEN)

    def allows(self) -> bool:
        """Whether something may be tried now; turns an open breaker half-open when its time has come."""
        try:
            self._circuit.context.handle_new_request()
        except OpenedState:
            return False
        return True

    def succeeded(self) -> None:
        """A record was acknowledged."""
        with suppress(OpenedState), self._circuit:
            pass

    def failed(self, error: BrokerUnavailable) -> None:
        """Nothing was acknowledged in time, or a record was given up."""
        with suppress(BrokerUnavailable, OpenedState), self._circuit:
            raise error
