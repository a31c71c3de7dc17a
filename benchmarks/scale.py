"""CPU per record as a topic grows, is split into more partitions, or holds more bad records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.compare import Bench, Part
from benchmarks.lab import Topic
from benchmarks.meter import Outcome

TINY = 1_200
"""A topic so small that its run shows what a batch and a drain cost without records."""

PARTITIONS = (1, 12, 48)
INVALID_SHARES = ("0 %", "1 %", "10 %", "50 %")
JOBS = ("ingest", "index")

MOST_OVER_SIZES, MOST_OVER_SHAPES = 1.10, 1.20
"""Most CPU per record, as a multiple of the least: over sizes within 10 % of each other, over shapes 20 %."""

CPU, TIMES_LEAST = "CPU µs/record", "÷ least"

Row = dict[str, float | str]


def size(bench: Bench) -> Part:
    """A tenth, the whole and, if wanted, ten times the records, in the warm process; and the fixed cost apart.

    The cheaper of two runs counts, but for the largest size, which is warm by then.
    """
    records = bench.plan.records
    sizes = [records // 10, records, *([10 * records] if bench.plan.full else [])]
    tiny = bench.lab.fill("bench-tiny", TINY)
    topics = [bench.base if n == records else bench.lab.fill(f"bench-size-{n}", n) for n in sizes]
    runs: dict[str, list[Outcome]] = {}
    table: list[Mapping[str, float | str]] = []
    for job in JOBS:
        bench.run(job, bench.base)
        fixed = min((bench.run(job, tiny) for _ in range(3)), key=lambda o: o.cpu_s)
        runs[job] = [_cheaper(bench, job, topic, 1 if topic.records > records else 2) for topic in topics]
        table += against_least([_sized(job, "total", o, o.cpu_us) for o in runs[job]], MOST_OVER_SIZES)
        apart = [_sized(job, f"without fixed cost ({fixed.cpu_s:.1f} s)", o, _without(fixed, o)) for o in runs[job]]
        table += against_least(apart, MOST_OVER_SIZES)
    return Part("size", runs, tables={"CPU per record: size": table})


def _cheaper(bench: Bench, job: str, topic: Topic, runs: int) -> Outcome:
    return min((bench.run(job, topic) for _ in range(runs)), key=lambda o: o.cpu_s)


def shape(bench: Bench) -> Part:
    """1, 12 and 48 partitions of clean traffic; 0, 1, 10 and 50 % invalid on 12 partitions."""
    records = bench.plan.records
    split = [bench.base if n == 12 else bench.lab.fill(f"bench-parts-{n}", records, n) for n in PARTITIONS]
    shares = [
        bench.base if share == "0 %" else bench.lab.fill(f"bench-bad-{share[:-2]}", records, mix=_mix(share))
        for share in INVALID_SHARES
    ]
    runs: dict[str, list[Outcome]] = {}
    table: list[Mapping[str, float | str]] = []
    for job in JOBS:
        bench.run(job, bench.base)
        table += _against_best(bench, job, "partitions", dict(zip(map(str, PARTITIONS), split, strict=True)), runs)
        table += _against_best(bench, job, "invalid", dict(zip(INVALID_SHARES, shares, strict=True)), runs)
    return Part("shape", runs, tables={"CPU per record: shape": table})


def against_least(rows: Sequence[Row], at_most: float) -> Sequence[Row]:
    """Add to each row how many times the least CPU per record it takes, the target, and whether that is reached.

    Says nothing where the least is not above zero: then the fixed cost was all there was to measure.
    """
    costs = [float(row[CPU]) for row in rows]
    least = min(costs)
    for row, cost in zip(rows, costs, strict=True):
        row[TIMES_LEAST] = cost / least if least > 0 else "–"
        row["target"] = f"≤ {at_most:.2f}"
        row["reached"] = cost <= at_most * least if least > 0 else "–"
    return rows


def _sized(job: str, counted: str, outcome: Outcome, cpu_us: float) -> Row:
    return {
        "job": job,
        "records": outcome.records,
        "batches": outcome.batches,
        "peak MiB": outcome.peak_mib,
        "CPU counted": counted,
        CPU: cpu_us,
    }


def _without(fixed: Outcome, outcome: Outcome) -> float:
    return 1e6 * (outcome.cpu_s - fixed.cpu_s) / outcome.records


def _mix(share: str) -> str:
    return f"invalid={share.replace(' ', '')}"


def _against_best(
    bench: Bench, job: str, what: str, topics: Mapping[str, Topic], runs: dict[str, list[Outcome]]
) -> Sequence[Mapping[str, float | str]]:
    """Two rounds over the variants; the cheaper run of each counts."""
    rounds = [{shown: bench.run(job, topic) for shown, topic in topics.items()} for _ in range(2)]
    best = {shown: min((r[shown] for r in rounds), key=lambda o: o.cpu_s) for shown in topics}
    runs.setdefault(f"{job}, {what}", []).extend(best.values())
    table: list[Row] = [
        {"job": job, "varied": what, "value": shown, "records/s": o.rate, "peak MiB": o.peak_mib, CPU: o.cpu_us}
        for shown, o in best.items()
    ]
    return against_least(table, MOST_OVER_SHAPES)
