"""A subject's schemas as the stream needs them: writer schemas by id, and the reader schema all of them end in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.contracts.rules import NUMBER, TEXT
from pipelines.errors import InvalidSetting
from pipelines.records import LOG_FIELDS

MAX_SYMBOLS = 64
"""More would take a second byte each."""

_NUMBERS = {"int", "long", "float", "double"}
_TEXTS = {"string", "enum"}
_PRIMITIVES = _NUMBERS | _TEXTS | {"bytes", "boolean"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a flat Avro record.

    ``type``: the Avro primitive or ``enum``; ``null_branch``: position of null in its union; ``symbols`` of an enum.
    """

    name: str
    type: str
    null_branch: int | None
    default: Any
    aliases: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()

    @property
    def nullable(self) -> bool:
        return self.null_branch is not None

    @property
    def kind(self) -> str | None:
        """``number``, ``text`` or None: what business rules may say of the field."""
        return NUMBER if self.type in _NUMBERS else TEXT if self.type in _TEXTS else None


@dataclass(frozen=True)
class LogSchema:
    """One version of a flat Avro record schema."""

    text: str

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Fields in writing order. Raises InvalidSetting for a schema that is not a flat record."""
        try:
            schema = json.loads(self.text)
        except ValueError as error:
            raise InvalidSetting(f"a schema is no JSON: {error}") from None
        if not isinstance(schema, dict) or schema.get("type") != "record" or "fields" not in schema:
            raise InvalidSetting(f"a log schema is an Avro record, not {self.text[:80]}")
        try:
            return tuple(_field(raw) for raw in schema["fields"])
        except (KeyError, TypeError) as error:
            raise InvalidSetting(f"not an Avro record schema: {error!r}") from None

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Field name → ``number`` or ``text``, for the rule file."""
        return {f.name: f.kind for f in self.fields if f.kind is not None}


@dataclass(frozen=True, slots=True)
class Writer:
    """One version as it is read. ``text``: its layout, without logical types; ``fields``: column → field it writes."""

    text: str
    fields: Mapping[str, Field]


@dataclass(frozen=True)
class SchemaSet:
    """All that is needed to decode a batch: writers by registry id, read against ``reader`` (law 6).

    ``refused``: registry id → why its records can't be read. ``gone_nullable``: columns that must not be null though
    some version lets them be. Made by ``evolution.merge``.
    """

    reader: LogSchema
    writers: Mapping[int, Writer]
    refused: Mapping[int, str]
    gone_nullable: tuple[str, ...] = ()

    @cached_property
    def added(self) -> tuple[Field, ...]:
        """Fields behind the ten of every API6 log."""
        return tuple(f for f in self.reader.fields if f.name not in LOG_FIELDS)

    @cached_property
    def key(self) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        """Equal for sets that decode alike."""
        return self.reader.text, tuple(sorted(self.writers)), tuple(sorted(self.refused))


def _field(raw: Mapping[str, Any]) -> Field:
    branches = raw["type"] if isinstance(raw["type"], list) else [raw["type"]]
    kinds = [b["type"] if isinstance(b, dict) else b for b in branches]
    values = [k for k in kinds if k != "null"]
    symbols = tuple(s for b in branches if isinstance(b, dict) for s in b.get("symbols", ()))
    if len(symbols) > MAX_SYMBOLS:
        raise InvalidSetting(f"field {raw['name']}: an enum of a log has at most {MAX_SYMBOLS} symbols")
    is_union_of_one = isinstance(raw["type"], list) and len(branches) == 1  # it would write a byte for nothing
    if len(values) != 1 or len(kinds) > 2 or is_union_of_one or values[0] not in _PRIMITIVES:
        raise InvalidSetting(
            f"field {raw['name']}: a log field is a primitive or an optional primitive, not {raw['type']}"
        )
    null_branch = kinds.index("null") if "null" in kinds else None
    return Field(raw["name"], values[0], null_branch, raw.get("default"), tuple(raw.get("aliases", ())), symbols)
