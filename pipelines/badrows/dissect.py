"""One value laid open: which bytes belong to which field, and what they say, up to the point where it breaks.

Personal fields are masked in both views, and so are bytes that belong to no field, since nobody knows what they hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipelines.badrows.registered import first_values, layout
from pipelines.contracts import avro_walk, wire
from pipelines.contracts.evaluate import MASK
from pipelines.errors import UsageError
from pipelines.records import Violation

REST = "(no field)"
MAGIC, SCHEMA_ID, HEADER = "(magic byte)", "(schema id)", "(header)"
BROKEN = "(broken)"


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
    """Lay a Kafka value open. ``writers``: schema id → schema; ``personal``: fields to mask, nothing means no mask."""
    framed = wire.parse(raw)
    if isinstance(framed, Violation):
        return _unframed(raw or b"", framed, personal)
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
    walked = avro_walk.walk(schema.parsed, framed.body)
    broken_in = walked.problem.field if walked.problem else None
    values = first_values(schema, len(walked.spans) - (broken_in is not None), framed.body)
    for span in walked.spans:
        value = BROKEN if span.field == broken_in else str(values[span.field])
        start, end = span.start + wire.HEADER_LENGTH, span.end + wire.HEADER_LENGTH
        pieces.append(_piece(raw, span.field, start, end, value, masked=span.field in personal))
    pieces += _rest(raw, walked.end + wire.HEADER_LENGTH, personal)
    return Dissected(tuple(pieces), walked.problem.message if walked.problem else None)


def _unframed(raw: bytes, problem: Violation, personal: frozenset[str]) -> Dissected:
    header = [_piece(raw, HEADER, 0, min(len(raw), wire.HEADER_LENGTH), "")] if raw else []
    pieces = [*header, *_rest(raw, wire.HEADER_LENGTH, personal), *_json_fields(raw, personal)]
    return Dissected(tuple(pieces), problem.message)


def _json_fields(raw: bytes, personal: frozenset[str]) -> Iterator[Piece]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return
    for name, value in found.items() if isinstance(found, dict) else ():
        yield Piece(str(name), None, None, "", MASK if name in personal else str(value))


def _rest(raw: bytes, start: int, personal: frozenset[str]) -> list[Piece]:
    left = len(raw) - start
    return [_piece(raw, REST, start, len(raw), f"{left} bytes", masked=bool(personal))] if left > 0 else []


def _piece(raw: bytes, name: str, start: int, end: int, value: str, *, masked: bool = False) -> Piece:
    shown = " ".join(["**"] * (end - start)) if masked else raw[start:end].hex(" ")
    return Piece(name, start, end, shown, MASK if masked and name != REST else value)
