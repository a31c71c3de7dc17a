"""One running copy per job: a lease file beside the checkpoint, renewed by a heartbeat.

Works on every file system that a checkpoint can live on. A holder that died is recognised at once on the same host
(its process is gone) and elsewhere after ``TTL_S`` without a heartbeat. Should two copies slip through, by finding the
same dead holder in the same moment, the one whose file is gone stops with its next heartbeat; until then Delta's
transaction ids and Spark's checkpoint log keep the data right.

With each heartbeat the holder looks for a second file, the request to stop: the way to reach a job that runs somewhere
on a cluster, where no signal does. Whatever is in it, it counts; an empty file from any other tool does as well.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import psutil
import structlog
from py4j.protocol import Py4JError

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.errors import AlreadyRunning
from pipelines.monitoring.logs import stop_requested

TTL_S = 30.0
HEARTBEAT_S = 5.0
READS, REREAD_S = 3, 0.5


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease: the process, told apart from a later one with the same pid by its start time."""

    token: str
    host: str
    pid: int
    started_at: float
    beat: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A request to stop: its file, the lease, and who holds that; if nobody does, there is no file either."""

    uri: str
    lease: str
    holder: Holder | None


def _runs(holder: Holder) -> bool:
    try:
        return psutil.Process(holder.pid).create_time() == holder.started_at
    except psutil.NoSuchProcess:
        return False


class Lease:
    """``with lease.held():`` keeps other copies out. Raises AlreadyRunning if one is alive."""

    def __init__(self, files: HadoopFiles, uri: str, job: str) -> None:
        self._files, self._uri, self._job = files, uri, job
        self._stop_uri = f"{uri.removesuffix('.lease')}.stop"

    @contextmanager
    def held(self, on_stop: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Take the lease, renew it in the background, give it back.

        ``on_stop`` is called from another thread, once, when somebody asks the holder to stop. A request from before
        the lease was taken was meant for somebody else and is removed.
        """
        mine = self._take()
        done = threading.Event()
        beat = threading.Thread(target=self._renew, args=(mine, done, on_stop), name=f"lease-{self._job}", daemon=True)
        try:
            self._files.delete(self._stop_uri)
            beat.start()
            yield
        finally:
            done.set()
            if beat.ident is not None:
                beat.join(HEARTBEAT_S)
            self._give_back(mine)

    def ask_to_stop(self) -> StopAsked:
        """Leave a request for the holder; nothing happens if there is none, or if it died on this host."""
        holder = self._read()
        if holder is None or (holder.host == socket.gethostname() and not _runs(holder)):
            return StopAsked(self._stop_uri, self._uri, None)
        self._files.write_text(self._stop_uri, f"process {os.getpid()} on {socket.gethostname()}", overwrite=True)
        return StopAsked(self._stop_uri, self._uri, holder)

    def _take(self) -> Holder:
        me = psutil.Process()
        mine = Holder(uuid.uuid4().hex, socket.gethostname(), me.pid, me.create_time(), 0)
        while not self._files.write_text(self._uri, json.dumps(asdict(mine)), overwrite=False):
            holder = self._read()
            if holder is not None and self._is_alive(holder):
                raise AlreadyRunning(self._job, str(holder), self._uri)
            self._files.delete(self._uri)
        return mine

    def _give_back(self, mine: Holder) -> None:
        try:
            if (now := self._read()) is not None and now.token == mine.token:
                self._files.delete(self._stop_uri)
                self._files.delete(self._uri)
        except (Py4JError, OSError) as error:  # without its process the lease soon looks as dead as it is
            structlog.get_logger().warning("lease_not_given_back", job=self._job, error=str(error).splitlines()[0])

    def _is_alive(self, holder: Holder) -> bool:
        if holder.host == socket.gethostname():
            return _runs(holder)
        deadline = time.monotonic() + TTL_S
        while time.monotonic() < deadline:
            time.sleep(1)
            now = self._read()
            if now is None or now != holder:
                return now is not None
        return False

    def _renew(self, mine: Holder, done: threading.Event, on_stop: Callable[[], None]) -> None:
        beat, asked = 0, False
        while not done.wait(HEARTBEAT_S):
            beat += 1
            renewed = Holder(mine.token, mine.host, mine.pid, mine.started_at, beat)
            try:
                if (now := self._read()) is not None and now.token != mine.token:
                    structlog.get_logger().error("lease_lost", job=self._job, holder=str(now))
                    on_stop()
                    return
                self._files.write_text(self._uri, json.dumps(asdict(renewed)), overwrite=True)
                if not asked and self._files.exists(self._stop_uri):
                    asked = True
                    stop_requested(self._job, self._stop_uri)
                    on_stop()
            except (Py4JError, OSError) as error:  # the next beat may get through; batches are safe without the lease
                structlog.get_logger().warning("lease_not_renewed", job=self._job, error=str(error).splitlines()[0])

    def _read(self) -> Holder | None:
        """Who holds the lease now: nobody if there is no file, or one that stays half-written as by a dead holder."""
        for _ in range(READS):
            if not self._files.exists(self._uri):
                return None
            try:
                return Holder(**json.loads(self._files.read_text(self._uri)))
            except (ValueError, TypeError):
                time.sleep(REREAD_S)  # a living holder may be renewing it right now
        return None
