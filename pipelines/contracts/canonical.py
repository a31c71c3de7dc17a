"""Content hash of a record (law 8): the reference in plain Python; the stream computes the same in SQL.

Canonical form: the ten fields in schema order, each as decimal number or UTF-8 text, null as U+0000, joined by U+001F.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from pipelines.records import LOG_FIELDS

SEPARATOR = "\x1f"
NULL = "\x00"


def content_hash(record: Mapping[str, Any]) -> int:
    """CRC-32 of the canonical form, 0 … 2³²-1. Sums over up to two million records are exact in a double."""
    texts = (NULL if record[name] is None else str(record[name]) for name in LOG_FIELDS)
    return zlib.crc32(SEPARATOR.join(texts).encode("utf-8"))
