"""The first ratios: A B A B on the same topic, each side in a warm process of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

from benchmarks.lab import Lab, Topic, Worker
from benchmarks.meter import Outcome

SPARK, PYTHON = "spark", "python"
"""The two processes. Everything that needs no JVM runs in the second one."""

WARM_UPS = 2
"""The JVM still compiles during the second run of a task; the Python side gets as many."""

_IN_SPARK = {"plain", "kafka", "decode", "judge", "judge0", "judge20", "rules_test", "ingest", "index", "proof"}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: records per topic, pairs per ratio, and whether ten times the records are wanted too."""

    records: int
    runs: int
    full: bool


@dataclass(frozen=True, slots=True)
class Ratio:
    """``of`` ÷ ``by`` in records a second, one value per pair."""

    name: str
    of: str
    by: str
    target: float | None
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Part:
    """What one part measured. ``runs``: side → its runs, warm-ups left out; ``tables``: title → rows."""

    name: str
    runs: Mapping[str, Sequence[Outcome]]
    ratios: Sequence[Ratio] = ()
    tables: Mapping[str, Sequence[Mapping[str, float | str]]] = field(default_factory=dict)


class Bench:
    """The laboratory with its topics and warm processes, made when first needed."""

    def __init__(self, lab: Lab, plan: Plan) -> None:
        self.lab, self.plan = lab, plan
        self._open = ExitStack()

    @cached_property
    def base(self) -> Topic:
        """Clean traffic on 12 partitions."""
        return self.lab.fill("bench-base", self.plan.records)

    @cached_property
    def workers(self) -> Mapping[str, Worker]:
        return {name: self._open.enter_context(self.lab.worker(name)) for name in (SPARK, PYTHON)}

    def run(self, task: str, topic: Topic) -> Outcome:
        """One run in the warm process that the task belongs to."""
        outcome = self.workers[SPARK if task in _IN_SPARK else PYTHON].run(task, topic)
        say(f"{task:15} {topic.name:18} {outcome.rate:10,.0f}/s {outcome.cpu_us:8.1f} µs CPU a record")
        return outcome

    def alternate(self, tasks: Sequence[str]) -> dict[str, list[Outcome]]:
        """``in_turn`` for tasks on clean traffic."""
        return self.in_turn({task: (task, self.base) for task in tasks})

    def in_turn(self, sides: Mapping[str, tuple[str, Topic]]) -> dict[str, list[Outcome]]:
        """Warm-ups of each side, a task and its topic, then all of them in turn, ``plan.runs`` times."""
        for task, topic in [*sides.values()] * WARM_UPS:
            self.run(task, topic)
        found: dict[str, list[Outcome]] = {name: [] for name in sides}
        for _ in range(self.plan.runs):
            for name, (task, topic) in sides.items():
                found[name].append(self.run(task, topic))
        return found

    def close(self) -> None:
        self._open.close()


def judge(bench: Bench) -> Part:
    """Decode and validate against the bare source: with Spark's own options, and with those of our jobs."""
    runs = bench.alternate(["plain", "kafka", "decode", "judge"])
    ratios = [
        ratio("decode and validate → noop ÷ Kafka → noop, Spark's source as it comes", "judge", "plain", 0.70, runs),
        ratio("decode and validate → noop ÷ Kafka → noop, our source options", "judge", "kafka", 0.70, runs),
        ratio("decode alone → noop ÷ Kafka → noop, our source options", "decode", "kafka", None, runs),
    ]
    return Part("judge", runs, ratios)


def ingest(bench: Bench) -> Part:
    """The whole job against a Python loop."""
    runs = bench.alternate(["ingest", "python_tables"])
    return Part("ingest", runs, [ratio("ingest ÷ Python loop (Delta)", "ingest", "python_tables", 1.5, runs)])


def index(bench: Bench) -> Part:
    """The whole job against a Python loop and against what Elasticsearch can take."""
    runs = bench.alternate(["index", "python_elastic", "ceiling"])
    ratios = [
        ratio("index ÷ Python loop (parallel_bulk)", "index", "python_elastic", 1.8, runs),
        ratio("index ÷ ready-made bulks over 2 connections", "index", "ceiling", 0.6, runs),
    ]
    return Part("index", runs, ratios)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def ratio(name: str, of: str, by: str, target: float | None, runs: Mapping[str, Sequence[Outcome]]) -> Ratio:
    """Pair by pair, records a second of one side over those of another."""
    return Ratio(name, of, by, target, tuple(a.rate / b.rate for a, b in zip(runs[of], runs[by], strict=True)))
