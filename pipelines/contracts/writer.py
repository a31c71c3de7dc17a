"""A subject's schemas as the stream needs them: writer schemas by id, and the reader schema all of them end in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.contracts.rules import NUMBER, TEXT
from pipelines.errors import InvalidSetting

MAX_SYMBOLS = 64
"""More would take a second byte each."""

_NUMBERS = {"int", "long", "float", "double"}
_TEXTS = {"string", "enum"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a flat Avro record. ``type``: the Avro primitive; ``null_branch``: position of null in its union."""

    name: str
    type: str
    null_branch: int | None
    default: Any
    aliases: tuple[str, ...]

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
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise InvalidSetting(f"a log schema is an Avro record, not {self.text[:80]}")
        return tuple(_field(raw) for raw in schema["fields"])

    @cached_property
    def plain(self) -> str:
        """The schema without logical types: the bytes are the same, and Spark leaves a number the number it is."""
        return json.dumps(_without_logical_types(json.loads(self.text)))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Field name → ``number`` or ``text``, for the rule file."""
        return {f.name: f.kind for f in self.fields if f.kind is not None}


@dataclass(frozen=True)
class SchemaSet:
    """All that is needed to decode a batch: writer schemas by registry id, read against ``reader`` (law 6)."""

    reader: LogSchema
    writers: Mapping[int, LogSchema]


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    if isinstance(schema, dict):
        return {key: _without_logical_types(part) for key, part in schema.items() if key != "logicalType"}
    return schema


def _field(raw: Mapping[str, Any]) -> Field:
    branches = raw["type"] if isinstance(raw["type"], list) else [raw["type"]]
    kinds = [b["type"] if isinstance(b, dict) else b for b in branches]
    values = [k for k in kinds if k != "null"]
    if any(isinstance(b, dict) and len(b.get("symbols", ())) > MAX_SYMBOLS for b in branches):
        raise InvalidSetting(f"field {raw['name']}: an enum of a log has at most {MAX_SYMBOLS} symbols")
    if len(values) != 1 or len(kinds) > 2 or values[0] in {"record", "array", "map", "fixed"}:
        raise InvalidSetting(
            f"field {raw['name']}: a log field is a primitive or an optional primitive, not {raw['type']}"
        )
    null_branch = kinds.index("null") if "null" in kinds else None
    return Field(raw["name"], values[0], null_branch, raw.get("default"), tuple(raw.get("aliases", ())))
