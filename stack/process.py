"""Start, recognise and stop processes that outlive the command that started them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

STOP_TIMEOUT_S = 45.0
"""How long a server may take to stop cleanly before it is killed."""

_KILL_TIMEOUT_S = 10.0
_CLOCK_STEP_S = 2.0  # start times are derived from the wall clock, which may be set while a server runs


@dataclass(frozen=True, slots=True)
class Launch:
    """One process to start. ``user``: uid and gid to run as; None keeps ours."""

    name: str
    command: Sequence[str | Path]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Processes:
    """The background processes of one home: pid files and logs, one each per launch name."""

    pids: Path
    logs: Path

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def start(self, launch: Launch) -> int:
        """Start in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it; returns the pid."""
        self.pids.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.log(launch.name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        uid, gid = launch.user or (None, None)
        with log.open("ab") as output:
            process = subprocess.Popen(
                list(launch.command),
                cwd=launch.folder,
                env={**_inherited(), **launch.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=uid,
                group=gid,
                extra_groups=None if gid is None else [],
            )
        process.returncode = 0  # it is meant to outlive this object, which must neither wait nor warn
        _write(self._pid_file(launch.name), {"pid": process.pid, "started": _started(process.pid)})
        return process.pid

    def names(self) -> list[str]:
        """Every process that was started and not stopped since, alive or not."""
        return sorted(path.stem for path in self.pids.glob("*.json"))

    def alive(self, name: str) -> bool:
        return any(True for _ in self._members(name))

    def pid(self, name: str) -> int | None:
        """Pid of the leader if the process lives."""
        record = self._record(name)
        return record[0] if record and self.alive(name) else None

    def stop(self, name: str, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM to the whole session, wait, SIGKILL what is left, forget the pid; never touches a stranger's pid."""
        for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, _KILL_TIMEOUT_S)):
            for process in self._members(name):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            deadline = time.monotonic() + patience_s
            while self.alive(name) and time.monotonic() < deadline:
                time.sleep(0.05)
        self._pid_file(name).unlink(missing_ok=True)

    def last_lines(self, name: str, count: int = 15) -> str:
        """The end of the log, for an error message."""
        log = self.log(name)
        if not log.is_file():
            return "(no log)"
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - 65536))
            lines = handle.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-count:]) or "(the log is empty)"

    def _pid_file(self, name: str) -> Path:
        return self.pids / f"{name}.json"

    def _record(self, name: str) -> tuple[int, float] | None:
        try:
            found = json.loads(self._pid_file(name).read_text(encoding="utf-8"))
            return int(found["pid"]), float(found["started"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def _members(self, name: str) -> Iterator[psutil.Process]:
        """Living processes of the session that we started under this name.

        A pid is not given out again while a session of that number has members, so a leader that started at another
        time means that the session is gone and the pid belongs to somebody else.
        """
        record = self._record(name)
        if record is None:
            return
        pid, started = record
        with suppress(psutil.NoSuchProcess):
            if abs(psutil.Process(pid).create_time() - started) > _CLOCK_STEP_S:
                return
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
                if os.getsid(process.pid) == pid and not _dead(process):
                    yield process


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A neighbour to write to; it takes the place of ``path`` only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write(path: Path, value: Mapping[str, object]) -> None:
    with atomic(path) as beside:
        beside.write_text(json.dumps(value), encoding="utf-8")


def _started(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0  # dead already: matches nothing


def _dead(process: psutil.Process) -> bool:
    """Also reaps it if it is a child of ours: it would stay a zombie otherwise."""
    if process.status() != psutil.STATUS_ZOMBIE:
        return False
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return True


def _inherited() -> dict[str, str]:
    """Our environment without what would change a server's Java behind our back."""
    return {
        k: v for k, v in os.environ.items() if k not in {"CLASSPATH", "JAVA_OPTS", "JDK_JAVA_OPTIONS", "ES_JAVA_OPTS"}
    }
