"""What the validation contract costs: twenty rules, many bad records, many versions, and a rule set on trial."""

from __future__ import annotations

from benchmarks.compare import Bench, Part, ratio

HALF_INVALID = "invalid=50%"
VERSIONS = 8
MIXED = f"{VERSIONS} versions"


def contract(bench: Bench) -> Part:
    """Ratios of records a second, both sides in the same warm process.

    It registers seven more versions: parts that run jobs come before it.
    """
    rules = bench.alternate(["decode", "judge0", "judge20"])
    bad = bench.lab.fill("bench-half-invalid", bench.plan.records, mix=HALF_INVALID)
    shares = bench.in_turn({"0 % invalid": ("ingest", bench.base), "50 % invalid": ("ingest", bad)})
    trial = [bench.run("rules_test", bench.base) for _ in range(bench.plan.runs)]
    one = bench.in_turn({"1 version": ("judge", bench.base)})
    mixed = bench.in_turn({MIXED: ("judge", bench.lab.fill_versions(bench.base, VERSIONS))})
    runs = {**rules, **shares, **one, **mixed, "sdp rules test": trial}
    ratios = [
        ratio("decode and 20 rules ÷ decode alone", "judge20", "decode", 0.85, runs),
        ratio("20 rules ÷ no rule, content hash and UTF-8 check in both", "judge20", "judge0", None, runs),
        ratio("ingest, 50 % invalid ÷ 0 % invalid", "50 % invalid", "0 % invalid", 0.70, runs),
        ratio("decode and validate, 8 versions ÷ 1", MIXED, "1 version", 0.80, runs),
    ]
    return Part("contract", runs, ratios)
