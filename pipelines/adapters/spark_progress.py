"""How far Spark is with what it does just now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

LOOK_EVERY_S = 0.5


@contextmanager
def following(spark: SparkSession, told: Callable[[int, int], None]) -> Iterator[None]:
    """Within the block ``told`` hears, from another thread, how many tasks of the running stages are done and are."""
    over = threading.Event()
    looking = threading.Thread(target=_look, args=(spark, told, over), daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


def _look(spark: SparkSession, told: Callable[[int, int], None], over: threading.Event) -> None:
    tracker = spark.sparkContext.statusTracker()
    while not over.wait(LOOK_EVERY_S):
        stages = [info for i in tracker.getActiveStageIds() if (info := tracker.getStageInfo(i))]
        if stages:
            told(sum(s.numCompletedTasks for s in stages), sum(s.numTasks for s in stages))
