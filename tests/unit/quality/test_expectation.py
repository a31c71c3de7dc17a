"""The file of expectations: what the shipped one asks, and which mistakes are named with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.contracts.evolution import base_schema
from pipelines.errors import InvalidExpectations
from pipelines.quality.expectation import STAMPS, Asset, Expectation, Parameter, load_expectations
from pipelines.records import Severity
from pipelines.settings import ROOT

SHIPPED = load_expectations(ROOT / "conf" / "quality" / "api6-logs.yaml")

GOOD = """expectations:
  - id: there
    of: rows
    expect: expect_column_values_to_not_be_null
    columns: [request_id, status_code]
    severity: critical
    means: it is there
  - id: enough
    of: rows
    expect: expect_table_row_count_to_be_between
    arguments: {min_value: {$PARAMETER: fewest_rows}, max_value: 1000}
    severity: warning
    means: there are enough
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "day.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_make_one_expectation_each_and_parameters_wait_for_values(tmp_path: Path) -> None:
    type_, means = "expect_column_values_to_not_be_null", "it is there"
    first, second, enough = load_expectations(written(tmp_path, GOOD))
    assert [first, second] == [
        Expectation(f"there_{name}", Asset.ROWS, type_, {"column": name}, Severity.CRITICAL, means)
        for name in ("request_id", "status_code")
    ]
    assert (first.parameters, enough.parameters) == ((), (Parameter.FEWEST_ROWS,))
    assert enough.given({Parameter.FEWEST_ROWS: 7}).arguments == {"min_value": 7, "max_value": 1000}
    with pytest.raises(KeyError):
        enough.given({Parameter.MOST_ROWS: 7})


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("of: rows", "of: row", 3, "expectations.0.of: Input should be 'rows', 'repeated_ids'"),
        (
            "to_not_be_null",
            "to_be_null",
            4,
            "there is no 'expect_column_values_to_be_null'; there are",
        ),
        (
            "request_id, status_code",
            "request_id, size",
            2,
            "rows has no column 'size'; there are timestamp, request_id",
        ),
        ("    columns: [request_id, status_code]\n", "", 2, "expect_column_values_to_not_be_null takes a column"),
        ("max_value: 1000", "column: hour", 8, "rows has no column 'hour'"),
        ("max_value: 1000", "column: request_id", 8, "expect_table_row_count_to_be_between takes no column"),
        ("max_value: 1000", "most: 1000", 11, "expectations.1.arguments.most: Extra inputs are not permitted"),
        (
            "max_value: 1000",
            "max_value: many",
            11,
            "expectations.1.arguments.max_value: Value error, expected a number",
        ),
        ("$PARAMETER: fewest_rows", "$PARAMETER: few", 11, "or {$PARAMETER: …} with one of fewest_rows, most_rows"),
        ("max_value: 1000", "regex: a", 8, "expect_table_row_count_to_be_between takes no regex"),
        ("max_value: 1000", "regex: (", 11, "expectations.1.arguments.regex: Value error, not a regular expression"),
        (
            "_row_count_to_be_between\n    arguments: {",
            "_row_count_to_be_between\n    arguments: {}\n    #",
            8,
            "needs min_",
        ),
        ("severity: warning", "severity: fatal", 12, "expectations.1.severity"),
        ("id: enough", "id: there_request_id", 8, "there is an expectation called there_request_id already"),
        ("id: enough", "id: Enough!", 8, "expectations.1.id"),
        ("means: there are enough", "means: a\n    means: b", 14, "key 'means' is there twice"),
        (GOOD, "expectations: []", 1, "expectations: List should have at least 1 item"),
        (GOOD, "- [", 1, "not YAML"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_reason(
    tmp_path: Path, old: str, new: str, line: int, reason: str
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(InvalidExpectations) as caught:
        load_expectations(path)
    assert (caught.value.path, caught.value.line) == (str(path), line), caught.value
    assert reason in caught.value.reason


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(InvalidExpectations, match="No such file"):
        load_expectations(tmp_path / "day.yaml")


def test_the_shipped_file_asks_for_every_required_field_and_every_column_of_ours() -> None:
    schema = base_schema("api6-logs-value")
    never_null = {one.arguments["column"] for one in SHIPPED if one.type == "expect_column_values_to_not_be_null"}
    assert never_null == {field.name for field in schema.fields if not field.nullable} | set(STAMPS)


def test_the_shipped_file_uses_every_asset_and_every_parameter() -> None:
    assert {one.of for one in SHIPPED} == set(Asset)
    assert {name for one in SHIPPED for name in one.parameters} == set(Parameter)
