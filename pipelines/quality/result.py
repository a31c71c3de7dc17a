"""What became of each expectation, and of the day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipelines.quality.expectation import Asset, Expectation
from pipelines.records import Severity

COUNTED = {
    Asset.ROWS: "rows",
    Asset.REPEATED_IDS: "request ids",
    Asset.HOURS: "hours",
    Asset.RECORDS: "days",
    Asset.STATUS_CLASSES: "classes",
}


class State(StrEnum):
    """``skipped``: it says nothing about the data."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Checked:
    """One expectation with its outcome. ``found``: one line for a person; of a skipped one, why."""

    expectation: Expectation
    state: State
    found: str

    @property
    def is_critical_failure(self) -> bool:
        return self.state is State.FAILED and self.expectation.severity is Severity.CRITICAL


@dataclass(frozen=True, slots=True)
class DayChecked:
    """Every expectation of one day, in the order of the file. ``pages``: where the Data Docs begin."""

    day: date
    rows: int
    refused: int
    checked: tuple[Checked, ...]
    pages: Path

    @property
    def failed(self) -> tuple[Checked, ...]:
        """Critical ones: those for which the task fails."""
        return tuple(one for one in self.checked if one.is_critical_failure)


def found_text(expectation: Expectation, result: Mapping[str, Any]) -> str:
    """What Great Expectations saw, in one line without any value of a row."""
    if "unexpected_count" in result:
        of, wrong = int(result["element_count"] or 0), int(result["unexpected_count"] or 0)
        if not wrong:
            return f"all {of:,} {COUNTED[expectation.of]}" if of else f"no {COUNTED[expectation.of]} at all"
        text = f"{wrong:,} of {of:,} {COUNTED[expectation.of]} are not so ({wrong / of:.2%})"
        mostly = expectation.arguments.get("mostly")
        return text if not isinstance(mostly, float) else f"{text}; {1 - mostly:.2%} may be"
    seen = result.get("observed_value")
    return f"{_number(seen)}{_bounds(expectation)}"


def _bounds(expectation: Expectation) -> str:
    low, high = (expectation.arguments.get(name) for name in ("min_value", "max_value"))
    parts = [f"{word} {_number(value)}" for word, value in (("at least", low), ("at most", high)) if value is not None]
    return f"; expected {' and '.join(parts)}" if parts else ""


def _number(value: object) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return f"{int(value):,}" if isinstance(value, (int, float)) else "nothing"
