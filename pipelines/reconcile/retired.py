"""Days that maintenance has removed for their age: nothing can be found there, and nothing is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.reconcile.hours import from_ms
from pipelines.reconcile.model import Side

_EPOCH, _DAY_S = date(1970, 1, 1), 86_400


@dataclass(frozen=True, slots=True)
class Gone:
    """``rows``: days (UTC, of the event) that the valid table has no more; ``documents``: those of indices.

    ``refused``: Kafka partitions with bad rows that are gone.
    """

    rows: frozenset[date] = frozenset()
    documents: frozenset[date] = frozenset()
    refused: frozenset[int] = frozenset()

    def has_rows(self, hour_ms: int) -> bool:
        """Whether the rows of this hour are gone."""
        return from_ms(hour_ms).date() in self.rows

    def has_documents(self, hour_ms: int) -> bool:
        """Whether the documents of this hour are gone."""
        return from_ms(hour_ms).date() in self.documents

    def covers(self) -> Column:
        """Findings (``hour``, ``side``) that are about what is gone."""
        day = F.floor(F.unix_seconds("hour") / _DAY_S)
        side = F.col("side")
        is_of_rows = day.isin(_numbers(self.rows)) & (side != Side.INVALID.value)
        is_of_documents = day.isin(_numbers(self.documents)) & (side == Side.ELASTICSEARCH.value)
        return F.coalesce(is_of_rows | is_of_documents, F.lit(False))

    def notes(self) -> Iterator[str]:
        """What a reader must know."""
        for what, days in (("rows", self.rows), ("documents", self.documents)):
            if days:
                yield f"the {what} of {_span(days)} were removed for their age: nothing is looked for there"
        if self.refused:
            partitions = ", ".join(map(str, sorted(self.refused)))
            yield f"bad rows of partition {partitions} were removed for their age: not compared with the ledger"


def _numbers(days: Collection[date]) -> list[int]:
    return sorted((day - _EPOCH).days for day in days)


def _span(days: Collection[date]) -> str:
    return str(min(days)) if len(days) == 1 else f"{len(days)} days from {min(days)} to {max(days)}"
