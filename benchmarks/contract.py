"""What the validation contract costs: twenty rules, many bad records, many versions, and a rule set on trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.compare import WARM_UPS, Bench, Part, Ratio
from benchmarks.lab import Topic
from benchmarks.meter import Outcome

HALF_INVALID = "invalid=50%"
VERSIONS = 8


def contract(bench: Bench) -> Part:
    """Ratios of records a second, both sides in the same warm process. Comes last: it registers seven more versions."""
    rules = bench.alternate(["decode", "judge20"])
    bad = bench.lab.fill("bench-half-invalid", bench.plan.records, mix=HALF_INVALID)
    shares = _in_turn(bench, "ingest", {"0 % invalid": bench.base, "50 % invalid": bad})
    trial = [bench.run("rules_test", bench.base) for _ in range(bench.plan.runs)]
    one = _in_turn(bench, "judge", {"1 version": bench.base})
    mixed = _in_turn(bench, "judge", {f"{VERSIONS} versions": bench.lab.fill_versions(bench.base, VERSIONS)})
    ratios = [
        _ratio("decode and 20 rules ÷ decode alone", rules["judge20"], rules["decode"], 0.85),
        _ratio("ingest, 50 % invalid ÷ 0 % invalid", shares["50 % invalid"], shares["0 % invalid"], 0.70),
        _ratio("decode and validate, 8 versions ÷ 1", mixed[f"{VERSIONS} versions"], one["1 version"], 0.80),
    ]
    return Part("contract", {**rules, **shares, **one, **mixed, "sdp rules test": trial}, ratios)


def _in_turn(bench: Bench, task: str, topics: Mapping[str, Topic]) -> dict[str, list[Outcome]]:
    for topic in [*topics.values()] * WARM_UPS:
        bench.run(task, topic)
    found: dict[str, list[Outcome]] = {name: [] for name in topics}
    for _ in range(bench.plan.runs):
        for name, topic in topics.items():
            found[name].append(bench.run(task, topic))
    return found


def _ratio(name: str, of: Sequence[Outcome], by: Sequence[Outcome], target: float) -> Ratio:
    return Ratio(name, name, name, target, tuple(a.rate / b.rate for a, b in zip(of, by, strict=True)))
