"""What fastavro lets through of a schema and other readers, Spark and the registry among them, do not.

Rules: avro.apache.org, specification 1.11, "Names" and "Complex Types" (defaults of fields).
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "array": (list,),
    "map": (dict,),
    "record": (dict,),
    "error": (dict,),
}
"""Avro type → what JSON gives for a default of it; a number for those below, a text for all others."""

_LARGEST: Mapping[str, float] = {
    "int": 2**31 - 1,
    "long": 2**63 - 1,
    "float": (2 - 2**-23) * 2.0**127,
    "double": sys.float_info.max,
}


def defects(schema: Any) -> Iterator[tuple[str, str]]:
    """Path of a field (empty: the schema itself) and what is wrong there, of a schema as fastavro parses it."""
    yield from _of(schema, "")


def _of(schema: Any, inside: str) -> Iterator[tuple[str, str]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _of(branch, inside)
    if not isinstance(schema, dict):
        return
    for part in schema.get("name", "_").split("."):
        if not _NAME.fullmatch(part):
            yield inside.removesuffix("."), f"{schema['name']!r} is no name in Avro"
    fields = schema.get("fields", ())
    for name, times in Counter(field["name"] for field in fields).items():
        if times > 1:
            yield f"{inside}{name}", f"there are {times} of that name"
    for field in fields:
        yield from _of_field(field, f"{inside}{field['name']}")
    for part in ("items", "values"):
        yield from _of(schema.get(part), inside)


def _of_field(field: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(field["name"]):
        yield path, "that is no name in Avro: letters, digits and _, no digit first"
    aliases = field.get("aliases", [])
    if not all(isinstance(alias, str) and _NAME.fullmatch(alias) for alias in aliases):
        yield path, f"aliases are names in Avro, not {aliases!r}"
    if "default" in field and not _fits(field["default"], field["type"]):
        yield path, f"the default {field['default']!r} is not of its (first) type"
    yield from _of(field["type"], f"{path}.")


def _fits(default: Any, schema: Any) -> bool:
    """Whether it is of the type, in a union of its first: registry and Spark refuse a schema with another one."""
    first = schema[0] if isinstance(schema, list) else schema
    kind = first["type"] if isinstance(first, dict) else first
    if kind == "enum":
        return bool(default in first["symbols"])
    if isinstance(default, bool):
        return bool(kind == "boolean")
    if kind in _LARGEST:
        limit = _LARGEST[kind]
        is_number = isinstance(default, int) or (isinstance(default, float) and kind in ("float", "double"))
        return is_number and bool(-limit - 1 <= default <= limit)
    if kind in ("bytes", "fixed"):
        return isinstance(default, str) and all(character <= "\u00ff" for character in default)
    is_name: bool = kind not in _JSON_TYPES and kind != "string"
    return is_name or isinstance(default, _JSON_TYPES.get(kind, (str,)))
