"""How the metrics of a job reach Prometheus: served while the job goes on, or pushed when a single run ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from http.client import HTTPException

from prometheus_client import CollectorRegistry, push_to_gateway

from pipelines.errors import UsageError
from pipelines.settings import MonitoringSettings
from sdk.metrics import serve

PUSH_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Exposition:
    """Shows the metrics in ``registry`` as the settings want it. ``on_push_failed`` hears gateway and reason."""

    job: str
    registry: CollectorRegistry
    settings: MonitoringSettings
    on_push_failed: Callable[[str, Exception], None]

    def __call__(self, once: bool) -> AbstractContextManager[None]:
        """Around a run: served all the while or, if it is ``once``, pushed when it ends, however it ends.

        Raises UsageError if it can't be served there.
        """
        if once:
            return self._pushed() if self.settings.pushgateway else nullcontext()
        return self._served() if self.settings.metrics_port else nullcontext()

    @contextmanager
    def _served(self) -> Iterator[None]:
        port, address = self.settings.metrics_port, self.settings.metrics_address
        try:
            stop = serve(port, address, self.registry)
        except OSError as error:
            raise UsageError(
                f"{self.job}: can't serve metrics at {address}:{port}: {error.strerror or error}. Nothing was read or "
                f"written. Set monitoring.metrics_port to a free port, one for each job of a host, or to 0 for none."
            ) from error
        try:
            yield
        finally:
            stop()

    @contextmanager
    def _pushed(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._push()

    def _push(self) -> None:
        gateway = self.settings.pushgateway
        try:
            push_to_gateway(gateway, self.job, self.registry, timeout=PUSH_TIMEOUT_S)
        except (OSError, HTTPException, ValueError) as error:  # the run is what counts, not what is told of it
            self.on_push_failed(gateway, error)
