"""What the ledger says of every job: offsets, and cells of partition and event hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from pipelines.reconcile.hours import Window, in_ms
from pipelines.reconcile.model import OffsetsCheck

_POWERS = (2, 3)
"""Sums of powers of all ends less those of all starts are those of the last end and the first start in a chain only."""
_LONG = 1 << 64
"""Spark adds and multiplies longs modulo this."""


@dataclass(slots=True)
class Partition:
    """One job on one partition. ``is_chain``: every batch begins where another one ends, so nothing is left or twice.

    ``unexplained``: offsets that a batch took and gave no account of. ``unproven``: valid records of batches whose
    hours the ledger does not know. ``span``: offsets of the batches that were confirmed in the window; ``refused``:
    their invalid records.
    """

    first: int
    until: int
    covered: int
    lost: int
    is_chain: bool
    unexplained: int
    unproven: int
    span: tuple[int, int] | None
    refused: int


@dataclass(slots=True)
class Job:
    """What one job has confirmed.

    By partition and hour in ms: ``cells``, valid records and the sum of their content hash. By hour: ``changed``, when
    the newest batch put something there.
    """

    cells: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    changed: dict[int, datetime] = field(default_factory=dict)
    partitions: dict[int, Partition] = field(default_factory=dict)

    @property
    def positions(self) -> dict[int, int]:
        """Partition → offset up to which everything is confirmed."""
        return {p: found.until for p, found in self.partitions.items()}

    @property
    def unproven(self) -> int:
        return sum(p.unproven for p in self.partitions.values())


def summed(ledger: DataFrame, hours: Window, window: Window) -> DataFrame:
    """One row per job and partition for its offsets, and one per hour for its valid records.

    In: the ledger of one topic. Cells of hours outside of ``hours`` become one, whose hour is null. Batches count for
    ``span`` and ``refused`` if they were confirmed in ``window``.
    """
    length = F.col("until_offset") - F.col("from_offset")
    parts = F.col("valid") + F.col("invalid") + F.col("gaps") + F.col("lost")
    columns = [F.col(c) for c in ("query", "partition", "from_offset", "until_offset", "committed_at")]
    numbers = [F.col(c) for c in ("valid", "invalid", "lost")]
    is_dated = F.col("hours").isNotNull().alias("is_dated")
    each = ledger.select(
        *columns,
        *numbers,
        length.alias("length"),
        F.abs(length - parts).alias("off"),
        is_dated,
        F.posexplode_outer("hours"),
    )
    once = F.coalesce("pos", F.lit(0)) == 0
    kept = F.col("col")["hour"].between(F.lit(hours[0]), F.lit(hours[1])) & (F.col("col")["hour"] < F.lit(hours[1]))
    is_recent = once & (F.col("committed_at") >= F.lit(window[0])) & (F.col("committed_at") < F.lit(window[1]))
    is_undated = once & ~F.col("is_dated") & (F.col("committed_at") >= F.lit(hours[0]))
    start, end = F.col("from_offset"), F.col("until_offset")
    return each.groupBy("query", "partition", F.when(kept, F.col("col")["hour"]).alias("hour")).agg(
        F.sum(F.col("col")["valid"]).alias("cell_valid"),
        F.sum(F.col("col")["content_hash"]).alias("cell_hash"),
        F.max("committed_at").alias("changed"),
        F.min("from_offset").alias("first"),
        F.max("until_offset").alias("until"),
        _sum(once, "length").alias("covered"),
        _sum(once, "lost").alias("lost"),
        _sum(once, "off").alias("unexplained"),
        _sum(is_undated, "valid").alias("unproven"),
        _sum(is_recent, "invalid").alias("refused"),
        F.min(F.when(is_recent, start)).alias("span_from"),
        F.max(F.when(is_recent, end)).alias("span_until"),
        *(F.sum(F.when(once, _power(end, n) - _power(start, n))).alias(f"links_{n}") for n in _POWERS),
    )


def jobs(rows: Iterable[Row]) -> dict[str, Job]:
    """Job → what the rows of ``summed`` say."""
    grouped: dict[tuple[str, int], list[Row]] = {}
    found: dict[str, Job] = {}
    for r in rows:
        grouped.setdefault((r["query"], r["partition"]), []).append(r)
        job = found.setdefault(r["query"], Job())
        if r["hour"] is None:
            continue
        hour = in_ms(r["hour"].astimezone(UTC))
        job.cells[r["partition"], hour] = (r["cell_valid"], r["cell_hash"])
        changed = r["changed"].astimezone(UTC)
        job.changed[hour] = max(changed, job.changed.get(hour, changed))
    for (name, partition), of_it in grouped.items():
        found[name].partitions[partition] = _partition(of_it)
    return found


def checks(job: str, found: Job, marks: Mapping[int, tuple[int, int]]) -> list[OffsetsCheck]:
    """Ledger and Kafka of one job. ``marks``: partition → (earliest, next) offset of Kafka."""
    out = []
    for p, (earliest, latest) in sorted(marks.items()):
        known = found.partitions.get(p)
        if known is None:
            out.append(OffsetsCheck(job, p, earliest, latest, earliest, earliest, 0, 0, 0, 0))
            continue
        before = max(0, known.first - earliest)  # Kafka has them, and no batch ever took them
        behind = max(0, earliest - known.until)  # Kafka has dropped them before any batch took them
        within = (known.until - known.first) - known.covered
        is_off = not known.is_chain and within == 0
        out.append(
            OffsetsCheck(
                job,
                p,
                earliest,
                latest,
                known.first,
                known.until,
                known.covered,
                uncovered=before + behind + max(0, within) + known.unexplained + int(is_off),
                doubled=max(0, -within) + int(is_off),
                lost=known.lost,
            )
        )
    return out


def _partition(rows: list[Row]) -> Partition:
    spans = [(r["span_from"], r["span_until"]) for r in rows if r["span_from"] is not None]
    first, until = min(r["first"] for r in rows), max(r["until"] for r in rows)
    return Partition(
        first=first,
        until=until,
        covered=_total(rows, "covered"),
        lost=_total(rows, "lost"),
        is_chain=all((_total(rows, f"links_{n}") - until**n + first**n) % _LONG == 0 for n in _POWERS),
        unexplained=_total(rows, "unexplained"),
        unproven=_total(rows, "unproven"),
        span=(min(s for s, _ in spans), max(e for _, e in spans)) if spans else None,
        refused=_total(rows, "refused"),
    )


def _sum(condition: Column, name: str) -> Column:
    return F.sum(F.when(condition, F.col(name)))


def _total(rows: list[Row], name: str) -> int:
    return sum(r[name] or 0 for r in rows)


def _power(offset: Column, exponent: int) -> Column:
    return reduce(Column.__mul__, [offset] * exponent)
