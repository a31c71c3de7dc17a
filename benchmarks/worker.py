"""Runs one side of a comparison in a process of its own: reads a task per line, answers with what was measured."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from benchmarks import ceiling, producer_side, python_elastic, python_tables, reconcile_side, spark_side
from benchmarks.meter import Outcome
from pipelines.settings import Settings, load

TASKS: dict[str, Callable[[Settings], Outcome]] = {
    "plain": spark_side.plain_kafka,
    "kafka": spark_side.kafka,
    "decode": spark_side.decoded,
    "judge": spark_side.judged,
    "judge0": spark_side.judged_by_none,
    "judge20": spark_side.judged_by_twenty,
    "proof": reconcile_side.proof,
    "rules_test": spark_side.rules_test,
    "ingest": spark_side.ingest,
    "index": spark_side.index,
    "python_tables": python_tables.run,
    "python_elastic": python_elastic.run,
    "ceiling": ceiling.run,
    "producer_bare": producer_side.bare,
    "producer_unvalidated": producer_side.unvalidated,
    "producer_validated": producer_side.validated,
}


def main() -> None:
    """Serve until standard input ends. What the JVM prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        outcome = TASKS[request["task"]](load("local", request["overrides"]))
        print(json.dumps(outcome.as_json()), file=answers, flush=True)


if __name__ == "__main__":
    main()
