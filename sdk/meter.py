"""Counts of one producer: plain numbers, because the path of every record goes through here."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the acknowledgement latency histogram."""


class Meter:
    """``sent``: records accepted; ``recovered``: found in the spool, from an earlier process. All of them end as
    acknowledged, failed or dropped, or wait."""

    def __init__(self) -> None:
        self.sent = self.recovered = self.retried = self.dropped = 0
        self.failed: Counter[str] = Counter()
        self.latency_sum_s = 0.0
        self._latencies = [0] * (len(BOUNDS_S) + 1)
        self._lock = threading.Lock()

    @property
    def acknowledged(self) -> int:
        return sum(self.latencies)

    @property
    def latencies(self) -> list[int]:
        """Acknowledged records by ``BOUNDS_S``, the last for all above."""
        return self._latencies.copy()

    def acknowledge(self, latency_s: float) -> None:
        """A record is in Kafka, so many seconds after it was accepted. Called by one thread at a time."""
        self._latencies[bisect_left(BOUNDS_S, latency_s)] += 1
        self.latency_sum_s += latency_s

    def fail(self, reason: str) -> None:
        """A record will never be in Kafka."""
        with self._lock:
            self.failed[reason] += 1
