"""What Prometheus sees of reconciliations. docs/metrics.md lists the names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

JOB = "reconcile"


class ReconciliationMetrics:
    """The newest run of this process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"sdp_reconciliation_{name}", text, registry=self.registry)

        self._verdict = gauge("verdict", "Verdict of the last run: 0 ok, 1 warning, 2 investigate, 3 escalate")
        self._records = gauge("records", "Records that should be there, of the last run's hours")
        self._discrepant = gauge("discrepant_records", "Records of the last run with an open finding")
        self._lost = gauge("lost_records", "Records of the last run that are missing somewhere without an explanation")
        self._finished = gauge("finished_timestamp_seconds", "When the last run ended, Unix time")
        self._complete = Gauge(
            "sdp_complete_until_timestamp_seconds",
            "The hour up to which everything is proven complete, Unix time; 0 for none",
            registry=self.registry,
        )

    def show(
        self, verdict: int, records: int, discrepant: int, lost: int, finished_s: float, complete_s: float
    ) -> None:
        """Show a run that is done. Times are Unix times."""
        self._verdict.set(verdict)
        self._records.set(records)
        self._discrepant.set(discrepant)
        self._lost.set(lost)
        self._finished.set(finished_s)
        self._complete.set(complete_s)
