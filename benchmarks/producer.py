"""What the log producer costs against a bare loop, how fast it is acknowledged, and its memory without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from benchmarks.compare import Bench, Part, ratio, say
from pipelines.settings import ROOT

PER_S = 1_000
LATENCY_S, AWAY_S = 60, 600
"""Seconds of a complete run; a run with few records takes a tenth."""

COMPLETE = 1_000_000


def producer(bench: Bench) -> Part:
    """Ratios of records a second in the same warm process; then a steady 1,000 records/s."""
    runs = bench.alternate(["producer_bare", "producer_unvalidated", "producer_validated"])
    ratios = [
        ratio("send with validation ÷ bare loop", "producer_validated", "producer_bare", 0.60, runs),
        ratio("send without validation ÷ bare loop", "producer_unvalidated", "producer_bare", 0.85, runs),
    ]
    part = 1 if bench.plan.records >= COMPLETE else 10
    tables = {
        f"Acknowledgement at {PER_S:,} records/s": _steady(bench, "latency", LATENCY_S // part),
        f"Memory without a cluster at {PER_S:,} records/s": _steady(bench, "away", AWAY_S // part),
    }
    return Part("producer", runs, ratios, tables=tables)


def _steady(bench: Bench, task: str, seconds: int) -> Sequence[Mapping[str, float | str]]:
    name, overrides = bench.lab.fresh(bench.base)
    command = [sys.executable, "-m", "benchmarks.producer_side", task, str(PER_S), str(seconds), *overrides]
    say(f"{task} for {seconds} s")
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=bench.lab.home, stdout=subprocess.PIPE, check=True
    )
    bench.lab.forget(name)
    found: list[dict[str, float | str]] = json.loads(done.stdout)
    return found
