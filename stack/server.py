"""What every server of the local stack has in common."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipelines.settings import Settings
from stack.ports import Assigned
from stack.process import Launch, Processes


class NotReady(Exception):
    """The server doesn't give the answer of a ready one yet; the text says what it does instead."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where one stack lives."""

    settings: Settings
    ports: Assigned

    @property
    def processes(self) -> Processes:
        return processes(self.settings)

    def data(self, server: str) -> Path:
        return self.settings.stack_path / "data" / server


class Server(ABC):
    """One server, of one or more nodes.

    ``dist_set``: the files it needs; ``port_keys``: the port settings it uses, the clients' one first;
    ``size_setting``: the setting that says how many nodes, empty if there is only ever one.
    """

    name: ClassVar[str]
    dist_set: ClassVar[str]
    port_keys: ClassVar[tuple[str, ...]]
    size_setting: ClassVar[str] = ""

    def __init__(self, site: Site) -> None:
        self.site = site

    @property
    def ports(self) -> list[int]:
        """Client ports, one per node."""
        return self.site.ports[self.port_keys[0]]

    @property
    def nodes(self) -> range:
        """Node numbers, from 1."""
        return range(1, len(self.ports) + 1)

    def node_name(self, node: int) -> str:
        """Name of pid file and log."""
        return self.name if node == 1 else f"{self.name}-{node}"

    @property
    @abstractmethod
    def address(self) -> str:
        """What a client needs to connect."""

    @abstractmethod
    def prepare(self) -> Sequence[Launch]:
        """Write what the server needs to start; one launch per node. May be called while it runs."""

    @abstractmethod
    def check(self) -> None:
        """Ask the server something only a ready one answers. Raises NotReady."""


def processes(settings: Settings) -> Processes:
    return Processes(settings.stack_path / "pids", settings.stack_path / "logs")


def http_get(url: str, timeout_s: float = 5.0) -> bytes:
    """Body of a 200 answer of a local server, past any proxy. Raises NotReady for everything else."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            raise NotReady(f"{url} answers {error.code}") from None
    except OSError as error:
        raise NotReady(f"{url}: {getattr(error, 'reason', error)}") from None


def classpath(*entries: Path | str) -> str:
    return os.pathsep.join(map(str, entries))
