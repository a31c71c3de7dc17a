"""A replay in a process group of its own that kills itself with SIGKILL at a named step of a chunk.

``python -m tests.integration.killable_replay RECIPE STEP CHUNK ROWS_OF_A_CHUNK KEY=VALUE…``
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from pipelines import bootstrap, settings
from pipelines.flows.replay_report import Pace
from pipelines.records import Batch


def main(recipe: str, step: str, chunk: str, rows: str, *overrides: str) -> None:
    def on_step(reached: str, batch: Batch) -> None:
        if (reached, batch.batch_id) == (step, int(chunk)):
            os.killpg(0, signal.SIGKILL)

    kit = bootstrap.replay(settings.load(overrides=overrides), Path(recipe), on_step=on_step)
    kit.flow.run(kit.recipe, "killed", Pace(canary=0, chunk_rows=int(rows)))


if __name__ == "__main__":
    main(*sys.argv[1:])
