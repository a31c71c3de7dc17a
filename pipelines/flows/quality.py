"""The nightly check of one day's rows: the story behind `sdp quality`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.errors import Unavailable, innermost_cause
from pipelines.flows.caching import keep
from pipelines.quality import frames
from pipelines.quality.expectation import Asset, Expectation, Parameter
from pipelines.quality.limits import days_before, limits
from pipelines.quality.result import Checked, DayChecked, State
from pipelines.records import INVALID, LEDGER, VALID
from pipelines.settings import QualitySettings


class Stored(Protocol):
    """The Delta tables."""

    def read(self, table: str) -> DataFrame: ...


class Checker(Protocol):
    """Great Expectations."""

    @property
    def index(self) -> Path: ...

    def check(
        self, day: date, frames: Mapping[Asset, DataFrame], wanted: Sequence[Expectation]
    ) -> Mapping[str, Checked]: ...


@dataclass(frozen=True)
class Quality:
    """Checks one day of one topic. Changes no table; writes pages where ``checker`` has them."""

    topic: str
    expectations: Sequence[Expectation]
    settings: QualitySettings
    tables: Stored
    checker: Checker

    def __call__(self, day: date) -> DayChecked:
        """Look at the day, decide what can be asked of it, and ask. Raises UsageError and Unavailable."""
        try:
            with ExitStack() as cache:
                return self._check(day, cache)
        except Py4JJavaError as error:
            raise Unavailable("a server that Spark needs", self.topic, innermost_cause(error)) from error

    def _check(self, day: date, cache: ExitStack) -> DayChecked:
        valid, invalid = (
            self.tables.read(table).where(F.col("kafka_topic") == self.topic) for table in (VALID, INVALID)
        )
        days = [day, *days_before(day, self.settings)]
        counts = keep(frames.by_class(valid.where(F.col("date").isin(days))), cache)
        volumes = _volumes(counts)
        is_of_day = F.col("date") == F.lit(day)
        assets = self._assets(day, valid.where(is_of_day), invalid.where(is_of_day), counts, cache)
        [total] = assets[Asset.RECORDS].collect()
        values = limits(day, volumes, self.settings)
        skipped = {
            one.id: why for one in self.expectations if (why := self._why_not(one, day, volumes, values, assets))
        }
        ready = [one.given(values) for one in self.expectations if one.id not in skipped]
        found = self.checker.check(day, assets, ready)
        checked = [found.get(one.id) or Checked(one, State.SKIPPED, skipped[one.id]) for one in self.expectations]
        return DayChecked(day, total["valid"], total["refused"], tuple(checked), self.checker.index)

    def _assets(
        self, day: date, of_day: DataFrame, invalid: DataFrame, counts: DataFrame, cache: ExitStack
    ) -> dict[Asset, DataFrame]:
        """What there is to ask about; small ones are kept, as each of them is read several times."""
        found = {
            Asset.ROWS: frames.rows(of_day),
            Asset.REPEATED_IDS: keep(frames.repeated_ids(of_day), cache),
            Asset.RECORDS: keep(frames.records(counts, invalid, day), cache),
            Asset.STATUS_CLASSES: keep(frames.status_classes(counts, day), cache),
        }
        ledger = self.tables.read(LEDGER)
        if "hours" in ledger.columns:
            of_job = ledger.where((F.col("query") == "ingest") & (F.col("topic") == self.topic))
            found[Asset.HOURS] = keep(frames.hours(of_day, of_job, day), cache)
        return found

    def _why_not(
        self,
        one: Expectation,
        day: date,
        volumes: Mapping[date, int],
        values: Mapping[Parameter, float],
        assets: Mapping[Asset, DataFrame],
    ) -> str | None:
        """Why this can't be asked of the day; None if it can."""
        if one.of not in assets:
            return "the ledger holds no hours: it was written by an earlier version"
        if any(name not in values for name in one.parameters):
            there, wanted = len(volumes.keys() - {day}), self.settings.min_history_days
            return f"{there} of the {self.settings.history_days} days before have rows; it takes {wanted}"
        if not volumes.get(day) and not one.is_of_table:
            return _why_not_of_empty(one.of, assets)
        return None


def _why_not_of_empty(asset: Asset, assets: Mapping[Asset, DataFrame]) -> str | None:
    """Of a day without rows: what holds of all rows where there is none says nothing."""
    if asset is Asset.HOURS:
        return None if assets[asset].take(1) else "the ledger has no hour of the day either"
    if asset is Asset.RECORDS:
        [total] = assets[asset].collect()
        return None if total["refused"] else "the day has no records"
    return "the day has no rows"


def _volumes(counts: DataFrame) -> dict[date, int]:
    """Rows of every day that has any."""
    return {row["date"]: row["rows"] for row in counts.groupBy("date").agg(F.sum("rows").alias("rows")).collect()}
