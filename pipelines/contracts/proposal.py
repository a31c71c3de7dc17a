"""A proposed version of a log schema beside the registered ones: what it can read, and what becomes of the columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipelines.contracts.compatibility import Problem, problems
from pipelines.contracts.evolution import merge
from pipelines.contracts.writer import Field, LogSchema, SchemaSet

PROPOSED_ID = 2**32 - 1
"""Schema id of the proposed version among the registered ones: the last one there can be."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """How records are read today, and how they would be with the proposed version.

    ``incompatible``: registry id → why the proposed version can't read what that version wrote; compatible ids are not
    in it. ``misfit``: why the columns have no place for the proposed version, so that its records would be invalid.
    """

    registered: tuple[int, ...]
    today: SchemaSet
    proposed: SchemaSet
    incompatible: Mapping[int, tuple[Problem, ...]]
    changes: tuple[ColumnChange, ...]
    misfit: str | None = None


class Change(StrEnum):
    """What a version does to a column."""

    NEW = "new"
    WIDENED = "widened"
    NULLABLE = "nullable"
    NOT_WRITTEN = "not_written"
    """No field of the version is read into it: null, or its default, in every record of the version."""


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One column that is not as before. ``was`` and ``becomes`` are types; empty where there is none."""

    column: str
    change: Change
    was: str
    becomes: str


def propose(base: LogSchema, versions: Mapping[int, LogSchema], version: LogSchema) -> Proposal:
    """Put ``version`` beside the registered ``versions`` (id → schema) of tables made for ``base``.

    Raises InvalidSetting if one of them is no flat log record.
    """
    found = {schema_id: tuple(problems(version.text, v.text)) for schema_id, v in versions.items()}
    today, proposed = _sets(base, versions, version)
    changes = _changes(today.reader, proposed.reader, version)
    incompatible = {i: p for i, p in found.items() if p}
    return Proposal(tuple(versions), today, proposed, incompatible, changes, proposed.refused.get(PROPOSED_ID))


def _sets(base: LogSchema, versions: Mapping[int, LogSchema], version: LogSchema) -> tuple[SchemaSet, SchemaSet]:
    """The sets without and with the proposed version."""
    return merge(base, versions), merge(base, {**versions, PROPOSED_ID: version})


def _changes(today: LogSchema, proposed: LogSchema, version: LogSchema) -> tuple[ColumnChange, ...]:
    before = {f.name: f for f in today.fields}
    written = {name for f in version.fields for name in (f.name, *f.aliases)}
    changes = []
    for field in proposed.fields:
        was = before.get(field.name)
        if was is None:
            changes.append(ColumnChange(field.name, Change.NEW, "", _type(field)))
        elif was.type != field.type:
            changes.append(ColumnChange(field.name, Change.WIDENED, _type(was), _type(field)))
        elif field.nullable and not was.nullable:
            changes.append(ColumnChange(field.name, Change.NULLABLE, _type(was), _type(field)))
        if was is not None and not written & {field.name, *field.aliases}:
            changes.append(ColumnChange(field.name, Change.NOT_WRITTEN, _type(was), _type(field)))
    return tuple(changes)


def _type(field: Field) -> str:
    return f"{field.type} or null" if field.nullable else field.type
