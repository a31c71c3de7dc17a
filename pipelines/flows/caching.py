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
