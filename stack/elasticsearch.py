"""Elasticsearch: one node, or three that form a cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import UsageError
from stack import dist, java, unprivileged
from stack.process import Launch
from stack.server import NotReady, Server, http_get

_JVM_OPTIONS = """\
-XX:+UseG1GC
-XX:+ExitOnOutOfMemoryError
-Djava.io.tmpdir=${ES_TMPDIR}
"""

_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1.}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.node.name = org.elasticsearch.node.Node
logger.node.level = info
"""


class Elasticsearch(Server):
    name = "elasticsearch"
    dist_set = "elasticsearch"
    port_keys = ("elasticsearch", "elasticsearch_transport")
    size_setting = "elasticsearch_nodes"

    @property
    def address(self) -> str:
        return f"http://localhost:{self.ports[0]}"

    def prepare(self) -> Sequence[Launch]:
        home = unprivileged.data_folder(self.site.data(self.name), self.site.settings.home_path)
        fetched = dist.folder(self.site.settings, self.dist_set)
        (program,) = unprivileged.program_folder(fetched, self.site.settings.home_path).glob("elasticsearch-*")
        self._refuse_hidden_java()
        return [self._launch(node, home / str(node), program) for node in self.nodes]

    def check(self) -> None:
        health: dict[str, Any] = json.loads(http_get(f"{self.address}/_cluster/health"))
        if health["number_of_nodes"] < len(self.nodes):
            raise NotReady(f"{health['number_of_nodes']} of {len(self.nodes)} nodes have joined")
        if health["status"] == "red":
            raise NotReady("the cluster is red: not every primary shard is assigned")

    def _launch(self, node: int, home: Path, program: Path) -> Launch:
        config = home / "config"
        for folder in (config, home / "data", home / "logs", home / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        (config / "elasticsearch.yml").write_text(yaml.safe_dump(self._config(node, home)), encoding="utf-8")
        heap = self.site.settings.stack.elasticsearch_heap
        (config / "jvm.options").write_text(f"{_JVM_OPTIONS}-Xms{heap}\n-Xmx{heap}\n", encoding="utf-8")
        (config / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        unprivileged.hand_over(home)
        environment = {
            "ES_JAVA_HOME": str(java.home()),
            "ES_PATH_CONF": str(config),
            "ES_TMPDIR": str(home / "tmp"),
            "CLI_JAVA_OPTS": " ".join(("-Xmx64m", *java.START_FAST)),
            "HOME": str(home),
        }
        return Launch(
            self.node_name(node),
            [program / "bin" / "elasticsearch"],
            folder=home,
            env=environment,
            user=unprivileged.user(),
        )

    def _config(self, node: int, home: Path) -> dict[str, Any]:
        transport = self.site.ports["elasticsearch_transport"]
        config: dict[str, Any] = {
            "cluster.name": "sdp",
            "node.name": f"node-{node}",
            "path.data": str(home / "data"),
            "path.logs": str(home / "logs"),
            "network.host": "_local_",
            "http.port": self.ports[node - 1],
            "transport.port": transport[node - 1],
            "xpack.security.enabled": False,
            # a developer's disk is often fuller than 90 %: without this, indices would turn read-only
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }
        if len(self.nodes) == 1:
            return config | {"discovery.type": "single-node"}
        return config | {
            "discovery.seed_hosts": [f"127.0.0.1:{port}" for port in transport],
            "cluster.initial_master_nodes": [f"node-{n}" for n in self.nodes],
        }

    def _refuse_hidden_java(self) -> None:
        if unprivileged.user() is not None and not unprivileged.reachable(java.home()):
            raise UsageError(
                f"Elasticsearch refuses to run as root, and user {unprivileged.USER} can't reach {java.home()}: "
                f"point JAVA_HOME at a Java that every user can run"
            )
