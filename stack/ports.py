"""Ports of one home's servers: fixed by settings, or any free one; kept until a setting says otherwise."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from pipelines.errors import ServerFailed, UsageError
from pipelines.settings import StackSettings
from stack.process import atomic

Assigned = dict[str, list[int]]
"""Name of the port setting → one port per node."""

PICK_FROM = range(20_000, 32_000)
"""Below the range from which the kernel takes ports for outgoing connections, so none of those gets in the way."""

_LAST = 65_535


def wanted(stack: StackSettings, remembered: Mapping[str, list[int]]) -> Assigned:
    """Ports as the settings have them, 0 for "any"; further nodes take the ones above the first.

    A setting that nobody gave stays what it was. Raises UsageError if there is no room above the first port.
    """
    count = {
        "kafka": stack.brokers,
        "kafka_controller": stack.brokers,
        "elasticsearch": stack.elasticsearch_nodes,
        "elasticsearch_transport": stack.elasticsearch_nodes,
    }
    found: Assigned = {}
    for key, first in stack.ports.model_dump().items():
        nodes, before = count.get(key, 1), remembered.get(key, [])
        given = key in stack.ports.model_fields_set or len(before) != nodes
        found[key] = _upwards(key, first, nodes) if given else list(before)
    return found


def assign(wanted: Assigned, remembered: Mapping[str, list[int]], running: Collection[str]) -> Assigned:
    """A port for each server.

    ``running`` names the port settings whose servers are up: they keep what they have. Raises ServerFailed that names
    the setting if a fixed port is taken by somebody else.
    """
    assigned: Assigned = {}
    for key, ports in wanted.items():
        before = remembered.get(key, [])
        if key in running and len(before) == len(ports):
            assigned[key] = list(before)
        else:
            old = before if len(before) == len(ports) else [0] * len(ports)
            assigned[key] = [_settle(key, port, last) for port, last in zip(ports, old, strict=True)]
    return assigned


def read(path: Path) -> Assigned:
    """Ports used last time; empty if there was none."""
    if not path.is_file():
        return {}
    return {str(key): [int(port) for port in ports] for key, ports in json.loads(path.read_text("utf-8")).items()}


def write(path: Path, assigned: Assigned) -> None:
    with atomic(path) as beside:
        beside.write_text(json.dumps(assigned, indent=2), encoding="utf-8")


def is_free(port: int) -> bool:
    """Whether a server could listen on it now; connections that are closing on it do no harm."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("localhost", port))
            probe.listen()
        except OSError:
            return False
    return True


def pick() -> int:
    """A free port that nobody who picks like this gets in the next minute."""
    while True:
        port = random.choice(PICK_FROM)
        if _reserve(port):
            return port


def _upwards(key: str, first: int, nodes: int) -> list[int]:
    if first + nodes - 1 > _LAST:
        raise UsageError(
            f"stack.ports.{key}={first} leaves no port above it for {nodes} nodes: give {_LAST - nodes + 1} or less"
        )
    return [first and first + i for i in range(nodes)]


def _settle(key: str, port: int, last: int) -> int:
    if port == 0:
        return last if last and is_free(last) else pick()
    if not is_free(port):
        raise ServerFailed(
            key.replace("_", " "),
            f"localhost:{port}",
            f"the port is taken by another program; stop that, or choose another port with "
            f"--set stack.ports.{key}=PORT (0 takes any free one)",
        )
    return port


def _reserve(port: int) -> bool:
    """Leave the port with a closed connection on it: for a minute a plain bind fails there, a server's doesn't."""
    with socket.socket() as listener:
        try:
            listener.bind(("localhost", port))
            listener.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # only now: what lingers shall yield to a server
            listener.listen(1)
        except OSError:
            return False
        with socket.create_connection(("localhost", port)) as caller:
            answered, _ = listener.accept()
            answered.close()  # the side that closes first is the one that lingers
            caller.recv(1)
    return True
