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


@dataclass(frozen=True, slots=True)
class Told:
    """``valid``: AT, ``es_index`` and the fields of a document. ``refused``: AT and struct<at, reason>.

    ``gone``: AT and ``is_gone`` for what Kafka has dropped.
    """

    valid: DataFrame
    refused: DataFrame
    gone: DataFrame


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

    def of(self, wanted: DataFrame) -> Told:
        """Kafka's word on these coordinates (AT)."""
        wanted = settle(wanted.distinct())
        marks = self.broker.watermarks(self.topic)
        gone = F.lit(False)
        for partition, (earliest, _) in marks.items():
            gone = gone | ((F.col("at_partition") == partition) & (F.col("at_offset") < earliest))
        dropped = wanted.where(gone).select(*AT, F.lit(True).alias("is_gone"))
        stamp = Stamp(0, datetime.now(UTC), self.rules(), self.schemas.current())
        records = self._records(wanted.where(~gone), marks)
        routed = self.route(records.transform(self.judge(stamp.schemas, stamp.rules)), None, stamp)
        at = (F.col("kafka_partition").alias("at_partition"), F.col("kafka_offset").alias("at_offset"))
        index = F.concat(F.lit(f"{self.index_prefix}-"), F.col(DAY)).alias("es_index")
        valid = documents(routed.valid, stamp.schemas.added).select("*", *at, index)
        when = F.unix_millis("kafka_timestamp").alias("at")
        refused = routed.invalid.select(*at, F.struct(when, F.col("error_message").alias("reason")).alias("refused"))
        return Told(settle(valid), settle(refused), dropped)

    def _records(self, wanted: DataFrame, marks: dict[int, tuple[int, int]]) -> DataFrame:
        """The records themselves, in the columns of Spark's Kafka source."""
        block = F.floor(F.col("at_offset") / BLOCK).cast("bigint")
        spots = wanted.groupBy("at_partition", block.alias("block")).agg(
            F.min("at_offset").alias("first"), F.max("at_offset").alias("last")
        )
        few = spots.limit(MOST_BLOCKS + 1).collect()
        if len(few) > MOST_BLOCKS:
            few = (
                wanted.groupBy("at_partition")
                .agg(F.min("at_offset").alias("first"), F.max("at_offset").alias("last"))
                .collect()
            )
        there = [OffsetRange(self.topic, r[0], r["first"], min(r["last"] + 1, marks.get(r[0], (0, 0))[1])) for r in few]
        reads = rounds([r for r in there if len(r)])
        same = (F.col("partition") == F.col("at_partition")) & (F.col("offset") == F.col("at_offset"))
        if not reads:
            earliest = min(marks)
            reads = [[OffsetRange(self.topic, earliest, marks[earliest][0], marks[earliest][0])]]
        read = reduce(DataFrame.unionByName, (self.broker.read(ranges) for ranges in reads))
        return read.join(F.broadcast(wanted), same, "left_semi")


def rounds(ranges: Sequence[OffsetRange]) -> list[list[OffsetRange]]:
    """The same in reads of at most one range per partition; where that takes too many, with what lies between."""
    by_partition: dict[int, list[OffsetRange]] = {}
    for r in sorted(ranges):
        by_partition.setdefault(r.partition, []).append(r)
    most = max(map(len, by_partition.values()), default=0)
    if most > MOST_READS:
        return [[OffsetRange(rs[0].topic, p, rs[0].from_offset, rs[-1].until_offset) for p, rs in by_partition.items()]]
    return [[rs[n] for rs in by_partition.values() if n < len(rs)] for n in range(most)]
