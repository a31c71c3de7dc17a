"""Versions of a subject → one reader that all of them are read with, and why a version can't be (law 6).

The reader has the columns of the schema that the platform was built for, and behind them, nullable, whatever compatible
versions have added since. A renamed field that names its old self as an alias stays in its old column; a wider number
widens the column; an enum has the symbols of all versions. A version that fits none of this is *refused*: its records
are bad data, those of the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.contracts import avro
from pipelines.contracts.writer import MAX_SYMBOLS, Field, LogSchema, SchemaSet, Writer
from pipelines.errors import InvalidSetting, UsageError
from pipelines.records import OWN_COLUMNS

BASE_VERSION = 1
"""Version of a subject that tables, index templates and business rules are made for.

It never becomes a later one: tables are not rewritten, so columns keep the names and the order that they began with,
whatever ``schemas/`` has shipped since.
"""

_WIDER = {("int", "long"), ("float", "double")}
"""Promotions of Avro that lose no digits and stay within the type of a column."""


class _Refused(Exception):
    """Why a version can't be read into the columns there are."""


@dataclass(frozen=True, slots=True)
class _Column:
    """One column while versions are added: the names that any version gave it, and what it must hold."""

    field: Field
    names: frozenset[str]
    is_base: bool


def merge(base: LogSchema, versions: Mapping[int, LogSchema]) -> SchemaSet:
    """The schema set for ``versions`` (registry id → schema, oldest first) and the columns of ``base``.

    Raises InvalidSetting only if ``base`` itself is no log schema.
    """
    columns = [_Column(_as_column(f), frozenset((f.name, *f.aliases)), is_base=True) for f in base.fields]
    readable: dict[int, LogSchema] = {}
    refused: dict[int, str] = {}
    for schema_id, version in versions.items():
        try:
            columns = _with(columns, version)
            readable[schema_id] = version
        except (_Refused, InvalidSetting) as error:
            refused[schema_id] = str(error)
    reader = LogSchema(_record([_reading(column) for column in columns]))
    writers = {schema_id: _writer(columns, version) for schema_id, version in readable.items()}
    required = {f.name for f in base.fields if not f.nullable}
    gone = tuple(f.name for f in reader.fields if f.nullable and f.name in required)
    return SchemaSet(reader, writers, refused, gone)


def base_schema(subject: str) -> LogSchema:
    """What the tables were made for. Raises UsageError when ``schemas/`` lacks it."""
    return LogSchema(avro.load(subject, BASE_VERSION).text)


def shipped(subject: str) -> dict[int, LogSchema]:
    """Number → version in ``schemas/``, ascending. Raises UsageError when there is none."""
    return {number: LogSchema(avro.load(subject, number).text) for number in avro.versions(subject)}


def columns_written(base: LogSchema, versions: Mapping[int, LogSchema], number: int) -> dict[str, str | None]:
    """Column of ``base`` → the field that version ``number`` writes into it; None if it writes none.

    Raises UsageError when the columns have no place for the version.
    """
    found = merge(base, versions)
    if number in found.refused:
        raise UsageError(f"the tables have no place for version {number}: {found.refused[number]}")
    fields = found.writers[number].fields
    return {f.name: fields[f.name].name if f.name in fields else None for f in base.fields}


def misfits(base: LogSchema, versions: Mapping[str, LogSchema]) -> dict[str, str]:
    """Which versions (any name → schema, oldest first) the columns of ``base`` have no place for, and why."""
    names = list(versions)
    refused = merge(base, dict(enumerate(versions.values()))).refused
    return {names[at]: reason for at, reason in refused.items()}


def unfit(version: LogSchema) -> str | None:
    """Why the version could not even have tables of its own: no flat record, a column twice, a name of the platform."""
    if not version.fields:
        return "a log has fields"
    return merge(LogSchema(_record([])), {BASE_VERSION: version}).refused.get(BASE_VERSION)


