"""Bring the whole local stack up and down."""

from __future__ import annotations

import fcntl
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import ServerFailed, UsageError
from pipelines.settings import Settings
from stack import dist, ports, unprivileged
from stack.elasticsearch import Elasticsearch
from stack.kafka import Kafka
from stack.lock import lock_file
from stack.metastore import Metastore
from stack.process import Processes, atomic
from stack.registry import Registry
from stack.server import NotReady, Server, Site, processes

Progress = Callable[[str, str], None]
"""Called with a server's name and what it is doing; from several threads."""

SERVERS: tuple[type[Server], ...] = (Kafka, Elasticsearch, Registry, Metastore)
PORT_KEYS = tuple(key for server in SERVERS for key in server.port_keys)
READY_TIMEOUT_S = 180.0
SIGNAL_CHECK_S = 0.5
_POLL_S = 0.2


def up(settings: Settings, progress: Progress | None = None) -> dict[str, Any]:
    """Start what isn't running, wait until every server answers, and return the addresses.

    Writes them to ``<home>/stack/endpoints.json``. Raises ServerFailed if a server dies, can't get its port or isn't
    ready in time; what this call started is then stopped again, as it is after Ctrl-C.
    """
    dist.fetch(settings, [server.dist_set for server in SERVERS])
    with _locked(settings):
        site = Site(settings, _assign_ports(settings))
        started: list[str] = []
        try:
            _in_parallel(site, progress or _say_nothing, started)
        except BaseException:
            _stop(site.processes, started)
            raise
        found = _endpoints(site)
        with atomic(_endpoints_file(settings)) as beside:
            beside.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found


def down(settings: Settings, purge: bool = False) -> list[str]:
    """Stop every process of this home; returns their names. ``purge`` also removes all that they ever stored."""
    with _locked(settings):
        running = processes(settings)
        names = running.names()
        _stop(running, names)
        if purge:
            for folder in purgeable(settings):
                _remove(folder)
            _endpoints_file(settings).unlink(missing_ok=True)
            _ports_file(settings).unlink(missing_ok=True)
    return names


def status(settings: Settings) -> dict[str, Any]:
    """The addresses, and below ``servers`` whether each server answers like a ready one."""
    known = _known(settings)
    with ThreadPoolExecutor(len(known)) as pool:
        states = dict(zip((server.name for server in known), pool.map(_state, known), strict=True))
    return {**endpoints(settings), "servers": states}


def endpoints(settings: Settings) -> dict[str, Any]:
    """Addresses of the last `up`; those of the settings if there never was one."""
    path = _endpoints_file(settings)
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {
        "kafka": settings.kafka.bootstrap,
        "elasticsearch": settings.elasticsearch.url,
        "registry": settings.registry.url,
        "metastore": settings.metastore.uri,
        "warehouse": settings.warehouse_uri,
    }


def running_ports(settings: Settings) -> set[str]:
    """Names of the port settings of servers of which at least one node runs."""
    alive = processes(settings).alive
    up = [server for server in _known(settings) if any(map(alive, map(server.node_name, server.nodes)))]
    return {key for server in up for key in server.port_keys}


def wanted_ports(settings: Settings) -> ports.Assigned:
    """The ports that the next `up` asks for, 0 for "any"; those of running servers may differ."""
    return ports.wanted(settings.stack, ports.read(_ports_file(settings)))


def purgeable(settings: Settings) -> list[Path]:
    """What `down --purge` removes: the servers' data, and the tables and checkpoints that go with them in this home."""
    ours = settings.home_path
    folders = [settings.stack_path / "data", Path(settings.warehouse_uri), Path(settings.checkpoints_uri)]
    return [folder for folder in folders if folder.is_relative_to(ours) and folder != ours and folder.exists()]


def _assign_ports(settings: Settings) -> ports.Assigned:
    path = _ports_file(settings)
    remembered = ports.read(path)
    wanted = ports.wanted(settings.stack, remembered)
    _refuse_other_size(settings, remembered, wanted)
    assigned = ports.assign(wanted, remembered, running_ports(settings))
    ports.write(path, assigned)
    return assigned


