"""A document as a row of the valid table, as far as its values still have the types they must have. No Spark."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.reconcile.repair_plan import Place

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES: dict[str, type[Any] | tuple[type[Any], ...]] = {
    "bigint": int,
    "double": (int, float),
    "boolean": bool,
    "string": str,
    "binary": str,
}
OWN = {"kafka_timestamp": "bigint", "schema_id": "bigint", "content_hash": "bigint"}
"""What a document holds beside fields and coordinates, and its column types there."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it stands in an index, whatever it should be."""

    index: str
    id: str
    place: Place
    source: Mapping[str, Any]


def row_of(source: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[Any, ...] | None:
    """Kafka timestamp, schema id, content hash, then ``columns`` (name → type); None if a value was altered in type."""
    try:
        at, *others = [_typed(source.get(name), kind) for name, kind in {**OWN, **columns}.items()]
        return None if at is None else (_EPOCH + timedelta(milliseconds=at), *others)
    except (TypeError, ValueError, OverflowError, binascii.Error):
        return None


def rows_of(
    found: Iterable[tuple[str, int, int, Mapping[str, Any]]], columns: Mapping[str, str]
) -> list[tuple[Any, ...]]:
    """(topic, partition, offset, source) → rows that begin with the coordinates; altered ones are left out."""
    return [(*place, *row) for *place, source in found if (row := row_of(source, columns)) is not None]


def _typed(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise TypeError(kind)
    if kind == "binary":
        return bytearray(base64.b64decode(value, validate=True))
    if kind == "bigint" and not -(1 << 63) <= value < 1 << 63:
        raise OverflowError(kind)
    return float(value) if kind == "double" else value
