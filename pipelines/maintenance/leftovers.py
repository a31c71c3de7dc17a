"""Files that nobody needs any more: checkpoints that a recovery set aside, rooms of spark-submit.sh."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

_SET_ASIDE = re.compile(r"(?:ingest|index)\.replaced-([0-9]{8}T[0-9]{6})")
_ROOM = re.compile(r"submit\.[A-Za-z0-9]{6}")


def old_checkpoints(names: Iterable[str], now: datetime, days: int) -> list[str]:
    """Of the names beside the checkpoints those that ``sdp run --recover`` gave one at least ``days`` days ago.

    Whatever is named otherwise is a living checkpoint or somebody else's.
    """
    return sorted(name for name in names if (at := _set_aside_at(name)) and now - at >= timedelta(days=days))


def old_rooms(touched_at: Mapping[str, datetime], now: datetime, days: int) -> list[str]:
    """Of the folders in ``build/`` (name → newest time of a file in it) those that a submission left long ago."""
    return sorted(n for n, at in touched_at.items() if _ROOM.fullmatch(n) and now - at >= timedelta(days=days))


def _set_aside_at(name: str) -> datetime | None:
    found = _SET_ASIDE.fullmatch(name)
    try:
        return datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
