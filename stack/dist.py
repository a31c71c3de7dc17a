"""Fetch jars and servers once, pinned by one small pom per set in ``stack/poms/``.

A set lives in ``<dist>/<set>-<hash of its pom>``. It is filled under another name and renamed when complete, so a
folder that is there is whole, a changed pom gives a new folder, and a running server keeps the one it started from.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from pipelines.errors import Unavailable, UsageError
from pipelines.settings import Settings
from stack.lock import lock_file

POMS = Path(__file__).parent / "poms"
ARCHIVES = frozenset({"registry", "elasticsearch"})
STACK_SETS = ("spark", "kafka", "registry", "elasticsearch", "metastore")
"""What jobs and the local stack need. ``yarn`` is fetched only when asked for."""

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin"
_COPY = f"{_PLUGIN}:3.8.1:copy-dependencies"
_UNPACK = f"{_PLUGIN}:2.10:unpack"
_DOWNLOADED = re.compile(r"Downloaded from \S+ \S*/(\S+) \(")
_READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_TRAVERSABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def known_sets() -> tuple[str, ...]:
    """Names of all sets, sorted."""
    return tuple(sorted(pom.stem for pom in POMS.glob("*.xml")))


def fetch(settings: Settings, sets: Iterable[str], console: Console | None = None) -> None:
    """Make sure that each set is complete on disk; does nothing for a set that is.

    Raises UsageError for an unknown set, a missing Maven or a folder that can't be written to, Unavailable when Maven
    could not get the files.
    """
    shown = console or Console(stderr=True)
    for name in sets:
        target = _target(settings, name)
        if target.is_dir():
            continue
        with _locked(target.parent / f".{name}.lock"):
            if not target.is_dir():  # another process may have filled it while we waited for the lock
                _fill(name, target, shown)


def folder(settings: Settings, name: str) -> Path:
    """Where one fetched set lies. Raises UsageError that says how to get it when it isn't there."""
    target = _target(settings, name)
    if not target.is_dir():
        wanted = "" if name in STACK_SETS else f" {name}"
        raise UsageError(
            f"the {name} files are not in {target.parent}: run `make install` or `sdp stack fetch{wanted}`"
        )
    return target


def jars(settings: Settings, name: str) -> list[Path]:
    """The jars of one set, sorted by name. Raises UsageError as ``folder`` does."""
    return sorted(folder(settings, name).glob("*.jar"))


def _target(settings: Settings, name: str) -> Path:
    pom = POMS / f"{name}.xml"
    if not pom.is_file():
        raise UsageError(f"no set {name!r} to fetch; there are {', '.join(known_sets())}")
    return settings.dist_path / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with lock_file(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fill(name: str, target: Path, console: Console) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent, ignore_cleanup_errors=True) as temporary:
        room = Path(temporary)
        shutil.copy(POMS / f"{name}.xml", room / "pom.xml")  # Maven leaves marker files beside the pom
        with console.status(f"fetching {name}") as line:
            for number, file in enumerate(_maven(name, room), start=1):
                line.update(f"fetching {name}: {number} files so far, {file}")
        _open_to_all(room / "out")
        (room / "out").rename(target)
    console.print(f"fetched {name} in {time.monotonic() - started:.0f} s", highlight=False)


def _maven(name: str, room: Path) -> Iterator[str]:
    """Run Maven in ``room``; yields the name of each downloaded file, result in ``room/out``."""
    maven = shutil.which("mvn")
    if maven is None:
        raise UsageError("Maven is not installed: `make install` does it, or install the package `maven`")
    goal = _UNPACK if name in ARCHIVES else _COPY
    # -U: a download that failed once is otherwise not tried again for a day; -C: a wrong checksum is an error
    command = [maven, "-B", "-U", "-C", goal, f"-DoutputDirectory={room / 'out'}"]
    said: list[str] = []
    with subprocess.Popen(command, cwd=room, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line.strip())
                if match := _DOWNLOADED.search(line):
                    yield match.group(1)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0 or not (room / "out").is_dir():
        errors = [line for line in said if line.startswith("[ERROR]")] or said[-5:]
        raise Unavailable(f"the {name} files", str(POMS / f"{name}.xml"), "Maven failed: " + " ".join(errors[:2]))


def _open_to_all(folder: Path) -> None:
    """Let every user read the files: Elasticsearch refuses to run as root and gets a user of its own."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | _READABLE | (_TRAVERSABLE if path.is_dir() or mode & stat.S_IXUSR else 0))
