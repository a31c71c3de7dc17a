from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stack.process import Launch, Processes, atomic

OBEDIENT = "print('hello', flush=True); import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('hello', flush=True); time.sleep(600)"
)
PARENT_THAT_DIES = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print('hello')"
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path / "pids", tmp_path / "logs")
    yield found
    for name in found.names():
        found.stop(name, timeout_s=0)


def start(processes: Processes, code: str, name: str = "server") -> int:
    pid = processes.start(Launch(name, [sys.executable, "-c", code], folder=processes.pids.parent))
    until(lambda: "hello" in processes.last_lines(name))
    return pid


def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.01)


def test_a_started_process_is_alive_in_its_own_session_and_stops(processes: Processes) -> None:
    pid = start(processes, OBEDIENT)
    assert processes.alive("server")
    assert processes.pid("server") == pid
    assert os.getsid(pid) == pid != os.getsid(0)
    processes.stop("server")
    assert not processes.alive("server")
    assert processes.names() == []
    assert not psutil.pid_exists(pid)


def test_another_command_finds_the_process_by_its_pid_file(processes: Processes) -> None:
    start(processes, OBEDIENT)
    Processes(processes.pids, processes.logs).stop("server")
    assert not processes.alive("server")


def test_what_ignores_the_polite_signal_is_killed(processes: Processes) -> None:
    start(processes, STUBBORN)
    processes.stop("server", timeout_s=0.2)
    assert not processes.alive("server")


def test_children_that_outlive_their_parent_are_stopped_too(processes: Processes) -> None:
    pid = start(processes, PARENT_THAT_DIES)
    (child,) = psutil.Process(pid).children() or orphans(pid)
    until(lambda: is_gone(psutil.Process(pid)))
    assert processes.alive("server")
    processes.stop("server")
    assert is_gone(child)


def orphans(session: int) -> list[psutil.Process]:
    return [p for p in psutil.process_iter() if p.pid != session and os.getsid(p.pid) == session]


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_reused_pid_is_never_touched(processes: Processes) -> None:
    pid = start(processes, OBEDIENT)
    record = processes.pids / "server.json"
    known = json.loads(record.read_text())
    record.write_text(json.dumps(known | {"started": known["started"] - 3600}))
    assert not processes.alive("server")
    processes.stop("server")
    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    record.write_text(json.dumps(known))


def test_a_dead_process_is_not_alive(processes: Processes) -> None:
    pid = start(processes, OBEDIENT)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not processes.alive("server"))
    assert processes.names() == ["server"]


def test_the_log_of_the_last_run_is_kept_beside(processes: Processes) -> None:
    for word in ("first", "second"):
        start(processes, f"print('{word} hello', flush=True)")
        until(lambda: not processes.alive("server"))
    assert processes.last_lines("server") == "second hello"
    assert processes.log("server").with_suffix(".log.1").read_text() == "first hello\n"


def test_last_lines_of_a_long_log(processes: Processes) -> None:
    processes.logs.mkdir()
    processes.log("server").write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert processes.last_lines("server", count=2) == "line 99998\nline 99999"
    assert processes.last_lines("unknown") == "(no log)"


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half() -> None:
        with atomic(path) as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file", "old")]
