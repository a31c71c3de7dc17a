"""The file that one command at a time holds a lock on."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from pipelines.errors import UsageError


def lock_file(path: Path) -> IO[str]:
    """Open it, in a folder that is made if need be. Raises UsageError if that can't be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError as error:
        raise UsageError(
            f"{path.parent} can't be written to ({error.strerror}): SDP_HOME and SDP_DIST choose other folders"
        ) from None
