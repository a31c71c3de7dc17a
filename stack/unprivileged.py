"""Run a server that refuses root as another user, with folders which that user can reach."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from pipelines.errors import UsageError

USER = "nobody"
SHELTER = Path("/var/tmp")  # noqa: S108 the name below it is checked for its owner
"""Survives a reboot, unlike /tmp, and everyone can traverse it."""


def user() -> tuple[int, int] | None:
    """uid and gid to change to; None when we aren't root and needn't change."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(USER)
    return entry.pw_uid, entry.pw_gid


def reachable(path: Path) -> bool:
    """Whether everyone can traverse every folder down to and including ``path``."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents) if folder.is_dir())


def shelter(home: Path) -> Path:
    """A folder of ours under /var/tmp, always the same for one ``home``. Raises UsageError if it is somebody else's."""
    root = SHELTER / f"sdp-{os.geteuid()}"
    for folder in (root, root / hashlib.sha256(str(home).encode()).hexdigest()[:12]):
        folder.mkdir(mode=0o755, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise UsageError(f"{folder} exists and is not ours: remove it, or use a home that every user can traverse")
        folder.chmod(0o755)
    return folder


def data_folder(wanted: Path, home: Path) -> Path:
    """``wanted`` itself if ``USER`` can reach it, else a link to a folder in the shelter of this home."""
    if wanted.is_symlink() or wanted.is_dir():
        return wanted.resolve()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if user() is None or reachable(wanted.parent):
        wanted.mkdir()
        return wanted
    sheltered = shelter(home) / wanted.name
    sheltered.mkdir(mode=0o755, exist_ok=True)
    wanted.symlink_to(sheltered)
    return sheltered


def remove_sheltered(link: Path) -> None:
    """Remove what ``data_folder`` made outside of the home, and the shelter of that home if nothing else is in it."""
    sheltered = link.resolve()
    shutil.rmtree(sheltered)
    with suppress(OSError):
        sheltered.parent.rmdir()


def program_folder(fetched: Path, home: Path) -> Path:
    """``fetched`` itself if ``USER`` can reach it, else a copy in the shelter, made once for all homes."""
    if user() is None or reachable(fetched):
        return fetched
    copy = shelter(home).parent / fetched.name
    if not copy.is_dir():
        beside = copy.with_name(f".{copy.name}.{os.getpid()}")
        shutil.copytree(fetched, beside, symlinks=True)
        try:
            beside.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(beside)
    return copy


def hand_over(folder: Path) -> None:
    """Make ``USER`` the owner of a folder and all that is in it."""
    owner = user()
    if owner is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)
