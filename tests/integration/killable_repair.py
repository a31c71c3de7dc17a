"""A repair in a process group of its own that kills itself with SIGKILL at a named step of a chunk.

``python -m tests.integration.killable_repair RUN STEP CHUNK RECORDS_OF_A_CHUNK KEY=VALUE…``
"""

from __future__ import annotations

import os
import signal
import sys

from pipelines import bootstrap_repair, settings
from pipelines.flows.repair_report import Pace
from pipelines.records import Batch


def main(run: str, step: str, chunk: str, records: str, *overrides: str) -> None:
    def on_step(reached: str, batch: Batch) -> None:
        if (reached, batch.batch_id) == (step, int(chunk)):
            os.killpg(0, signal.SIGKILL)

    flow = bootstrap_repair.repair(settings.load(overrides=overrides), on_step=on_step)
    flow.run(run, "killed", Pace(rate=0, chunk=int(records)), delete_extras=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
