"""What can be asked of a day without rows; on frames made by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from pyspark.sql import DataFrame

from pipelines.flows.quality import Checker, Quality, Stored
from pipelines.quality.expectation import Asset, load_expectations
from pipelines.quality.limits import limits
from pipelines.records import Severity
from pipelines.settings import ROOT, QualitySettings

DAY = date(2026, 3, 29)
SHIPPED = load_expectations(ROOT / "conf" / "quality" / "api6-logs.yaml")


class Few:
    """A frame of few rows."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self._rows = rows

    def take(self, number: int) -> list[dict[str, Any]]:
        return list(self._rows[:number])

    def collect(self) -> list[dict[str, Any]]:
        return list(self._rows)


class Nobody:
    """Neither tables nor Great Expectations are asked."""

    index = Path()


def asked(volumes: dict[date, int], *, refused: int = 0, ledger_hours: int = 0) -> set[str]:
    settings, nobody = QualitySettings(), Nobody()
    flow = Quality("t", SHIPPED, settings, cast("Stored", nobody), cast("Checker", nobody))
    frames = dict.fromkeys(Asset, Few()) | {
        Asset.RECORDS: Few({"valid": volumes.get(DAY, 0), "refused": refused}),
        Asset.HOURS: Few(*[{"hour": n} for n in range(ledger_hours)]),
    }
    assets = cast("dict[Asset, DataFrame]", frames)
    values = limits(DAY, volumes, settings)
    return {one.id for one in SHIPPED if flow._why_not(one, DAY, volumes, values, assets) is None}


@pytest.mark.parametrize(
    ("refused", "ledger_hours", "expected"),
    [(0, 0, {"has_rows"}), (3, 0, {"has_rows", "refused_share"}), (0, 2, {"has_rows", "hours_present"})],
    ids=["an outage", "all of it refused", "rows were deleted"],
)
def test_of_a_day_without_rows_only_is_asked_what_it_can_answer(
    refused: int, ledger_hours: int, expected: set[str]
) -> None:
    assert asked({}, refused=refused, ledger_hours=ledger_hours) == expected


def test_a_day_with_rows_is_asked_all_that_needs_no_other_days() -> None:
    compared = {"volume_not_low", "volume_not_high", "status_codes_as_usual"}
    assert asked({DAY: 5}) == {one.id for one in SHIPPED} - compared


def test_that_a_day_must_have_rows_is_critical_and_needs_no_other_days() -> None:
    [one] = [one for one in SHIPPED if one.id == "has_rows"]
    assert (one.severity, one.is_of_table, one.parameters) == (Severity.CRITICAL, True, ())
    assert one.arguments == {"min_value": 1}
