"""A subject's registered versions, as repairs need them: any of them, also those that the jobs refuse to read."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import fastavro

from pipelines.contracts import avro
from pipelines.contracts.avro import Schema
from pipelines.errors import UsageError


@dataclass(frozen=True)
class Registered:
    """A subject's schemas. ``ids``: registry version → id. ``texts``: id → schema."""

    ids: Mapping[int, int]
    texts: Mapping[int, str]

    def newest(self, readable: Collection[int]) -> int | None:
        """The newest version whose id is ``readable``; None if there is none."""
        return max((version for version, schema_id in self.ids.items() if schema_id in readable), default=None)

    @property
    def names(self) -> frozenset[str]:
        """Every field of any version."""
        return frozenset(field["name"] for text in self.texts.values() for field in fields(text))

    @cached_property
    def families(self) -> dict[str, frozenset[str]]:
        """Name → all names that the field has had, by the aliases of all versions."""
        found: dict[str, frozenset[str]] = {}
        for text in self.texts.values():
            for field in fields(text):
                names = {field["name"], *field.get("aliases", ())}
                family = frozenset(names.union(*(found.get(name, ()) for name in names)))
                found |= dict.fromkeys(family, family)
        return found

    def relatives(self, names: Iterable[str]) -> frozenset[str]:
        """These names and all that the same fields have had."""
        return frozenset().union(*(self.families.get(name, {name}) for name in names))


@cache
def layout(text: str) -> Schema:
    """A registered schema without logical types, so that every number and text is what the bytes say.

    Raises UsageError for what is no Avro record.
    """
    try:
        found = _plain(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not an Avro schema: {error}") from None
    schema = avro.parse(json.dumps(found))
    if not isinstance(schema.parsed, dict) or schema.parsed.get("type") != "record":
        raise UsageError("not an Avro record")
    return schema


def first_values(schema: Schema, count: int, body: bytes) -> dict[str, Any]:
    """The first fields of a body, which must be sound that far; what follows is not looked at."""
    whole = json.loads(schema.text)
    part = layout(json.dumps({**whole, "fields": whole["fields"][:count]}))
    found: Any = fastavro.schemaless_reader(io.BytesIO(body), part.parsed, None)
    return dict(found)


def fields(text: str) -> list[dict[str, Any]]:
    """The fields of a registered schema as Avro describes them; none if it is no record."""
    try:
        return list(layout(text).parsed["fields"])
    except UsageError:
        return []


def _plain(part: Any) -> Any:
    if isinstance(part, list):
        return [_plain(inner) for inner in part]
    if isinstance(part, dict):  # a default is data: it may have a key of that name
        return {k: v if k == "default" else _plain(v) for k, v in part.items() if k != "logicalType"}
    return part
