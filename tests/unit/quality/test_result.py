"""What is said of an outcome: figures, never a value of a row."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.quality.expectation import Asset, Expectation, Value
from pipelines.quality.result import found_text
from pipelines.records import Severity


def expectation(of: Asset = Asset.ROWS, **arguments: Value) -> Expectation:
    return Expectation("it", of, "expect_something", arguments, Severity.CRITICAL, "it is so")


def counted(element_count: int, unexpected_count: int | None) -> dict[str, Any]:
    values = ["198.51.100.7"]
    return {"element_count": element_count, "unexpected_count": unexpected_count, "partial_unexpected_list": values}


@pytest.mark.parametrize(
    ("asked", "result", "text"),
    [
        (expectation(column="a"), counted(1_000_000, 0), "all 1,000,000 rows"),
        (expectation(column="a"), counted(2000, 3), "3 of 2,000 rows are not so (0.15%)"),
        (expectation(mostly=0.95), counted(100, 17), "17 of 100 rows are not so (17.00%); 5.00% may be"),
        (expectation(Asset.HOURS), counted(24, 1), "1 of 24 hours are not so (4.17%)"),
        (expectation(Asset.REPEATED_IDS), counted(0, None), "no request ids at all"),
        (expectation(min_value=750), {"observed_value": 1234}, "1,234; expected at least 750"),
        (expectation(max_value=0.1), {"observed_value": 0.123456}, "0.1235; expected at most 0.1"),
        (expectation(min_value=1, max_value=2.0), {"observed_value": 3}, "3; expected at least 1 and at most 2"),
        (expectation(max_value=1), {"observed_value": None}, "nothing; expected at most 1"),
    ],
)
def test_one_line_of_figures(asked: Expectation, result: dict[str, Any], text: str) -> None:
    assert found_text(asked, result) == text
