"""Can one version of a schema read what another one wrote? Says of every field why not.

Rules: avro.apache.org, specification 1.11, "Schema Resolution", "Aliases" and, for decimals, "Logical Types". What the
specification leaves to the reader at run time counts as a problem here, as in the schema registry: a branch of a union
that the writer may choose must be readable whether or not any record chooses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from pipelines.contracts import avro

PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
"""Type of the writer → other types that a reader may have for it."""

_NAMED = {"record", "error", "enum", "fixed"}
_MAX_SHOWN = 3


class Incompatibility(StrEnum):
    """What is wrong between two schemas at one place; the code of a Problem."""

    TYPE_MISMATCH = "type_mismatch"
    NAME_MISMATCH = "name_mismatch"
    MISSING_DEFAULT = "missing_default"
    ENUM_SYMBOL_MISSING = "enum_symbol_missing"
    FIXED_SIZE = "fixed_size"
    UNION_BRANCH_MISSING = "union_branch_missing"
    """One of the types that the writer may choose, where either side is a union, is none of the reader's."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a reader can't read what a writer wrote.

    ``path``: ``fields.user.address`` in the reader's names, ``[]`` for the items of an array, ``{}`` for the values of
    a map, empty for the schema as a whole. A type that several fields share is reported
    where it is met first.
    """

    path: str
    code: Incompatibility
    message: str


def problems(reader: avro.Schema | str, writer: avro.Schema | str) -> list[Problem]:
    """Every reason why ``reader`` can't read what ``writer`` wrote; none if it can.

    Raises UsageError for text that is no Avro schema.
    """
    reading, writing = (avro.parse(s).parsed if isinstance(s, str) else s.parsed for s in (reader, writer))
    resolution = _Resolution(_names(reading), _names(writing))
    resolution.resolve(reading, writing, "")
    return resolution.found


def backward(versions: Sequence[avro.Schema | str]) -> list[tuple[int, Problem]]:
    """Problems of each version in reading its predecessor, as BACKWARD in the registry: (number from 1, problem)."""
    steps = enumerate(pairwise(versions), start=2)
    return [(number, problem) for number, (older, newer) in steps for problem in problems(newer, older)]


class _Resolution:
    """Walks both schemas side by side. Pairs of records are walked once, so recursion ends."""

    def __init__(self, reader_names: dict[str, Any], writer_names: dict[str, Any]) -> None:
        self._reader_names, self._writer_names = reader_names, writer_names
        self._seen: set[tuple[str, str]] = set()
        self.found: list[Problem] = []

    def resolve(self, reader: Any, writer: Any, path: str) -> None:
        reader, writer = _definition(reader, self._reader_names), _definition(writer, self._writer_names)
        if isinstance(reader, list) or isinstance(writer, list):
            for branch in writer if isinstance(writer, list) else [writer]:
                self._branch(reader, _definition(branch, self._writer_names), path)
        elif _are_of_one_kind(reader, writer):
            self._pair(reader, writer, path)
        else:
            self._add(path, Incompatibility.TYPE_MISMATCH, _cannot_be_read(reader, writer))

    def _branch(self, reader: Any, writer: Any, path: str) -> None:
        """One type that the writer may choose: the first of the reader's that matches must read it."""
        choices = [_definition(c, self._reader_names) for c in (reader if isinstance(reader, list) else [reader])]
        matching = [c for c in choices if _are_of_one_kind(c, writer) and _have_one_name(c, writer)]
        if not matching:
            self._add(path, Incompatibility.UNION_BRANCH_MISSING, _cannot_be_read(reader, writer))
            return
        has_size = [c for c in matching if c.get("size") == writer.get("size")]
        self._pair((has_size or matching)[0], writer, path)

    def _pair(self, reader: Any, writer: Any, path: str) -> None:
        """Two types of one kind, neither a union."""
        if not _have_one_name(reader, writer):
            self._add(path, Incompatibility.NAME_MISMATCH, _cannot_be_read(reader, writer))
            return
        if _decimal(reader) != _decimal(writer) and None not in (_decimal(reader), _decimal(writer)):
            self._add(path, Incompatibility.TYPE_MISMATCH, _cannot_be_read(reader, writer))
        match _kind(writer):
            case "record":
                self._record(reader, writer, path)
            case "enum":
                self._enum(reader, writer, path)
            case "fixed" if reader["size"] != writer["size"]:
                text = f"{writer['size']} bytes can't be read as the {reader['size']} bytes of fixed {reader['name']}"
                self._add(path, Incompatibility.FIXED_SIZE, text)
            case "array":
                self.resolve(reader["items"], writer["items"], f"{path}[]")
            case "map":
                self.resolve(reader["values"], writer["values"], f"{path}{{}}")

    def _record(self, reader: Any, writer: Any, path: str) -> None:
        pair = reader["name"], writer["name"]
        if pair in self._seen:
            return
        self._seen.add(pair)
        own_names = {field["name"] for field in reader["fields"]}
        for field in reader["fields"]:
            others = set(field.get("aliases", ())) - own_names
            sources = [f for f in writer["fields"] if f["name"] == field["name"] or f["name"] in others]
            self._field(field, sources, f"{path or 'fields'}.{field['name']}")

    def _field(self, field: Any, sources: Sequence[Any], path: str) -> None:
        if len(sources) > 1:
            names = " and ".join(source["name"] for source in sources)
            text = f"{names} of the writer would both be read as this one"
            self._add(path, Incompatibility.NAME_MISMATCH, text)
        elif sources:
            self.resolve(field["type"], sources[0]["type"], path)
        elif "default" not in field:
            text = "the writer has no such field, and the reader has no default for it"
            self._add(path, Incompatibility.MISSING_DEFAULT, text)

    def _enum(self, reader: Any, writer: Any, path: str) -> None:
        missing = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        if missing and "default" not in reader:
            more = f" and {len(missing) - _MAX_SHOWN} more" if len(missing) > _MAX_SHOWN else ""
            text = f"{', '.join(missing[:_MAX_SHOWN])}{more} can't be read: enum {reader['name']} has no such symbol"
            self._add(path, Incompatibility.ENUM_SYMBOL_MISSING, f"{text} and no default")

    def _add(self, path: str, code: Incompatibility, text: str) -> None:
        where = f"field {path.removeprefix('fields.')}" if path else "the schema"
        self.found.append(Problem(path, code, f"{where}: {text}"))


