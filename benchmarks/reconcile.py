"""What it costs to prove that nothing is missing, and how long it takes to find and repair three lost records."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.compare import Bench, Part, say
from benchmarks.meter import Outcome

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
        repaired_s = outcome.steps["repair"][0]
        of_both = cpu["reconcile"] / (cpu["ingest"] + cpu["index"])
        rows.append(
            {
                "records": outcome.records,
                "ingest CPU s": cpu["ingest"],
                "index CPU s": cpu["index"],
                "reconcile CPU s": cpu["reconcile"],
                "reconcile s": outcome.steps["reconcile"][0],
                "÷ ingest": f"{share:.3f}{_mark(share <= MOST_OF_INGEST)}",
                "÷ both jobs (≤ 0.05)": f"{of_both:.3f}{_mark(of_both <= MOST_OF_INGEST)}",
                "full join CPU s": cpu["anti_join"],
                "times cheaper (≥ 15)": f"{times:.1f}{_mark(times >= LEAST_TIMES_CHEAPER)}",
                "3 lost found and repaired, s (≤ 180)": f"{repaired_s:.0f}{_mark(repaired_s <= MOST_SECONDS)}",
            }
        )
        say(f"proof of {outcome.records:,} records: {cpu}")
    tables = {
        "Reconciliation of clean records": rows,
        "Reconciliation: CPU per record as the records grow": _growth(outcomes),
    }
    return Part("reconcile", {"reconcile": outcomes}, tables=tables)


def _growth(outcomes: Sequence[Outcome]) -> list[dict[str, float | str]]:
    """Not faster than linear: a record costs no more than it does among fewer records."""
    smaller = [None, *outcomes]
    return [
        {
            "records": one.records,
            "CPU µs/record": one.cpu_us,
            "÷ next smaller": "–" if less is None else f"{one.cpu_us / less.cpu_us:.2f}",
            f"≤ {MOST_GROWTH:.2f}": "–" if less is None else one.cpu_us / less.cpu_us <= MOST_GROWTH,
        }
        for one, less in zip(outcomes, smaller, strict=False)
    ]


def _mark(is_reached: bool) -> str:
    return "" if is_reached else " **no**"
