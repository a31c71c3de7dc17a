"""One value laid open: which bytes belong to which field, and what they say, up to the point where it breaks.

Masked in both views are personal fields, whatever a version calls them, and all of which nobody knows what it holds:
bytes of no field, nested values, and fields of a JSON value that no schema has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from pipelines.badrows.registered import first_values, layout
from pipelines.contracts import avro_walk, wire
from pipelines.contracts.evaluate import MASK
from pipelines.errors import UsageError
from pipelines.records import Violation

REST = "(no field)"
MAGIC, SCHEMA_ID, HEADER = "(magic byte)", "(schema id)", "(header)"
BROKEN = "(broken)"

_FLAT = {"null", "boolean", "int", "long", "float", "double", "bytes", "string", "fixed", "enum"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes ``[start, end)`` of a value: the field or part in brackets, its bytes in hex, and its value as text.

    A field of a JSON value has no place of its own: ``start`` is None and ``hex`` empty.
    """

    name: str
    start: int | None
    end: int | None
    hex: str
    value: str


@dataclass(frozen=True, slots=True)
class Dissected:
    """All pieces in order, and why there are no more fields."""

    pieces: tuple[Piece, ...]
    problem: str | None

    def fields(self) -> dict[str, str]:
        """Field → value as text, as far as the value could be read."""
        return {p.name: p.value for p in self.pieces if not p.name.startswith("(")}


def dissect(raw: bytes | None, writers: Mapping[int, str], personal: frozenset[str]) -> Dissected:
    """Lay a Kafka value open. ``writers``: schema id → schema; ``personal``: columns to mask, nothing means no mask.

    A message counts bytes from the start of the value, as ``start`` of the pieces does.
    """
    framed = wire.parse(raw)
    if isinstance(framed, Violation):
        return _unframed(raw or b"", framed, writers, personal)
    assert raw is not None
    pieces = [_piece(raw, MAGIC, 0, 1, "0"), _piece(raw, SCHEMA_ID, 1, wire.HEADER_LENGTH, str(framed.schema_id))]
    if framed.schema_id not in writers:
        rest = _rest(raw, wire.HEADER_LENGTH, personal)
        return Dissected((*pieces, *rest), f"schema id {framed.schema_id} is not of this topic's subject")
    try:
        schema = layout(writers[framed.schema_id])
    except UsageError as error:
        rest = _rest(raw, wire.HEADER_LENGTH, personal)
        return Dissected((*pieces, *rest), f"schema id {framed.schema_id} can't be read: {error}")
    walked = avro_walk.walk(schema.parsed, framed.body, wire.HEADER_LENGTH)
    in_clear = _in_clear(writers, personal)
    types = {field["name"]: field["type"] for field in schema.parsed["fields"]}
    broken_in = walked.problem.field if walked.problem else None
    values = first_values(schema, len(walked.spans) - (broken_in is not None), framed.body)
    for span in walked.spans:
        value = BROKEN if span.field == broken_in else str(values[span.field])
        start, end = span.start + wire.HEADER_LENGTH, span.end + wire.HEADER_LENGTH
        is_masked = not in_clear(span.field, _is_flat(types[span.field]))
        pieces.append(_piece(raw, span.field, start, end, value, masked=is_masked))
    pieces += _rest(raw, walked.end + wire.HEADER_LENGTH, personal)
    return Dissected(tuple(pieces), walked.problem.message if walked.problem else None)


def readable(value: bytes | None) -> str | None:
    """A key or a header's value: text if it is text, else hex."""
    if value is None:
        return None
    try:
        text = bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return bytes(value).hex(" ")
    return text if text.isprintable() else bytes(value).hex(" ")


def masked(value: bytes | None) -> str | None:
    """The same where its bytes must not be seen."""
    return None if value is None else f"{MASK} ({len(value)} bytes)"


def _unframed(raw: bytes, problem: Violation, writers: Mapping[int, str], personal: frozenset[str]) -> Dissected:
    header = [_piece(raw, HEADER, 0, min(len(raw), wire.HEADER_LENGTH), "")] if raw else []
    pieces = [*header, *_rest(raw, wire.HEADER_LENGTH, personal), *_json_fields(raw, _in_clear(writers, personal))]
    return Dissected(tuple(pieces), problem.message)


def _json_fields(raw: bytes, in_clear: Callable[[str, bool], bool]) -> Iterator[Piece]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return
    for name, value in found.items() if isinstance(found, dict) else ():
        is_shown = in_clear(name, not isinstance(value, dict | list))
        yield Piece(name, None, None, "", str(value) if is_shown else MASK)


def _in_clear(writers: Mapping[int, str], personal: frozenset[str]) -> Callable[[str, bool], bool]:
    """Whether a field may be shown, by its name and whether it is flat: some version has it, and none as personal."""
    if not personal:
        return lambda _name, _is_flat: True
    fields = _names(tuple(writers.values()))
    known, hidden = frozenset(chain.from_iterable(fields)), personal
    while wider := frozenset(chain.from_iterable(names for names in fields if names & hidden)) - hidden:
        hidden |= wider
    return lambda name, is_flat: is_flat and name in known - hidden


@cache
def _names(texts: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    """Name and aliases of every field of every version: those that share one are one column."""
    records = [schema for schema in map(_loaded, texts) if isinstance(schema, dict)]
    fields = [field for record in records for field in record.get("fields", ())]
    return tuple(frozenset((field["name"], *field.get("aliases", ()))) for field in fields)


def _loaded(text: str) -> Any:
    """A text of the registry may be anything."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_flat(kind: Any) -> bool:
    """Whether an Avro type, or each in a union, holds no others. A name stands for any type."""
    if isinstance(kind, list):
        return all(map(_is_flat, kind))
    return (kind["type"] if isinstance(kind, dict) else kind) in _FLAT


def _rest(raw: bytes, start: int, personal: frozenset[str]) -> list[Piece]:
    left = len(raw) - start
    return [_piece(raw, REST, start, len(raw), f"{left} bytes", masked=bool(personal))] if left > 0 else []


def _piece(raw: bytes, name: str, start: int, end: int, value: str, *, masked: bool = False) -> Piece:
    shown = " ".join(["**"] * (end - start)) if masked else raw[start:end].hex(" ")
    return Piece(name, start, end, shown, MASK if masked and name != REST else value)
