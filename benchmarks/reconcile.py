"""What it costs to prove that nothing is missing, and how long it takes to find and repair three lost records."""

from __future__ import annotations

from benchmarks.compare import Bench, Part, say
from benchmarks.scale import against_least

MOST_OF_INGEST = 0.05
LEAST_TIMES_CHEAPER = 15.0
MOST_GROWTH = 1.10
MOST_SECONDS = 180


def reconcile(bench: Bench) -> Part:
    """A tenth, the whole and, if wanted, ten times the records, clean: the run costs that much CPU of all processes."""
    records = bench.plan.records
    sizes = [records // 10, records, *([10 * records] if bench.plan.full else [])]
    topics = [bench.base if n == records else bench.lab.fill(f"bench-proof-{n}", n) for n in sizes]
    bench.run("proof", topics[0])  # a warm-up
    outcomes = [bench.run("proof", topic) for topic in topics]
    rows: list[dict[str, float | str]] = []
    for outcome in outcomes:
        cpu = {step: cpu_s for step, (_, cpu_s) in outcome.steps.items()}
        share, times = cpu["reconcile"] / cpu["ingest"], cpu["anti_join"] / cpu["reconcile"]
        rows.append(
            {
                "records": outcome.records,
                "ingest CPU s": cpu["ingest"],
                "index CPU s": cpu["index"],
                "reconcile CPU s": cpu["reconcile"],
                "reconcile s": outcome.steps["reconcile"][0],
                "÷ ingest": f"{share:.3f}",
                "≤ 0.05": share <= MOST_OF_INGEST,
                "full join CPU s": cpu["anti_join"],
                "times cheaper": times,
                "≥ 15": times >= LEAST_TIMES_CHEAPER,
                "3 lost found and repaired, s": outcome.steps["repair"][0],
                "≤ 180": outcome.steps["repair"][0] <= MOST_SECONDS,
            }
        )
        say(f"proof of {outcome.records:,} records: {cpu}")
    growth: list[dict[str, float | str]] = [{"records": o.records, "CPU µs/record": o.cpu_us} for o in outcomes]
    tables = {
        "Reconciliation of clean records": rows,
        "Reconciliation: CPU per record as the records grow": against_least(growth, MOST_GROWTH),
    }
    return Part("reconcile", {"reconcile": outcomes}, tables=tables)
