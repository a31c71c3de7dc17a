"""What Kafka says of single records: the only one who knows how they came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.rules import RuleSet
from pipelines.flows.caching import settle
from pipelines.flows.ports import SchemaSource
from pipelines.flows.reconcile_ports import RecordReader
from pipelines.ingest.documents import DAY, documents
from pipelines.ingest.judge import Judge
from pipelines.ingest.route import Router, Stamp
from pipelines.reconcile.compare import AT
from pipelines.records import OffsetRange

BLOCK = 1 << 14
"""Offsets that are read at once: wanted ones that lie near each other cost one read."""
MOST_READS = 16
MOST_BLOCKS = 5_000


@dataclass
class Truth:
    """Reads records from Kafka and judges them as the jobs do."""

    topic: str
    schemas: SchemaSource
    rules: Callable[[], RuleSet]
    broker: RecordReader
    index_prefix: str
    judge: Judge = field(default_factory=Judge)
    route: Router = field(default_factory=Router)

    def of(self, wanted: DataFrame, fields: Sequence[str]) -> DataFrame:
        """Kafka's word on these coordinates: AT, ``truth``, ``refused``, ``is_gone``, ``is_beyond``, for findings.

        Without ``truth`` and ``refused`` if Kafka has none of them.
        """
        wanted = settle(wanted.distinct())
        marks = self.broker.watermarks(self.topic)
        is_gone, is_beyond = F.lit(False), ~F.col("at_partition").isin(list(marks))
        for partition, (earliest, latest) in marks.items():
            is_here, offset = F.col("at_partition") == partition, F.col("at_offset")
            is_gone = is_gone | (is_here & (offset < earliest))
            is_beyond = is_beyond | (is_here & (offset >= latest))
        marked = wanted.select(*AT, F.when(is_gone, True).alias("is_gone"), is_beyond.alias("is_beyond"))
        ranges = self._ranges(marked.where(F.col("is_gone").isNull()), marks)
        if not ranges:
            return marked
        valid, refused = self._judged(ranges, wanted, fields)
        return marked.join(valid, list(AT), "left").join(refused, list(AT), "left")

    def _judged(
        self, ranges: Sequence[OffsetRange], wanted: DataFrame, fields: Sequence[str]
    ) -> tuple[DataFrame, DataFrame]:
        """``truth`` and ``refused``, with AT each."""
        stamp = Stamp(0, datetime.now(UTC), self.rules(), self.schemas.current())
        same = (F.col("partition") == F.col("at_partition")) & (F.col("offset") == F.col("at_offset"))
        read = reduce(DataFrame.unionByName, (self.broker.read(some) for some in rounds(ranges)))
        # settled twice, else Spark puts all the rules into each read, and into each word about a broken one
        records = settle(read.join(F.broadcast(wanted), same, "left_semi"))
        judged = settle(records.transform(self.judge(stamp.schemas, stamp.rules)))
        routed = self.route(judged, None, stamp, explained=False)
        at = (F.col("kafka_partition").alias("at_partition"), F.col("kafka_offset").alias("at_offset"))
        index = F.concat(F.lit(f"{self.index_prefix}-"), F.col(DAY)).alias("es_index")
        made = documents(routed.valid, stamp.schemas.added)
        truth = F.struct(*(F.col(f"`{name}`") for name in fields), index).alias("truth")
        when = F.unix_millis("kafka_timestamp").alias("at")
        refused = F.struct(when, F.col("error_message").alias("reason")).alias("refused")
        return settle(made.select(*at, truth)), settle(routed.invalid.select(*at, refused))

    def _ranges(self, wanted: DataFrame, marks: dict[int, tuple[int, int]]) -> list[OffsetRange]:
        """Where the wanted records lie, as far as Kafka reaches."""
        block = F.floor(F.col("at_offset") / BLOCK).cast("bigint")
        ends = (F.min("at_offset").alias("first"), F.max("at_offset").alias("last"))
        spots = wanted.groupBy("at_partition", block.alias("block")).agg(*ends).limit(MOST_BLOCKS + 1).collect()
        if len(spots) > MOST_BLOCKS:
            spots = wanted.groupBy("at_partition").agg(*ends).collect()
        found = [
            OffsetRange(self.topic, r["at_partition"], r["first"], min(r["last"] + 1, marks[r["at_partition"]][1]))
            for r in spots
            if r["at_partition"] in marks
        ]
        return [r for r in found if len(r)]


def rounds(ranges: Sequence[OffsetRange]) -> list[list[OffsetRange]]:
    """The same in reads of at most one range per partition; where that takes too many, with what lies between."""
    by_partition: dict[int, list[OffsetRange]] = {}
    for r in sorted(ranges):
        by_partition.setdefault(r.partition, []).append(r)
    most = max(map(len, by_partition.values()), default=0)
    if most > MOST_READS:
        return [[OffsetRange(rs[0].topic, p, rs[0].from_offset, rs[-1].until_offset) for p, rs in by_partition.items()]]
    return [[rs[n] for rs in by_partition.values() if n < len(rs)] for n in range(most)]
