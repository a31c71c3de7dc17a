"""Fetch jars and servers once, pinned by one small pom per set in ``stack/poms/``; Airflow by its locked requirements.

A set lives in ``<dist>/<set>-<hash of its pom or lock>``. It is filled under another name and renamed when complete, so
a folder that is there is whole, a changed pom gives a new folder, and a running server keeps the one it started from.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from pipelines.errors import Unavailable, UsageError
from pipelines.settings import ROOT, Settings
from stack.lock import lock_file

POMS = Path(__file__).parent / "poms"
LOCKS = {"airflow": ROOT / "requirements" / "airflow.txt"}
"""Sets that are virtual environments: their packages do not go together with those of the jobs."""
ARCHIVES = frozenset({"registry", "elasticsearch"})
STACK_SETS = ("spark", "kafka", "registry", "elasticsearch", "metastore")
"""What jobs and the local stack need. ``yarn`` and ``airflow`` are fetched only when asked for."""

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin"
_COPY = f"{_PLUGIN}:3.8.1:copy-dependencies"
_UNPACK = f"{_PLUGIN}:2.10:unpack"
_FETCHED = re.compile(r"(?:Downloaded from \S+ \S*/|Downloading (?!from )|Using cached )(\S+) \(")
"""What Maven and pip say of each file."""
_READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_TRAVERSABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def known_sets() -> tuple[str, ...]:
    """Names of all sets, sorted."""
    return tuple(sorted([*LOCKS, *(pom.stem for pom in POMS.glob("*.xml"))]))


def fetch(settings: Settings, sets: Iterable[str], console: Console | None = None) -> None:
    """Make sure that each set is complete on disk; does nothing for a set that is.

    Raises UsageError for an unknown set, a missing Maven or a folder that can't be written to, Unavailable when Maven
    or pip could not get the files.
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


def _source(name: str) -> Path:
    """The file that pins a set."""
    source = LOCKS.get(name, POMS / f"{name}.xml")
    if not source.is_file():
        raise UsageError(f"no set {name!r} to fetch; there are {', '.join(known_sets())}")
    return source


def _target(settings: Settings, name: str) -> Path:
    return settings.dist_path / f"{name}-{hashlib.sha256(_source(name).read_bytes()).hexdigest()[:12]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with lock_file(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fill(name: str, target: Path, console: Console) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent, ignore_cleanup_errors=True) as temporary:
        room = Path(temporary)
        get = _pip if name in LOCKS else _maven
        with console.status(f"fetching {name}") as line:
            for number, file in enumerate(get(name, room), start=1):
                line.update(f"fetching {name}: {number} files so far, {file}")
        (room / "out").rename(target)
    console.print(f"fetched {name} in {time.monotonic() - started:.0f} s", highlight=False)


def _maven(name: str, room: Path) -> Iterator[str]:
    """Run Maven in ``room``; yields the name of each downloaded file, result in ``room/out``."""
    shutil.copy(_source(name), room / "pom.xml")  # Maven leaves marker files beside the pom
    maven = shutil.which("mvn")
    if maven is None:
        raise UsageError("Maven is not installed: `make install` does it, or install the package `maven`")
    goal = _UNPACK if name in ARCHIVES else _COPY
    # -U: a download that failed once is otherwise not tried again for a day; -C: a wrong checksum is an error
    command: list[str | Path] = [maven, "-B", "-U", "-C", goal, f"-DoutputDirectory={room / 'out'}"]
    yield from _said(name, command, room)
    if not (room / "out").is_dir():
        raise _unavailable(name, ["it got nothing"])
    _open_to_all(room / "out")


def _pip(name: str, room: Path) -> Iterator[str]:
    """A virtual environment in ``room/out`` with what the lock names; yields the name of each downloaded file.

    Its scripts name the folder they were installed to, which is renamed: run its modules (``bin/python -m``) instead.
    """
    yield from _said(name, [sys.executable, "-m", "venv", room / "out"], room)
    # a lock is complete: there is nothing to resolve, which takes pip longer than the rest
    install = ["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r"]
    yield from _said(name, [room / "out" / "bin" / "python", *install, _source(name)], room)


def _said(name: str, command: list[str | Path], room: Path) -> Iterator[str]:
    """Run it in ``room``; yields the names of files that it fetches. Raises Unavailable if it fails."""
    said: list[str] = []
    with subprocess.Popen(command, cwd=room, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line.strip())
                if match := _FETCHED.search(line):
                    yield match.group(1)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise _unavailable(name, [line for line in said if line.startswith(("[ERROR]", "ERROR:"))] or said[-5:])


def _unavailable(name: str, why: list[str]) -> Unavailable:
    tool = "pip" if name in LOCKS else "Maven"
    return Unavailable(f"the {name} files", str(_source(name)), f"{tool} failed: " + " ".join(why[:2]))


def _open_to_all(folder: Path) -> None:
    """Let every user read the files: Elasticsearch refuses to run as root and gets a user of its own."""
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | _READABLE | (_TRAVERSABLE if path.is_dir() or mode & stat.S_IXUSR else 0))
