"""Which runs have seen a finding. Rows of an earlier version know the first and the last of them only."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

RUN_IDS = "run_ids"
_TEXTS = "array<string>"


def with_run_ids(findings: DataFrame) -> DataFrame:
    """Findings with the column, null where the table does not have it yet."""
    return findings if RUN_IDS in findings.columns else findings.withColumn(RUN_IDS, F.lit(None).cast(_TEXTS))


def seen_by(*run_ids: str) -> Column:
    """Whether one of these runs has seen the finding."""
    meant = F.array(*map(F.lit, run_ids)).cast(_TEXTS)
    is_end = F.coalesce(F.arrays_overlap(F.array("run_id", "last_run_id"), meant), F.lit(False))
    return is_end | F.coalesce(F.arrays_overlap(F.col(RUN_IDS), meant), F.lit(False))


def sightings(held: str, now: str) -> Column:
    """The runs that have seen it, this one too; ``held``, ``now``: what the rows before and after are called."""
    before = F.coalesce(F.col(f"{held}.{RUN_IDS}"), F.array(f"{held}.run_id", f"{held}.last_run_id"))
    return F.array_union(before, F.col(f"{now}.{RUN_IDS}"))
