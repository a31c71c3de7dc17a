"""What `sdp badrows list` and `show` tell: groups of bad rows, and all that is known of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.badrows.dissect import Dissected, dissect, masked, readable
from pipelines.badrows.overview import By, Group, Groups, Overview
from pipelines.badrows.rows import between, grouped, reason
from pipelines.contracts.evaluate import MASK
from pipelines.contracts.rules import RuleSet
from pipelines.flows.ports import SchemaSource, TableStore
from pipelines.flows.selection import endpoints
from pipelines.records import AUDIT, ES_INVALID, INVALID, RowStatus

SHOWN_GROUPS, SHOWN_TRIES = 50, 100


@dataclass(frozen=True, slots=True)
class BadRow:
    """All that is known of one record. ``table``: where it was found; ``row``: its columns; ``tries``: audit trail.

    ``key`` and ``headers`` are as they may be shown; ``row`` has them in bytes, and the value.
    """

    table: str
    row: dict[str, Any]
    content: Dissected
    tries: tuple[dict[str, Any], ...]
    key: str | None = None
    headers: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True)
class BadRows:
    """Reads the invalid tables; everything is aggregated in Spark. ``texts``: registered schemas, refused ones too."""

    topic: str
    schemas: SchemaSource
    rules: RuleSet
    tables: TableStore
    texts: Callable[[], Mapping[int, str]]

    def overview(
        self, by: Sequence[By], since: datetime, until: datetime, status: Sequence[RowStatus], top: int = SHOWN_GROUPS
    ) -> Overview:
        """Group the rows by each of ``by``. An empty ``status`` means any."""
        rows = self.tables.read(INVALID).where((F.col("kafka_topic") == self.topic) & between(since, until))
        if status:
            rows = rows.where(F.col("status").isin([s.value for s in status]))
        groups = tuple(self._groups(rows, one, since, until, top) for one in by)
        return Overview(since, until, rows.count(), groups)

    def one(self, partition: int, offset: int, *, unmask: bool = False) -> BadRow | None:
        """One record with its bytes laid open; None if neither table has it."""
        for table in (INVALID, ES_INVALID):
            found = self.tables.read(table).where(self._at(partition, offset)).first()
            if found is not None:
                personal: frozenset[str] = frozenset() if unmask else frozenset(self.rules.personal)
                return self._shown(table, found.asDict(recursive=True), personal)
        return None

    def _shown(self, table: str, row: dict[str, Any], personal: frozenset[str]) -> BadRow:
        """Nobody knows what key and headers hold: their bytes are shown where nothing is personal."""
        raw = None if row["raw"] is None else bytes(row["raw"])
        row = {name: MASK if name in personal and value is not None else value for name, value in row.items()}
        show = masked if personal else readable
        headers = tuple((h["key"], show(h["value"])) for h in row["headers"] or [])
        tries = self._tries(row["kafka_partition"], row["kafka_offset"])
        return BadRow(table, row, dissect(raw, self.texts(), personal), tries, show(row["key"]), headers)

    def _tries(self, partition: int, offset: int) -> tuple[dict[str, Any], ...]:
        rows = self.tables.read(AUDIT).where(self._at(partition, offset))
        shown = rows.drop("kafka_topic", "kafka_partition", "kafka_offset", "date")
        return tuple(r.asDict(recursive=True) for r in shown.orderBy(F.desc("at")).limit(SHOWN_TRIES).collect())

    def _at(self, partition: int, offset: int) -> Column:
        is_there = (F.col("kafka_partition") == partition) & (F.col("kafka_offset") == offset)
        return (F.col("kafka_topic") == self.topic) & is_there

    def _groups(self, rows: DataFrame, by: By, since: datetime, until: datetime, top: int) -> Groups:
        if by is By.ENDPOINT:
            rows = endpoints(rows, self.schemas.current())
        groups = grouped(rows, _key(by), since, until).persist()
        try:
            number, total = groups.agg(F.count("*"), F.coalesce(F.sum("count"), F.lit(0))).collect()[0]
            order = [F.col("key")] if by is By.HOUR else [F.desc("count"), F.col("key")]
            shown = groups.orderBy(F.desc("count"), "key").limit(top).orderBy(*order).collect()
        finally:
            groups.unpersist()
        found = tuple(Group(r["key"], r["count"], r["count"] / total, tuple(r["trend"])) for r in shown)
        return Groups(by, found, number - len(found), total - sum(g.count for g in found))


def _key(by: By) -> Column:
    keys: dict[By, Callable[[], Column]] = {
        By.REASON: reason,
        By.ENDPOINT: lambda: F.col("endpoint"),
        By.HOUR: lambda: F.date_format("kafka_timestamp", "yyyy-MM-dd HH:00"),
        By.STAGE: lambda: F.col("error_type"),
        By.PARTITION: lambda: F.col("kafka_partition"),
        By.SCHEMA: lambda: F.col("schema_id"),
        By.STATUS: lambda: F.col("status"),
    }
    return keys[by]()