def _cannot_be_read(reader: Any, writer: Any) -> str:
    return f"{_shown(writer)} can't be read as {_shown(reader)}"


def _are_of_one_kind(reader: Any, writer: Any) -> bool:
    return _kind(reader) == _kind(writer) or _kind(reader) in PROMOTIONS.get(_kind(writer), ())


def _have_one_name(reader: Any, writer: Any) -> bool:
    """Unqualified names count; an alias of the reader means the writer's full name. Types without a name always do."""
    if writer["type"] not in _NAMED:
        return True
    namespace, _, name = reader["name"].rpartition(".")
    aliases = (a if "." in a or not namespace else f"{namespace}.{a}" for a in reader.get("aliases", ()))
    return name == writer["name"].rpartition(".")[2] or writer["name"] in aliases


def _decimal(schema: Any) -> tuple[int, int] | None:
    """Precision and scale of a decimal."""
    if schema.get("logicalType") != "decimal" or "precision" not in schema:
        return None
    return schema["precision"], schema.get("scale", 0)


def _kind(schema: Any) -> str:
    return "record" if schema["type"] == "error" else str(schema["type"])


def _shown(schema: Any) -> str:
    """A type in the words of a message."""
    if isinstance(schema, list):
        return " or ".join(map(_shown, schema)) or "an empty union"
    if isinstance(schema, str):
        return schema
    kind, decimal = _kind(schema), _decimal(schema)
    if kind in _NAMED:
        return f"{kind} {schema['name']}"
    if decimal is not None:
        return f"decimal({decimal[0]}, {decimal[1]})"
    inner = {"array": "items", "map": "values"}.get(kind)
    return f"{kind} of {_shown(schema[inner])}" if inner else kind


def _definition(schema: Any, names: dict[str, Any]) -> Any:
    """A union as its list; any other type as a mapping, a name replaced by what it stands for."""
    return schema if isinstance(schema, (list, dict)) else names.get(schema, {"type": schema})


def _names(schema: Any) -> dict[str, Any]:
    """Full name → definition of every named type in a parsed schema."""
    if isinstance(schema, list):
        return {name: found for branch in schema for name, found in _names(branch).items()}
    if not isinstance(schema, dict):
        return {}
    inner = [schema[key] for key in ("items", "values") if key in schema]
    inner += [field["type"] for field in schema.get("fields", ())]
    own = {schema["name"]: schema} if schema["type"] in _NAMED else {}
    return own | {name: found for part in inner for name, found in _names(part).items()}
