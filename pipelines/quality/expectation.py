"""What is expected of a day, as data: ``conf/quality/api6-logs.yaml`` has it, Great Expectations checks it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from pipelines.contracts import yaml_file
from pipelines.errors import InvalidExpectations
from pipelines.records import LOG_FIELDS, Severity


class Asset(StrEnum):
    """What an expectation is about; ``pipelines.quality.frames`` makes each of it."""

    ROWS = "rows"
    REPEATED_IDS = "repeated_ids"
    HOURS = "hours"
    RECORDS = "records"
    STATUS_CLASSES = "status_classes"


class Parameter(StrEnum):
    """Limits that stand in the settings or follow from the days before; see ``pipelines.quality.limits``."""

    FEWEST_ROWS = "fewest_rows"
    MOST_ROWS = "most_rows"
    MAX_STATUS_SHIFT = "max_status_shift"
    MAX_REFUSED_SHARE = "max_refused_share"
    LEAST_SHARE_BELOW_500 = "least_share_below_500"


STAMPS = (
    *("event_time", "kafka_partition", "kafka_offset", "kafka_timestamp"),
    *("schema_id", "content_hash", "batch_id", "ingested_at"),
)
"""What the platform adds to a log."""

COLUMNS: Mapping[Asset, tuple[str, ...]] = {
    Asset.ROWS: (*LOG_FIELDS, *STAMPS, "ms_into_hour", "event_time_off_ms"),
    Asset.REPEATED_IDS: ("request_id", "rows", "most_in_an_hour", "hours"),
    Asset.HOURS: ("hour", "ledger_rows", "rows"),
    Asset.RECORDS: ("valid", "refused", "refused_share"),
    Asset.STATUS_CLASSES: ("status_class", "share", "usual_share", "moved"),
}

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
_BOUNDS, _STRICT = ("min_value", "max_value"), ("strict_min", "strict_max")
TYPES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "expect_column_values_to_not_be_null": ((), ("mostly",)),
    "expect_column_values_to_be_between": (_BOUNDS, (*_STRICT, "mostly")),
    "expect_column_values_to_be_in_set": (("value_set",), ("mostly",)),
    "expect_column_values_to_match_regex": (("regex",), ("mostly",)),
    "expect_column_value_lengths_to_be_between": (_BOUNDS, (*_STRICT, "mostly")),
    "expect_column_max_to_be_between": (_BOUNDS, _STRICT),
    "expect_column_sum_to_be_between": (_BOUNDS, _STRICT),
    "expect_table_row_count_to_be_between": (_BOUNDS, ()),
}
"""Expectation → arguments of which it needs one at least, and those it takes besides.

These are the ones whose figures come out of one Spark aggregation for a whole asset, whatever their number.
"""


def _limit(value: object) -> object:
    match value:
        case bool():
            pass
        case int() | float():
            return value
        case {"$PARAMETER": str(name), **rest} if not rest and name in list(Parameter):
            return Parameter(name)
    raise ValueError(f"expected a number, or {{$PARAMETER: …}} with one of {', '.join(Parameter)}")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


Limit = Annotated[int | float | Parameter, PlainValidator(_limit)]
Pattern = Annotated[str, AfterValidator(_pattern)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Arguments(_Part):
    column: str | None = None
    min_value: Limit | None = None
    max_value: Limit | None = None
    strict_min: bool | None = None
    strict_max: bool | None = None
    value_set: list[StrictStr | StrictInt] | None = Field(None, min_length=1)
    regex: Pattern | None = None
    mostly: Limit | None = None


Value = str | int | float | bool | list[str | int] | Parameter


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation. ``arguments``: those of Great Expectations; a Parameter among them waits for its value."""

    id: str
    of: Asset
    type: str
    arguments: Mapping[str, Value]
    severity: Severity
    means: str

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters that have no value yet."""
        return tuple(value for value in self.arguments.values() if isinstance(value, Parameter))

    @property
    def is_of_table(self) -> bool:
        """Whether it is about the number of rows, so that it can be asked where there is none."""
        return self.type.startswith("expect_table")

    def given(self, values: Mapping[Parameter, float]) -> Expectation:
        """The same with values for its parameters. Raises KeyError for one that has none."""
        known = {k: values[v] if isinstance(v, Parameter) else v for k, v in self.arguments.items()}
        return replace(self, arguments=known)


class _Entry(_Part):
    id: Name
    of: Asset
    expect: str
    severity: Severity
    means: str = Field(min_length=1, max_length=200)
    columns: list[str] = []
    arguments: _Arguments = _Arguments()

    @field_validator("expect")
    @classmethod
    def _is_known(cls, expect: str) -> str:
        if expect not in TYPES:
            raise ValueError(f"there is no {expect!r}; there are {', '.join(TYPES)}")
        return expect

    @model_validator(mode="after")
    def _has_its_arguments(self) -> Self:
        needed, optional = TYPES[self.expect]
        given = self.arguments.model_fields_set - {"column"}
        if extra := given - {*needed, *optional}:
            raise ValueError(f"{self.expect} takes no {min(extra)}")
        if needed and not given & {*needed}:
            raise ValueError(f"{self.expect} needs {' or '.join(needed)}")
        return self

    @model_validator(mode="after")
    def _is_about_columns_that_exist(self) -> Self:
        named = [*self.columns, *filter(None, [self.arguments.column])]
        if unknown := [name for name in named if name not in COLUMNS[self.of]]:
            raise ValueError(f"{self.of} has no column {unknown[0]!r}; there are {', '.join(COLUMNS[self.of])}")
        if self.columns and self.arguments.column:
            raise ValueError("it has either columns or a column among its arguments, not both")
        if bool(named) != self.expect.startswith("expect_column"):
            raise ValueError(f"{self.expect} takes {'no' if named else 'a'} column")
        return self

    def expectations(self) -> list[Expectation]:
        own = {name: value for name, value in self.arguments if value is not None}
        each = [(f"{self.id}_{column}", {"column": column} | own) for column in self.columns] or [(self.id, own)]
        return [Expectation(name, self.of, self.expect, args, self.severity, self.means) for name, args in each]


class _File(_Part):
    expectations: list[_Entry] = Field(min_length=1)


def load_expectations(path: Path) -> tuple[Expectation, ...]:
    """Every expectation of the file, in its order. Raises InvalidExpectations with file, line and reason."""
    file = yaml_file.read(path, InvalidExpectations)
    entries = file.parse(_File).expectations
    found = [(n, one) for n, entry in enumerate(entries) for one in entry.expectations()]
    seen: set[str] = set()
    for n, one in found:
        if one.id in seen:
            raise file.refused(("expectations", n), f"there is an expectation called {one.id} already")
        seen.add(one.id)
    return tuple(one for _, one in found)
