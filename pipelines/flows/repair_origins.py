"""What is known of a record's first try: the batch that had it, and the rules that judged it (law 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.flows.ports import TableStore
from pipelines.reconcile.repair_plan import JOB_OF, Place
from pipelines.records import AUDIT, COORDINATES, INVALID, LEDGER, Outcome, RowStatus


@dataclass(frozen=True, slots=True)
class Origin:
    """``rules``: fingerprint of the set that judged the record last, None where no ledger has it.

    ``is_replayed``: it became valid by a recipe, so what Kafka has of it is not what the sides must hold.
    """

    rules: str | None = None
    batch_id: int | None = None
    is_replayed: bool = False


def frame_of(tables: TableStore, topic: str, places: Sequence[Place]) -> DataFrame:
    """The places as a frame of coordinates."""
    spark = tables.read(LEDGER).sparkSession
    rows = [(topic, place.partition, place.offset) for place in places]
    return spark.createDataFrame(rows, "kafka_topic STRING, kafka_partition INT, kafka_offset BIGINT").coalesce(1)


def rows_at(rows: DataFrame, places: Sequence[Place], at: DataFrame) -> DataFrame:
    """Those of a table's rows that lie at the places, ``at`` the same as a frame."""
    offsets, partitions = [p.offset for p in places], [p.partition for p in places]
    near = F.col("kafka_offset").between(min(offsets), max(offsets)) & F.col("kafka_partition").between(
        min(partitions), max(partitions)
    )
    return rows.where(near).join(F.broadcast(at), list(COORDINATES), "left_semi")


def origins(tables: TableStore, topic: str, places: Sequence[Place], at: DataFrame) -> dict[tuple[Place, str], Origin]:
    """(place, job) → origin; the ledger has none of a record that was lost or not read yet."""
    replayed = _replayed(tables, topic, places, at)
    found = _confirmed(tables, topic, places, at)
    for place, rules in replayed.items():
        for job in set(JOB_OF.values()):
            before = found.get((place, job), Origin())
            found[place, job] = Origin(rules or before.rules, before.batch_id, is_replayed=True)
    return found


def _confirmed(
    tables: TableStore, topic: str, places: Sequence[Place], at: DataFrame
) -> dict[tuple[Place, str], Origin]:
    first, last = min(p.offset for p in places), max(p.offset for p in places)
    is_near = (F.col("until_offset") > first) & (F.col("from_offset") <= last)
    of_jobs = F.col("query").isin(*set(JOB_OF.values()))
    batches = tables.read(LEDGER).where((F.col("topic") == topic) & of_jobs & is_near)
    is_within = (F.col("partition") == F.col("kafka_partition")) & (F.col("from_offset") <= F.col("kafka_offset"))
    found = batches.join(F.broadcast(at), is_within & (F.col("kafka_offset") < F.col("until_offset")))
    rows = found.select("kafka_partition", "kafka_offset", "query", "rule_set_fingerprint", "batch_id").collect()
    return {
        (Place(r["kafka_partition"], r["kafka_offset"]), r["query"]): Origin(r["rule_set_fingerprint"], r["batch_id"])
        for r in rows
    }


def _replayed(tables: TableStore, topic: str, places: Sequence[Place], at: DataFrame) -> dict[Place, str | None]:
    is_replayed = (F.col("kafka_topic") == topic) & (F.col("status") == RowStatus.REPLAYED.value)
    rows = rows_at(tables.read(INVALID).where(is_replayed), places, at).select(*COORDINATES).distinct()
    tries = rows_at(tables.read(AUDIT).where(F.col("outcome") == Outcome.REPLAYED.value), places, at)
    rules = tries.groupBy(*COORDINATES).agg(F.max_by("rule_set_fingerprint", "at").alias("rules"))
    found = rows.join(rules, list(COORDINATES), "left").collect()
    return {Place(r["kafka_partition"], r["kafka_offset"]): r["rules"] for r in found}
