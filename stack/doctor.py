"""Look at this machine and its servers, and say what to do about what is found."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from pipelines.errors import UsageError
from pipelines.settings import Settings
from stack import dist, java, lifecycle, metastore, ports

NEEDED_MEMORY_GIB = 6.0
"""Default heaps of the four servers (2.9 GiB), a 2 GiB Spark driver and what the JVMs take beside their heaps."""
NEEDED_DISK_GIB = 10.0
"""Jars and servers 1 GiB; the rest for a demo's topics, tables and indices."""
_GIB = 1024**3
_ADDRESSES = {"kafka": "bootstrap", "elasticsearch": "url", "registry": "url", "metastore": "uri"}
"""Server → its setting that says where clients find it."""
_JAR = re.compile(r"(?P<artifact>.+?)-(?P<version>\d[\w.]*)\.jar$")


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``advice`` is empty when all is well."""

    level: Level
    what: str
    found: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """All findings, the machine first. Reads only; starts nothing."""
    return [
        check_python(sys.version_info[:2]),
        check_java(java.candidate()),
        check_maven(shutil.which("mvn")),
        check_memory(psutil.virtual_memory().total),
        check_disk(settings.home_path),
        *check_jars(settings),
        *(check_ports(settings) if settings.env == "local" else ()),
        *check_servers(settings),
    ]


def check_python(version: tuple[int, ...]) -> Finding:
    found = ".".join(map(str, version))
    if version == (3, 11):
        return Finding(Level.OK, "Python", found)
    return Finding(Level.WARNING, "Python", found, "the locked requirements are tried with 3.11 only: use python3.11")


def check_java(executable: Path | None) -> Finding:
    if executable is None:
        return Finding(
            Level.PROBLEM, "Java", "none", f"install Java {java.VERSION} (`make install` does it) or set JAVA_HOME"
        )
    version = java.major(executable)
    if version == java.VERSION:
        return Finding(Level.OK, "Java", f"{version} at {executable}")
    return Finding(Level.PROBLEM, "Java", f"{version} at {executable}", f"point JAVA_HOME at a Java {java.VERSION}")


def check_maven(executable: str | None) -> Finding:
    if executable:
        return Finding(Level.OK, "Maven", executable)
    return Finding(
        Level.WARNING, "Maven", "none", "needed only to fetch jars: `make install` or install the package `maven`"
    )


def check_memory(total_bytes: int) -> Finding:
    found = f"{total_bytes / _GIB:.1f} GiB"
    if total_bytes >= NEEDED_MEMORY_GIB * _GIB:
        return Finding(Level.OK, "memory", found)
    advice = f"{NEEDED_MEMORY_GIB:.0f} GiB are comfortable; lower stack.elasticsearch_heap and spark.driver_memory"
    return Finding(Level.WARNING, "memory", found, advice)


def check_disk(home: Path) -> Finding:
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free / _GIB
    found = f"{free:.1f} GiB free at {existing}"
    if free >= NEEDED_DISK_GIB:
        return Finding(Level.OK, "disk", found)
    return Finding(
        Level.WARNING, "disk", found, f"{NEEDED_DISK_GIB:.0f} GiB are comfortable; free some or move SDP_HOME"
    )


def check_jars(settings: Settings) -> Iterator[Finding]:
    """Whether the fetched jars are there, fit the wheels, and don't repeat a jar of the pyspark wheel."""
    try:
        fetched = [jar.name for jar in dist.jars(settings, "spark")]
        for name in dist.STACK_SETS:
            dist.folder(settings, name)
    except UsageError as error:
        yield Finding(Level.PROBLEM, "jars", "not fetched", str(error))
        return
    versions = {match["artifact"]: match["version"] for name in fetched if (match := _JAR.match(name))}
    yield _matches("pyspark", "spark-sql-kafka-0-10_2.12", versions)
    yield _matches("delta-spark", "delta-spark_2.12", versions)
    shipped = {match["artifact"] for jar in metastore.pyspark_jars().glob("*.jar") if (match := _JAR.match(jar.name))}
    if twice := sorted(shipped & versions.keys()):
        yield Finding(Level.PROBLEM, "jars", f"twice: {', '.join(twice)}", "take them out of stack/poms/spark.xml")


def _matches(wheel: str, artifact: str, versions: dict[str, str]) -> Finding:
    installed, jar = importlib.metadata.version(wheel), versions.get(artifact, "missing")
    found = f"wheel {installed}, jar {jar}"
    if installed == jar:
        return Finding(Level.OK, wheel, found)
    return Finding(
        Level.PROBLEM, wheel, found, f"make stack/poms/spark.xml and requirements/ name one version of {wheel}"
    )


def check_ports(settings: Settings) -> Iterator[Finding]:
    """Ports that a server of ours, which isn't running, would want but somebody else has."""
    running = lifecycle.running_ports(settings)
    for key, numbers in lifecycle.wanted_ports(settings).items():
        for port in numbers:
            if port and key not in running and not ports.is_free(port):
                advice = (
                    f"stop what uses it, or choose another with --set stack.ports.{key}=PORT (0 takes any free one)"
                )
                yield Finding(Level.WARNING, f"port of {key}", f"{port} is taken", advice)


def check_servers(settings: Settings) -> Iterator[Finding]:
    """Whether each server of the local stack answers; elsewhere, whether anybody listens at its address.

    The latter also where a setting sends jobs past the local stack.
    """
    stack = lifecycle.status(settings)["servers"] if settings.env == "local" else {}
    for name, state in stack.items():
        if state["running"]:
            yield Finding(Level.OK, name, state["address"])
        else:
            advice = f"`sdp stack up`; if that fails, read {state['log']}"
            yield Finding(Level.PROBLEM, name, f"{state['address']}: {state['reason']}", advice)
    for name, key in _ADDRESSES.items():
        address = str(getattr(getattr(settings, name), key))
        if name not in stack:
            advice = f"check the address in conf/{settings.env}.yaml and whether the server runs"
            yield _check_address(name, address, advice)
        elif address != stack[name]["address"]:
            source = f"SDP_{name}__{key}".upper()
            advice = (
                f"jobs use this address, not the local stack's: check {source} or --set, and whether the server runs"
            )
            yield _check_address(f"{name}.{key}", address, advice)


def _check_address(what: str, address: str, advice: str) -> Finding:
    refused = [reason for one in address.split(",") if (reason := _refusal(one))]
    if not refused:
        return Finding(Level.OK, what, address)
    return Finding(Level.PROBLEM, what, f"{address}: {'; '.join(refused)}", advice)


def _refusal(address: str) -> str:
    """Why no connection to ``[scheme://]host:port`` is possible; empty if one is."""
    try:
        url = urlsplit(address if "://" in address else f"//{address}")
        port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
        socket.create_connection((url.hostname or "", port), timeout=5).close()
    except (OSError, ValueError) as error:  # ValueError: what isn't an address at all
        return str(error)
    return ""
