"""A job that is asked to stop: what it leaves behind, what it says, and its exit code."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from pipelines import bootstrap
from tests.proxy import Proxy
from tests.world import World, record

LONGEST_S = 300
RECORDS, PER_BATCH = 2_400, 600
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
    """Exit code and the last line; no traceback comes before it."""
    rest, _ = process.communicate(timeout=LONGEST_S)
    assert "Traceback" not in rest, rest
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


def test_ctrl_c_finishes_the_batch_and_says_how_to_go_on(world: World) -> None:
    world.send([world.encode(record()) for _ in range(RECORDS)])
    with sdp(world, "run", "ingest", ingest__max_offsets_per_trigger=str(PER_BATCH)) as process:
        wait_for("batch_started", process)
        process.send_signal(signal.SIGINT)
        code, last = end_of(process)
    assert code == 0, last
    assert last.startswith("sdp: ingest stopped as asked: what it began is finished")
    assert 0 < len(world.valid()) < RECORDS
    assert len(world.valid()) % PER_BATCH == 0


def test_a_second_ctrl_c_cuts_the_batch_off_and_the_next_run_repeats_it(world: World) -> None:
    world.send([world.encode(record()) for _ in range(24)])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"http://localhost:{silent.getsockname()[1]}/apis/ccompat/v7"
        with sdp(world, "run", "ingest", registry__url=mute) as process:
            wait_for("batch_started", process)
            process.send_signal(signal.SIGINT)
            wait_for("stop_requested", process)
            process.send_signal(signal.SIGINT)
            code, last = end_of(process)
    assert code == 130, last
    assert last.startswith("sdp: interrupted: every batch that ingest finished is in the ledger.")
    assert (world.valid(), world.ledger("ingest")) == ({}, {})
    world.run("ingest")
    assert len(world.valid()) == 24


def test_sdp_stop_reaches_a_job_through_its_checkpoints_file_system(world: World) -> None:
    world.send([world.encode(record()) for _ in range(RECORDS)])
    place = Path(world.settings.checkpoints_uri)
    lease, request = place / "ingest.lease", place / "ingest.stop"
    place.mkdir()
    request.write_text("left over from an earlier run")
    with sdp(world, "run", "ingest", ingest__max_offsets_per_trigger=str(PER_BATCH), ingest__trigger_s="1") as job:
        wait_for("batch_done", job)
        assert lease.exists()
        assert not request.exists()
        with sdp(world, "stop", "ingest") as asking:
            code, last = end_of(asking)
        assert code == 0, last
        assert last.startswith(f"asked process {job.pid} on {socket.gethostname()} to stop ingest")
        code, last = end_of(job)
    assert code == 0, last
    assert last.startswith("sdp: ingest stopped as asked: what it began is finished")
    assert not lease.exists()
    assert not request.exists()
    taken = sum(until - start for rows in world.ledger("ingest").values() for start, until, *_ in rows)
    assert taken % PER_BATCH == 0
    assert len(world.valid()) == taken > 0

    assert bootstrap.ask_to_stop("ingest", world.settings, world.spark).holder is None
    assert not request.exists()
    world.run("ingest")
    assert len(world.valid()) == RECORDS


def test_ctrl_c_in_a_demo_keeps_what_was_finished_and_the_next_demo_goes_on(world: World) -> None:
    with sdp(world, "demo", "--count", "3000") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ingest: begun"):
                break
        process.send_signal(signal.SIGINT)
        code, last = end_of(process)
    assert code == 130, last
    assert last.startswith("sdp: interrupted: the records that were sent and every batch that was finished stay.")
    with sdp(world, "demo", "--count", "2000") as process:
        said, _ = process.communicate(timeout=2 * LONGEST_S)
    assert process.returncode == 0, said
    assert "It adds up: every offset is a valid or an invalid row, and every valid row is a document." in said
    assert "More was sent to this topic" not in said
    assert sum(len(rows) for rows in (world.valid(), world.invalid())) == 5_000
