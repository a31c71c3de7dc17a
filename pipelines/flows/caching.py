"""Keep a DataFrame that several steps of a batch read, and give the memory back whatever happens."""

from __future__ import annotations

from contextlib import ExitStack

from pyspark.sql import DataFrame
from pyspark.storagelevel import StorageLevel


def keep(frame: DataFrame, until: ExitStack) -> DataFrame:
    """Persist ``frame``, in memory as it is and beyond that on disk, until ``until`` closes."""
    kept = frame.persist(StorageLevel.MEMORY_AND_DISK_DESER)
    until.callback(kept.unpersist)
    return kept


def settle(frame: DataFrame) -> DataFrame:
    """Compute ``frame`` now, and forget how: for what is joined with itself again and again.

    A plan that holds itself several times takes minutes to analyse, however few the rows. Spark frees the memory once
    nothing refers to the result.
    """
    return frame.localCheckpoint()
