"""The cost of a record over sizes and shapes is held against its targets, row by row."""

from __future__ import annotations

import pytest

from benchmarks import report
from benchmarks.compare import Part, Plan
from benchmarks.scale import CPU, MOST_OVER_SHAPES, MOST_OVER_SIZES, Row, against_least


def rows(*costs: float) -> list[Row]:
    return [{"value": str(n), CPU: cost} for n, cost in enumerate(costs)]


def test_the_targets() -> None:
    assert (MOST_OVER_SIZES, MOST_OVER_SHAPES) == (1.10, 1.20)


@pytest.mark.parametrize(
    ("costs", "times", "reached"),
    [
        ((20.0,), [1.0], [True]),
        ((25.0, 20.0, 24.0), [1.25, 1.0, 1.2], [False, True, True]),
        ((20.0, 24.1, 20.0), [1.0, 1.205, 1.0], [True, False, True]),
    ],
)
def test_every_row_is_held_against_the_cheapest(
    costs: tuple[float, ...], times: list[float], reached: list[bool]
) -> None:
    found = against_least(rows(*costs), 1.2)
    assert [row["÷ least"] for row in found] == pytest.approx(times)
    assert [row["reached"] for row in found] == reached
    assert {row["target"] for row in found} == {"≤ 1.20"}
    assert [row[CPU] for row in found] == list(costs)


@pytest.mark.parametrize("least", [0.0, -0.4])
def test_nothing_is_said_where_the_fixed_cost_was_all_there_was(least: float) -> None:
    assert {(row["÷ least"], row["reached"]) for row in against_least(rows(3.0, least), 1.1)} == {("–", "–")}


def test_the_report_shows_the_verdicts() -> None:
    part = Part("shape", {}, tables={"CPU per record: shape": against_least(rows(20.0, 26.0), 1.2)})
    text = report.markdown(report.Results(Plan(1_000, 1, False), "python -m benchmarks", [part]))
    assert "| value | CPU µs/record | ÷ least | target | reached |" in text
    assert "| 0 | 20.00 | 1.00 | ≤ 1.20 | yes |" in text
    assert "| 1 | 26.00 | 1.30 | ≤ 1.20 | **no** |" in text
