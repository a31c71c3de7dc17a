"""Measurements → docs/benchmarks.md. Figures only: what they mean is written by hand, in docs/performance.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from statistics import median
from typing import Any

import psutil

from benchmarks.compare import WARM_UPS, Part, Plan, Ratio
from benchmarks.meter import Cost, Outcome

WHEELS = ("pyspark", "delta-spark", "confluent-kafka", "fastavro", "deltalake", "pyarrow", "elasticsearch")
STAGED = ("ingest", "index")
MEANING = "Where the time goes and what was tried: [performance.md](performance.md)."


@dataclass
class Results:
    """All parts of one run."""

    plan: Plan
    command: str
    parts: list[Part] = field(default_factory=list)
    elapsed_s: float = 0.0

    def add(self, part: Part) -> None:
        self.parts.append(part)

    @property
    def ratios(self) -> list[Ratio]:
        return [ratio for part in self.parts for ratio in part.ratios]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def markdown(results: Results) -> str:
    """The whole page."""
    sections = [_head(results)]
    if results.ratios:
        sections.append("## Ratios\n\n" + _ratios(results.ratios))
    for part in results.parts:
        if part.runs and part.ratios:
            sections.append(f"## Runs: {part.name}\n\n" + _runs(part.runs))
        sections += [_stages(job, part.runs[job]) for job in STAGED if part.ratios and job in part.runs]
        sections += [f"## {title}\n\n" + _table(rows) for title, rows in part.tables.items()]
    return "\n\n".join([*sections, MEANING]) + "\n"


def _head(results: Results) -> str:
    plan = results.plan
    memory = psutil.virtual_memory().total / 2**30
    wheels = ", ".join(f"{name} {version(name)}" for name in WHEELS)
    return (
        f"# Benchmarks\n\n"
        f"Written by `{results.command}` in {results.elapsed_s / 60:.0f} minutes on {os.cpu_count()} cores and "
        f"{memory:.0f} GiB: {plan.records:,} gzip-compressed framed records per topic, 12 partitions unless said "
        f"otherwise, servers on the same machine, Spark `local[2]` with a 2 GiB driver. Each side runs in a warm "
        f"process, in turns, {plan.runs} times after {WARM_UPS} warm-ups; a ratio is the median "
        f"over neighbouring pairs. Parts: {', '.join(part.name for part in results.parts)}.\n\n"
        f"Python {platform.python_version()}; {wheels}."
    )


def _ratios(ratios: Sequence[Ratio]) -> str:
    rows: list[Mapping[str, float | str]] = [
        {
            "ratio (records/s)": r.name,
            "target": "–" if r.target is None else f"≥ {r.target:.2f}",
            "measured": f"**{r.median:.2f}**",
            "lowest–highest": f"{min(r.values):.2f}–{max(r.values):.2f}",
            "reached": "–" if r.target is None else r.median >= r.target,
        }
        for r in ratios
    ]
    return _table(rows)


def _runs(runs: Mapping[str, Sequence[Outcome]]) -> str:
    return _table(
        [
            {
                "side": task,
                "records/s": f"{median(o.rate for o in outcomes):,.0f}",
                "lowest–highest": f"{min(o.rate for o in outcomes):,.0f}–{max(o.rate for o in outcomes):,.0f}",
                "CPU µs/record": median(o.cpu_us for o in outcomes),
                "peak MiB": max(o.peak_mib for o in outcomes),
            }
            for task, outcomes in runs.items()
        ]
    )


def _stages(job: str, outcomes: Sequence[Outcome]) -> str:
    """Mean over the runs, in the order in which the steps were first reached."""
    names = list(dict.fromkeys(name for o in outcomes for name in o.steps))
    total = sum(o.wall_s for o in outcomes) / len(outcomes)

    def mean(name: str) -> Cost:
        spent = [o.steps.get(name, (0.0, 0.0)) for o in outcomes]
        return sum(w for w, _ in spent) / len(spent), sum(c for _, c in spent) / len(spent)

    rows: list[Mapping[str, float | str]] = [
        {"until step": name, "s": mean(name)[0], "share": f"{mean(name)[0] / total:.0%}", "CPU s": mean(name)[1]}
        for name in names
    ]
    return f"## Stages: {job}\n\nSeconds until each step, summed over {outcomes[0].batches} batches.\n\n" + _table(rows)


def _table(rows: Sequence[Mapping[str, float | str]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_shown(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
