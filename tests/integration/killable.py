"""A job in a process group of its own that kills itself with SIGKILL at a named step of a batch.

``python -m tests.integration.killable JOB STEP BATCH KEY=VALUE…``; the step ``bulk`` means: as soon as Elasticsearch
has taken some documents of the batch.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from elasticsearch import Elasticsearch

from pipelines import bootstrap, settings
from pipelines.monitoring import logs
from pipelines.records import Batch


def main(job: str, step: str, batch_id: str, *overrides: str) -> None:
    logs.configure()
    own = settings.load(overrides=overrides)

    def on_step(reached: str, batch: Batch) -> None:
        if batch.batch_id != int(batch_id):
            return
        if reached == step:
            _die()
        if step == "bulk" and reached == "judged":
            threading.Thread(target=_die_amid_bulks, args=(own,), daemon=True).start()

    bootstrap.job(job, own, on_step=on_step).run(once=True)


def _die_amid_bulks(own: settings.Settings) -> None:
    client = Elasticsearch(own.elasticsearch.url)
    pattern = f"{own.elasticsearch.index_prefix}-*"
    before = _written(client, pattern)
    while _written(client, pattern) == before:
        pass
    _die()


def _written(client: Elasticsearch, pattern: str) -> int:
    return int(
        client.indices.stats(index=pattern, metric="indexing")["_all"]["primaries"]
        .get("indexing", {})
        .get("index_total", 0)
    )


def _die() -> None:
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