def _with(columns: Sequence[_Column], version: LogSchema) -> list[_Column]:
    """The columns when ``version`` is read too. Raises _Refused."""
    merged = list(columns)
    taken: dict[int, str] = {}
    for field in version.fields:
        at = _place(merged, field)
        if at is None:
            merged.append(_added(merged, field))
            at = len(merged) - 1
        else:
            merged[at] = _joined(merged[at], field)
        if at in taken:
            raise _Refused(f"fields {taken[at]} and {field.name} are both column {merged[at].field.name}")
        taken[at] = field.name
    for at, column in enumerate(merged):
        if at not in taken:
            merged[at] = _absent(column)
    return merged


def _place(columns: Sequence[_Column], field: Field) -> int | None:
    """Which column the field is: by its name, else by one of its aliases."""
    for name in (field.name, *field.aliases):
        for at, column in enumerate(columns):
            if name in column.names:
                return at
    return None


def _added(columns: Sequence[_Column], field: Field) -> _Column:
    """A column of its own for a new field. Nullable, as older records lack it, unless its default stands for them."""
    if field.name.startswith("_") or field.name.lower() in OWN_COLUMNS:
        raise _Refused(f"field {field.name}: the platform has a column of that name")
    if any(field.name.lower() == column.field.name.lower() for column in columns):
        raise _Refused(f"field {field.name}: differs from another column in upper and lower case only")
    has_default = field.default is not None and not field.nullable
    column = field if has_default else replace(field, null_branch=0)
    return _Column(_as_column(column), frozenset((field.name, *field.aliases)), is_base=False)


def _as_column(field: Field) -> Field:
    """Null comes first in the reader, as the default of what is absent."""
    return replace(field, null_branch=0, default=None) if field.nullable else field


def _joined(column: _Column, field: Field) -> _Column:
    """The column when it takes the field too."""
    have = column.field
    wider = _wider(have, field)
    symbols = (*have.symbols, *(s for s in field.symbols if s not in have.symbols))
    if len(symbols) > MAX_SYMBOLS:
        raise _Refused(f"field {field.name}: all versions together have more than {MAX_SYMBOLS} symbols")
    names = column.names | {field.name, *field.aliases}
    joined = replace(have, type=wider, symbols=symbols, null_branch=0 if field.nullable else have.null_branch)
    return _Column(_as_column(joined), names, column.is_base)


def _wider(have: Field, field: Field) -> str:
    """The type that holds both."""
    if have.type == field.type or (field.type, have.type) in _WIDER:
        return have.type
    if (have.type, field.type) in _WIDER:
        return field.type
    if {have.type, field.type} == {"string", "bytes"}:
        return have.type
    raise _Refused(f"field {field.name}: {field.type} can't be read as {have.type}")


def _absent(column: _Column) -> _Column:
    """The column when a version lacks it."""
    have = column.field
    if have.nullable or have.default is not None:
        return column
    if column.is_base:
        raise _Refused(f"field {have.name} is required, and this version lacks it")
    return replace(column, field=replace(have, null_branch=0))


def _writer(columns: Sequence[_Column], version: LogSchema) -> Writer:
    """The version in the words of the reader: the same bytes, its own field names, and an enum named as its column."""
    fields: dict[str, Field] = {}
    written = []
    for field in version.fields:
        at = _place(columns, field)
        assert at is not None, "every field of a readable version has a column"
        column = columns[at].field.name
        fields[column] = field
        written.append({"name": field.name, "type": _type(field, column)})
    return Writer(_record(written), fields)


def _reading(column: _Column) -> dict[str, Any]:
    field = column.field
    entry = {"name": field.name, "type": _type(field, field.name), "aliases": sorted(column.names - {field.name})}
    if field.nullable:
        return entry | {"default": None}
    return entry if field.default is None else entry | {"default": field.default}


def _type(field: Field, column: str) -> Any:
    kind: Any = field.type
    if kind == "enum":
        kind = {"type": "enum", "name": f"{column}_symbols", "symbols": list(field.symbols)}
    if field.null_branch is None:
        return kind
    return ["null", kind] if field.null_branch == 0 else [kind, "null"]


def _record(fields: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"type": "record", "name": "Log", "fields": fields})
