"""``python -m benchmarks``: measure, print, and write docs/benchmarks.md after a complete run."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import capture, compare, contract, producer, reconcile, report, scale
from benchmarks.lab import Lab
from pipelines.settings import ROOT, load

PARTS = {
    "judge": compare.judge,
    "ingest": compare.ingest,
    "index": compare.index,
    "size": scale.size,
    "shape": scale.shape,
    "capture": capture.capture,
    "reconcile": reconcile.reconcile,
    "contract": contract.contract,
    "producer": producer.producer,
}


def main() -> int:
    """Parse arguments, run the parts that were asked for, report."""
    chosen = _arguments()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # the stack must not outlive us
    home = Path(tempfile.mkdtemp(prefix="sdp-bench-", dir=chosen.home))
    home.chmod(0o755)  # Elasticsearch runs as another user
    lab = Lab(home, chosen.dist, json.loads(chosen.spark_conf))
    began = time.monotonic()
    plan = compare.Plan(chosen.records, chosen.runs, chosen.full)
    results = report.Results(plan, _command(chosen))
    try:
        lab.up()
        with contextlib.closing(compare.Bench(lab, plan)) as bench:
            for name in chosen.only or PARTS:
                results.add(PARTS[name](bench))
                results.elapsed_s = time.monotonic() - began
                _keep(results, chosen.out)
    finally:
        lab.down()
        if chosen.keep:
            print(f"kept {home}", file=sys.stderr)
        else:
            shutil.rmtree(home, ignore_errors=True)
    print(report.markdown(results))
    return 0


def _keep(results: report.Results, out: Path | None) -> None:
    """Write what there is by now: a run takes more than an hour, and a part that fails must not cost the others."""
    if out is not None:
        out.write_text(report.markdown(results), encoding="utf-8")
        out.with_suffix(".json").write_text(json.dumps(results.as_json(), indent=1) + "\n", encoding="utf-8")


def _command(chosen: argparse.Namespace) -> str:
    """How to repeat the run elsewhere: what was measured, without the folders of this machine."""
    parts = [f"--only {name}" for name in chosen.only or ()] + ["--full"] * chosen.full
    return " ".join(["python -m benchmarks", *parts, f"--records {chosen.records}", f"--runs {chosen.runs}"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, help="records per topic (default 1,000,000)")
    parser.add_argument("--runs", type=int, help="pairs of runs per ratio (default 3)")
    parser.add_argument("--quick", action="store_true", help="100,000 records")
    parser.add_argument("--full", action="store_true", help="also 10,000,000 records")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="only this part; may be repeated")
    parser.add_argument("--dist", type=Path, help="folder with the fetched jars and servers")
    parser.add_argument(
        "--home", type=Path, help="where the temporary stack lives; every user must be able to reach it"
    )
    parser.add_argument(
        "--out", type=Path, help="write the report here (default docs/benchmarks.md for a complete run)"
    )
    parser.add_argument("--spark-conf", default="{}", help="JSON of Spark settings to try")
    parser.add_argument("--keep", action="store_true", help="keep logs and data of the stack")
    chosen = parser.parse_args()
    chosen.records = chosen.records or (100_000 if chosen.quick else 1_000_000)
    chosen.runs = chosen.runs or 3
    chosen.dist = (chosen.dist or Path(os.environ.get("SDP_DIST") or load("local").dist_path)).resolve()
    if chosen.out is None and not chosen.only and not chosen.quick:
        chosen.out = ROOT / "docs" / "benchmarks.md"
    return chosen


if __name__ == "__main__":
    sys.exit(main())
