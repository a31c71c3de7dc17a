"""One running copy per job: who may take a lease, on a file system in memory and a clock that never waits."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import psutil
import pytest
from py4j.protocol import Py4JError

from pipelines.adapters import lease as lease_module
from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.lease import TTL_S, Lease
from pipelines.errors import AlreadyRunning

URI = "/checkpoints/ingest.lease"
STOP = "/checkpoints/ingest.stop"
HERE, THERE = socket.gethostname(), "another-host"


@dataclass
class FakeFiles:
    """Files by URI. ``on_read`` happens just before a file is read."""

    texts: dict[str, str] = field(default_factory=dict)
    on_read: Callable[[], None] = lambda: None

    def exists(self, uri: str) -> bool:
        return uri in self.texts

    def read_text(self, uri: str) -> str:
        self.on_read()
        return self.texts[uri]

    def write_text(self, uri: str, text: str, *, overwrite: bool) -> bool:
        if not overwrite and uri in self.texts:
            return False
        self.texts[uri] = text
        return True

    def delete(self, uri: str) -> None:
        self.texts.pop(uri, None)


@dataclass
class FakeClock:
    """Sleeping only moves the clock; ``every`` is called after each sleep."""

    now: float = 0.0
    every: Callable[[float], None] = lambda _: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.every(self.now)


@pytest.fixture
def files() -> FakeFiles:
    return FakeFiles()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    found = FakeClock()
    monkeypatch.setattr(lease_module, "time", found)
    return found


def lease(files: FakeFiles) -> Lease:
    return Lease(cast(HadoopFiles, files), URI, "ingest")


def holder(**changes: Any) -> str:
    me = psutil.Process()
    base = {"token": "theirs", "host": HERE, "pid": me.pid, "started_at": me.create_time(), "beat": 0}
    return json.dumps(base | changes)


def dead_pid() -> int:
    """Of a process that just ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_lease_is_held_inside_and_gone_afterwards(files: FakeFiles, clock: FakeClock) -> None:
    with lease(files).held():
        found = json.loads(files.texts[URI])
        assert (found["host"], found["pid"]) == (HERE, os.getpid())
        assert found["started_at"] == psutil.Process().create_time()
    assert files.texts == {}
    assert clock.now == 0


def test_a_lease_is_given_back_when_the_job_fails(files: FakeFiles) -> None:
    with pytest.raises(ZeroDivisionError), lease(files).held():
        raise ZeroDivisionError
    assert files.texts == {}


