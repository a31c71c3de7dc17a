"""What Prometheus sees of the producers of this process."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import REGISTRY, CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from pipelines.errors import SpoolUnavailable
from sdk.meter import BOUNDS_S, Meter
from sdk.outbox import KafkaOutbox

PREFIX = "sdp_producer"
_LABEL = "producer"


@dataclass(frozen=True, slots=True)
class _Number:
    """A counter or gauge: its name, what it says, and where it is."""

    name: str
    text: str
    of: Callable[[KafkaOutbox], float]


_COUNTERS = (
    _Number("sent", "Records accepted", lambda o: o.meter.sent),
    _Number("recovered", "Records found in the spool, from an earlier process", lambda o: o.meter.recovered),
    _Number("acknowledged", "Records that are in Kafka", lambda o: o.meter.acknowledged),
    _Number("retried", "Times that a record was sent again after librdkafka gave it up", lambda o: o.meter.retried),
    _Number("dropped", "Records given up for newer ones, the spool being full", lambda o: o.meter.dropped),
)
_GAUGES = (
    _Number("spooled_records", "Records in the spool", lambda o: o.spool.records),
    _Number("spooled_bytes", "Bytes of the records in the spool", lambda o: o.spool.bytes),
    _Number("spool_age_seconds", "Age of the oldest record in the spool", lambda o: _age_s(o)),
    _Number("breaker_state", "0 closed, 1 half-open, 2 open: Kafka is away", lambda o: o.dispatch.breaker.state),
    _Number("queue_records", "Records that the Kafka client holds", lambda o: len(o.dispatch.carrier)),
)


def expose(outbox: KafkaOutbox, registry: CollectorRegistry = REGISTRY) -> None:
    """Show an outbox in ``registry`` as long as it lives; of several with one name, the last."""
    collector = _collectors.get(registry)
    if collector is None:
        collector = _collectors[registry] = _Outboxes()
        registry.register(collector)
    collector.outboxes[outbox.name] = outbox


EVERYWHERE = "0.0.0.0"  # noqa: S104 Prometheus asks from another host


def serve(port: int, address: str = EVERYWHERE, registry: CollectorRegistry = REGISTRY) -> Callable[[], None]:
    """Serve ``/metrics`` for a process that has no server of its own; call the result to stop.

    ``address``: of the interface; all of them by default. A process that has a server mounts
    ``prometheus_client.make_asgi_app`` or ``make_wsgi_app`` instead.
    """
    server, thread = start_http_server(port, address, registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


class _Outboxes(Collector):
    """Reads the numbers of all outboxes when asked: records pay nothing for it.

    Those of the parent of a forked process are left out: their locks may be held for ever.
    """

    def __init__(self) -> None:
        self.outboxes: weakref.WeakValueDictionary[str, KafkaOutbox] = weakref.WeakValueDictionary()

    def describe(self) -> Iterable[Metric]:
        return self._families([])

    def collect(self) -> Iterable[Metric]:
        return self._families([(name, box) for name, box in self.outboxes.items() if not box.is_forked])

    def _families(self, outboxes: list[tuple[str, KafkaOutbox]]) -> Iterator[Metric]:
        for number in _COUNTERS:
            counter = CounterMetricFamily(f"{PREFIX}_{number.name}", number.text, labels=[_LABEL])
            for name, outbox in outboxes:
                counter.add_metric([name], number.of(outbox))
            yield counter
        for number in _GAUGES:
            gauge = GaugeMetricFamily(f"{PREFIX}_{number.name}", number.text, labels=[_LABEL])
            for name, outbox in outboxes:
                gauge.add_metric([name], number.of(outbox))
            yield gauge
        failed = CounterMetricFamily(
            f"{PREFIX}_failed", "Records that will never be in Kafka", labels=[_LABEL, "reason"]
        )
        latency = HistogramMetricFamily(
            f"{PREFIX}_acknowledgement_seconds", "From put to the acknowledgement", labels=[_LABEL]
        )
        for name, outbox in outboxes:
            for reason, count in outbox.meter.failed.copy().items():
                failed.add_metric([name, reason], count)
            latency.add_metric([name], _buckets(outbox.meter), outbox.meter.latency_sum_s)
        yield failed
        yield latency


_collectors: weakref.WeakKeyDictionary[CollectorRegistry, _Outboxes] = weakref.WeakKeyDictionary()


def _buckets(meter: Meter) -> list[tuple[str, float]]:
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    return list(zip(bounds, accumulate(meter.latencies), strict=True))


def _age_s(outbox: KafkaOutbox) -> float:
    """NaN when the disk does not say."""
    try:
        with outbox.dispatch.lock:
            oldest_ms = None if outbox.is_closed else outbox.spool.oldest_ms()
    except SpoolUnavailable:
        return math.nan
    return 0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000)
