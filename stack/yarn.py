"""A real YARN of one ResourceManager and one NodeManager, for tests of spark-submit in cluster mode.

Not part of `sdp stack up`. Applications read and write local files (``fs.defaultFS`` is ``file:///``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import ServerFailed
from pipelines.settings import Settings
from stack import dist, java, ports
from stack.metastore import hadoop_xml
from stack.process import Launch, Processes
from stack.server import NotReady, classpath, http_get

DIST_SET = "yarn"
READY_TIMEOUT_S = 120.0
_MANAGERS = {"resourcemanager": "resourcemanager.ResourceManager", "nodemanager": "nodemanager.NodeManager"}

_LOGGING = """\
log4j.rootLogger=WARN, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %c: %m%n
"""


@contextmanager
def running(settings: Settings, folder: Path, memory_mb: int = 6144, vcores: int = 4) -> Iterator[Path]:
    """A YARN below ``folder`` while the block runs; yields the ``HADOOP_CONF_DIR`` to submit with."""
    try:
        yield start(settings, folder, memory_mb, vcores)
    finally:
        stop(folder)


def start(settings: Settings, folder: Path, memory_mb: int = 6144, vcores: int = 4) -> Path:
    """Start both managers on free ports and wait until a node has joined; returns the ``HADOOP_CONF_DIR``.

    ``memory_mb`` and ``vcores`` are what applications may take together. Containers log to ``<folder>/containers``.
    Needs ``dist.fetch(settings, ["yarn"])``. Raises ServerFailed, and stops what it started, if a manager dies.
    """
    folder = folder.resolve()
    conf = folder / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    web = f"localhost:{ports.pick()}"
    (conf / "core-site.xml").write_text(
        hadoop_xml({"fs.defaultFS": "file:///", "hadoop.tmp.dir": str(folder / "tmp")}), encoding="utf-8"
    )
    (conf / "yarn-site.xml").write_text(hadoop_xml(_properties(folder, web, memory_mb, vcores)), encoding="utf-8")
    (conf / "log4j.properties").write_text(_LOGGING, encoding="utf-8")
    known = _processes(folder)
    try:
        for name, main_class in _MANAGERS.items():
            known.start(_launch(settings, folder, name, main_class))
        _wait_for_node(known, web)
    except BaseException:
        stop(folder)
        raise
    return conf


def stop(folder: Path) -> None:
    """Stop both managers, and with them every container."""
    known = _processes(folder.resolve())
    for name in sorted(known.names()):  # the NodeManager first: it takes its containers along
        known.stop(name, timeout_s=5)  # it would linger to tidy logs that nobody keeps


def _processes(folder: Path) -> Processes:
    return Processes(folder / "pids", folder / "logs")


def _launch(settings: Settings, folder: Path, name: str, main_class: str) -> Launch:
    command: list[str | Path] = [
        java.executable(),
        "-Xmx384m",
        "--add-opens",
        "java.base/java.lang=ALL-UNNAMED",
        "-cp",
        classpath(folder / "conf", dist.folder(settings, DIST_SET) / "*"),
        f"org.apache.hadoop.yarn.server.{main_class}",
    ]
    environment = {"HADOOP_CONF_DIR": str(folder / "conf"), "JAVA_HOME": str(java.home())}
    return Launch(name, command, folder=folder, env=environment)


def _properties(folder: Path, web: str, memory_mb: int, vcores: int) -> dict[str, str]:
    def address() -> str:
        return f"localhost:{ports.pick()}"

    scheduler = "org.apache.hadoop.yarn.server.resourcemanager.scheduler.fifo.FifoScheduler"
    return {
        "yarn.resourcemanager.hostname": "localhost",
        "yarn.resourcemanager.address": address(),
        "yarn.resourcemanager.scheduler.address": address(),
        "yarn.resourcemanager.resource-tracker.address": address(),
        "yarn.resourcemanager.admin.address": address(),
        "yarn.resourcemanager.webapp.address": web,
        "yarn.resourcemanager.scheduler.class": scheduler,
        "yarn.nodemanager.address": address(),
        "yarn.nodemanager.localizer.address": address(),
        "yarn.nodemanager.webapp.address": address(),
        "yarn.nodemanager.local-dirs": str(folder / "local"),
        "yarn.nodemanager.log-dirs": str(folder / "containers"),
        "yarn.nodemanager.resource.memory-mb": str(memory_mb),
        "yarn.nodemanager.resource.cpu-vcores": str(vcores),
        "yarn.scheduler.minimum-allocation-mb": "256",
        "yarn.scheduler.maximum-allocation-mb": str(memory_mb),
        # a JVM reserves far more address space than it uses, and a test machine's disk is often nearly full
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.disk-health-checker.enable": "false",
        "yarn.nodemanager.process-kill-wait.ms": "1000",  # a stop waits this long for applications to go away
        "yarn.resourcemanager.am.max-attempts": "1",
        # Spark brings its own Hadoop classes; the server's would clash with them
        "yarn.application.classpath": "",
    }


def _wait_for_node(known: Processes, web: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            return _check(web)
        except NotReady as reason:
            for name in _MANAGERS:
                log = f"{known.log(name)} ends with:\n{known.last_lines(name)}"
                if not known.alive(name):
                    raise ServerFailed("yarn", web, f"{name} died while starting; {log}") from None
                if time.monotonic() > deadline:
                    raise ServerFailed(
                        "yarn", web, f"not ready after {READY_TIMEOUT_S:.0f} s ({reason}); {log}"
                    ) from None
            time.sleep(0.2)


def _check(web: str) -> None:
    metrics = json.loads(http_get(f"http://{web}/ws/v1/cluster/metrics"))["clusterMetrics"]
    if metrics["activeNodes"] < 1:
        raise NotReady("no NodeManager has joined yet")