def test_a_holder_whose_lease_another_one_took_stops_and_leaves_it_alone(
    files: FakeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies that find the same dead holder may both take its lease; one of them must go."""
    monkeypatch.setattr(lease_module, "HEARTBEAT_S", 0.01)
    told = threading.Event()
    with lease(files).held(told.set):
        files.texts[URI] = holder()
        assert told.wait(10)
        assert json.loads(files.texts[URI])["token"] == "theirs"
    assert json.loads(files.texts[URI])["token"] == "theirs"


def test_a_second_copy_on_the_same_host_is_refused_at_once(files: FakeFiles, clock: FakeClock) -> None:
    with lease(files).held():
        before = files.texts[URI]
        with pytest.raises(AlreadyRunning) as caught, lease(files).held():
            pytest.fail("two copies run")
        assert files.texts[URI] == before
    assert f"ingest is already running: process {os.getpid()} on {HERE} holds {URI}" in str(caught.value)
    assert clock.now == 0


def test_the_lease_of_a_process_that_died_here_is_taken_at_once(files: FakeFiles, clock: FakeClock) -> None:
    files.texts[URI] = holder(pid=dead_pid())
    with lease(files).held():
        assert json.loads(files.texts[URI])["pid"] == os.getpid()
    assert clock.now == 0


def test_a_later_process_with_the_same_pid_does_not_keep_a_lease_alive(files: FakeFiles, clock: FakeClock) -> None:
    files.texts[URI] = holder(started_at=psutil.Process().create_time() - 3600)
    with lease(files).held():
        assert json.loads(files.texts[URI])["token"] != "theirs"
    assert clock.now == 0


@pytest.mark.parametrize("text", ["", "{", holder()[:20], "[]", "null", "{}", '{"token": "x", "more": 1}'])
def test_a_half_written_file_keeps_nobody_out(files: FakeFiles, clock: FakeClock, text: str) -> None:
    files.texts[URI] = text
    with lease(files).held():
        assert json.loads(files.texts[URI])["pid"] == os.getpid()


@pytest.mark.parametrize("host", [HERE, THERE])
def test_a_living_holder_that_is_just_renewing_the_file_keeps_the_lease(
    files: FakeFiles, clock: FakeClock, host: str
) -> None:
    files.texts[URI] = ""

    def renewed(now: float) -> None:
        files.texts[URI] = holder(host=host, beat=int(now * 2))

    clock.every = renewed
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} on {host}"), lease(files).held():
        pytest.fail("two copies run")


def test_a_renewal_that_is_read_halfway_is_no_sign_of_death(files: FakeFiles, clock: FakeClock) -> None:
    files.texts[URI] = holder(host=THERE)

    def beat(now: float) -> None:
        files.texts[URI] = "" if now == 1.0 else holder(host=THERE, beat=1)

    clock.every = beat
    with pytest.raises(AlreadyRunning, match=THERE), lease(files).held():
        pytest.fail("two copies run")


def test_another_host_that_beats_keeps_the_lease(files: FakeFiles, clock: FakeClock) -> None:
    files.texts[URI] = holder(host=THERE)

    def beat(now: float) -> None:
        files.texts[URI] = holder(host=THERE, beat=int(now) // 5)

    clock.every = beat
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} on {THERE}"), lease(files).held():
        pytest.fail("two copies run")
    assert clock.now == 5.0  # the first beat that is seen is enough
    assert json.loads(files.texts[URI])["token"] == "theirs"


def test_another_host_that_does_not_beat_loses_the_lease_after_its_time(files: FakeFiles, clock: FakeClock) -> None:
    files.texts[URI] = holder(host=THERE)
    with lease(files).held():
        assert json.loads(files.texts[URI])["host"] == HERE
    assert clock.now == TTL_S


def test_another_host_that_gives_the_lease_back_meanwhile_lets_us_in(files: FakeFiles, clock: FakeClock) -> None:
    files.texts[URI] = holder(host=THERE)

    def leave(now: float) -> None:
        if now == 3.0:
            del files.texts[URI]

    clock.every = leave
    with lease(files).held():
        assert json.loads(files.texts[URI])["host"] == HERE
    assert clock.now == 3.0


def test_another_copy_that_takes_over_first_keeps_the_lease(files: FakeFiles, clock: FakeClock) -> None:
    files.texts[URI] = holder(host=THERE)

    def rival(now: float) -> None:
        files.texts[URI] = holder(host="a-third-host", token="rival")

    clock.every = rival
    with pytest.raises(AlreadyRunning), lease(files).held():
        pytest.fail("two copies run")
    assert json.loads(files.texts[URI])["token"] == "rival"


def test_a_lease_that_somebody_else_took_is_not_given_back_by_us(files: FakeFiles) -> None:
    with lease(files).held():
        files.texts[URI] = holder(host=THERE, token="rival")
    assert json.loads(files.texts[URI])["token"] == "rival"


def test_a_lease_is_renewed_while_it_is_held(files: FakeFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    beaten = threading.Event()
    monkeypatch.setattr(lease_module, "HEARTBEAT_S", 0.001)
    write = files.write_text

    def remember(uri: str, text: str, *, overwrite: bool) -> bool:
        beats.append(json.loads(text)["beat"])
        if len(beats) == 4:
            beaten.set()
        return write(uri, text, overwrite=overwrite)

    monkeypatch.setattr(files, "write_text", remember)
    with lease(files).held():
        token = json.loads(files.texts[URI])["token"]
        assert beaten.wait(30)
        assert json.loads(files.texts[URI])["token"] == token
    assert beats[:4] == [0, 1, 2, 3]
    assert files.texts == {}


def test_storage_that_is_away_at_the_end_is_no_error_of_its_own(
    files: FakeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(uri: str) -> bool:
        raise Py4JError("refused")

    with lease(files).held():
        monkeypatch.setattr(files, "exists", refused)
    assert URI in files.texts


def test_leases_of_two_jobs_are_two(files: FakeFiles) -> None:
    other = "/checkpoints/index.lease"
    with lease(files).held(), Lease(cast(HadoopFiles, files), other, "index").held():
        assert set(files.texts) == {URI, other}


# A request to stop


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_S", 0.001)


def test_a_request_reaches_the_holder_once_and_goes_with_the_lease(files: FakeFiles, quick: None) -> None:
    found, calls = threading.Event(), list[None]()

    def on_stop() -> None:
        calls.append(None)
        found.set()

    with lease(files).held(on_stop):
        asked = lease(files).ask_to_stop()
        assert (asked.uri, asked.holder and asked.holder.pid) == (STOP, os.getpid())
        assert found.wait(30)
        beat = json.loads(files.texts[URI])["beat"]
        while json.loads(files.texts[URI])["beat"] < beat + 3:
            pass
        assert set(files.texts) == {URI, STOP}
    assert len(calls) == 1
    assert files.texts == {}


def test_an_empty_file_is_a_request_too(files: FakeFiles, quick: None) -> None:
    found = threading.Event()
    with lease(files).held(found.set):
        files.texts[STOP] = ""
        assert found.wait(30)
    assert files.texts == {}


def test_a_request_from_before_the_start_is_removed_and_not_obeyed(files: FakeFiles, quick: None) -> None:
    files.texts[STOP] = "process 7 on here"
    obeyed = threading.Event()
    with lease(files).held(obeyed.set):
        assert set(files.texts) == {URI}
        while json.loads(files.texts[URI])["beat"] < 3:
            pass
    assert not obeyed.is_set()


def test_a_second_copy_that_is_refused_leaves_the_request_to_the_first(files: FakeFiles) -> None:
    with lease(files).held():
        lease(files).ask_to_stop()
        with pytest.raises(AlreadyRunning), lease(files).held():
            pytest.fail("two copies run")
        assert STOP in files.texts


def test_a_request_goes_to_a_holder_on_another_host(files: FakeFiles) -> None:
    files.texts[URI] = holder(host=THERE)
    asked = lease(files).ask_to_stop()
    assert asked.holder is not None
    assert asked.holder.host == THERE
    assert STOP in files.texts


def test_nobody_is_asked_if_nobody_runs(files: FakeFiles) -> None:
    assert lease(files).ask_to_stop().holder is None
    files.texts[URI] = holder(pid=dead_pid())
    assert lease(files).ask_to_stop().holder is None
    assert STOP not in files.texts


def test_a_request_to_the_one_who_took_the_lease_over_is_not_removed_by_us(files: FakeFiles) -> None:
    with lease(files).held():
        files.texts[URI] = holder(host=THERE, token="rival")
        files.texts[STOP] = ""
    assert STOP in files.texts


def test_a_request_to_one_job_is_not_one_to_the_other(files: FakeFiles) -> None:
    with lease(files).held(), Lease(cast(HadoopFiles, files), "/checkpoints/index.lease", "index").held():
        lease(files).ask_to_stop()
        assert set(files.texts) == {URI, STOP, "/checkpoints/index.lease"}