def _refuse_other_size(settings: Settings, remembered: ports.Assigned, wanted: ports.Assigned) -> None:
    """Neither a KRaft quorum of fixed voters nor shards without replicas survive a change of the number of nodes."""
    for server in SERVERS:
        key, data = server.port_keys[0], Site(settings, remembered).data(server.name)
        size = len(remembered.get(key, wanted[key]))
        if size != len(wanted[key]) and data.exists():
            raise UsageError(
                f"the data in {data} belong to {size} node(s), not {len(wanted[key])}: "
                f"use --set stack.{server.size_setting}={size}, or `sdp stack down --purge` to start afresh"
            )


def _known(settings: Settings) -> list[Server]:
    """The servers as they were last started; as they would be, if they never were."""
    remembered = ports.read(_ports_file(settings)) or wanted_ports(settings)
    return [server(Site(settings, remembered)) for server in SERVERS]


def _in_parallel(site: Site, progress: Progress, started: list[str]) -> None:
    """Bring all servers up at once; the first failure, or Ctrl-C, ends the waiting of the others."""
    cancelled = threading.Event()
    with ThreadPoolExecutor(len(SERVERS)) as pool:
        try:
            waiting = {pool.submit(_bring_up, server(site), progress, started, cancelled) for server in SERVERS}
            while waiting:  # in short steps: a signal that another thread gets does not wake this one
                done, waiting = wait(waiting, SIGNAL_CHECK_S, return_when=FIRST_EXCEPTION)
                _raise_first(done)
        finally:
            cancelled.set()


def _bring_up(server: Server, progress: Progress, started: list[str], cancelled: threading.Event) -> None:
    known = server.site.processes
    begun = time.monotonic()
    progress(server.name, "preparing")
    for launch in server.prepare():
        if not cancelled.is_set() and not known.alive(launch.name):
            started.append(launch.name)
            known.start(launch)
    progress(server.name, "starting")
    while not cancelled.is_set():
        try:
            server.check()
        except NotReady as reason:
            _give_up_if_hopeless(server, str(reason), time.monotonic() - begun)
            cancelled.wait(_POLL_S)
        else:
            progress(server.name, f"ready after {time.monotonic() - begun:.0f} s at {server.address}")
            return


def _give_up_if_hopeless(server: Server, reason: str, waited_s: float) -> None:
    known = server.site.processes
    for name in map(server.node_name, server.nodes):
        log = f"{known.log(name)} ends with:\n{known.last_lines(name)}"
        if not known.alive(name):
            raise ServerFailed(server.name, server.address, f"{name} died while starting; {log}")
        if waited_s > READY_TIMEOUT_S:
            raise ServerFailed(server.name, server.address, f"not ready after {waited_s:.0f} s ({reason}); {log}")


def _raise_first(done: set[Future[None]]) -> None:
    for future in done:
        future.result()


def _stop(running: Processes, names: list[str]) -> None:
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        list(pool.map(running.stop, names))


def _state(server: Server) -> dict[str, Any]:
    names = [server.node_name(node) for node in server.nodes]
    state: dict[str, Any] = {
        "running": False,
        "address": server.address,
        "pids": [pid for name in names if (pid := server.site.processes.pid(name))],
        "log": str(server.site.processes.log(server.name)),
    }
    if len(state["pids"]) < len(names):
        return state | {"reason": f"{len(state['pids'])} of {len(names)} processes are running"}
    try:
        server.check()
    except NotReady as reason:
        return state | {"reason": str(reason)}
    return state | {"running": True}


def _endpoints(site: Site) -> dict[str, Any]:
    addresses = {server.name: server(site).address for server in SERVERS}
    return {**addresses, "warehouse": site.settings.warehouse_uri}


def _remove(folder: Path) -> None:
    for inside in folder.iterdir():
        if inside.is_symlink() and inside.is_dir():
            unprivileged.remove_sheltered(inside)
    shutil.rmtree(folder)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """One `up` or `down` per home at a time."""
    with lock_file(settings.stack_path / "lock") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another `sdp stack` command is at work on {settings.home_path}; wait for it") from None
        yield


def _endpoints_file(settings: Settings) -> Path:
    return settings.stack_path / "endpoints.json"


def _ports_file(settings: Settings) -> Path:
    return settings.stack_path / "ports.json"


def _say_nothing(server: str, doing: str) -> None:
    """Progress for callers that don't want any."""
