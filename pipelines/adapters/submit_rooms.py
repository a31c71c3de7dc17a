"""The folders that spark-submit.sh makes for its calls, on this machine; they may hold secrets of the settings."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path


class SubmitRooms:
    """``folder``: where they are, ``build/`` of the application."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def touched_at(self) -> dict[str, datetime]:
        """Name → newest time of anything in it: a script that still watches its job writes there."""
        return {room.name: _newest(room) for room in self._folder.glob("submit.*") if room.is_dir()}

    def delete(self, name: str) -> None:
        """Remove one; nothing happens if it is not there."""
        shutil.rmtree(self._folder / name, ignore_errors=True)


def _newest(room: Path) -> datetime:
    return datetime.fromtimestamp(max(path.lstat().st_mtime for path in (room, *room.rglob("*"))), UTC)
