"""A job that is asked to stop: what it leaves behind, what it says, and its exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.proxy import Proxy
from tests.world import World, record

LONGEST_S = 120
SDP = "from pipelines.cli import main; main()"


@contextmanager
def sdp(world: World, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """The running command; what it says on both outputs comes through one pipe. It is gone when the block ends."""
    chosen = [*world.overrides(), *(f"{key.replace('__', '.')}={value}" for key, value in settings.items())]
    command = [sys.executable, "-c", SDP, *arguments, *(part for text in chosen for part in ("--set", text))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()


def wait_for(event: str, process: subprocess.Popen[str]) -> None:
    """Read what the job logs until it reports the event."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("{") and json.loads(line)["event"] == event:
            return
    raise AssertionError(f"no {event} in: {''.join(said)}")


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and the last line."""
    rest, _ = process.communicate(timeout=LONGEST_S)
    return process.returncode, rest.splitlines()[-1]


def test_a_stop_while_a_server_is_away_is_a_clean_end(world: World) -> None:
    world.send([world.encode(record()) for _ in range(24)])
    with Proxy(world.settings.registry.url) as proxy:
        proxy.cut()
        with sdp(world, "run", "ingest", registry__url=proxy.url) as process:
            wait_for("retry", process)
            process.send_signal(signal.SIGTERM)
            code, last = end_of(process)
    assert code == 0, last
    assert last.startswith("sdp: ingest stopped as asked while it waited for a server: schema registry at")
    assert (world.valid(), world.ledger("ingest")) == ({}, {})
    world.run("ingest")
    assert len(world.valid()) == 24
