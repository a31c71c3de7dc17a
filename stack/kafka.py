"""Kafka in KRaft mode: one or three brokers, each its own controller."""

from __future__ import annotations

import base64
import logging
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipelines.errors import ServerFailed
from stack import dist, java
from stack.process import Launch
from stack.server import NotReady, Server, classpath

_CONFIG = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=CLIENT://localhost:{port},CONTROLLER://localhost:{controller_port}
advertised.listeners=CLIENT://localhost:{port}
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor={replication}
offsets.topic.num.partitions=10
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={min_isr}
transaction.state.log.num.partitions=10
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={min_isr}
group.initial.rebalance.delay.ms=0
# brokers that all stop at once would wait minutes for a controller that is gone; the data are flushed all the same
controlled.shutdown.enable=false
"""

_LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.lifecycle.name = kafka.server.KafkaRaftServer
logger.lifecycle.level = info
"""

_silent = logging.getLogger("stack.kafka.client")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False  # "connection refused" is what waiting for a broker looks like


def new_cluster_id() -> str:
    """A random UUID in URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class Kafka(Server):
    name = "kafka"
    dist_set = "kafka"
    port_keys = ("kafka", "kafka_controller")
    size_setting = "brokers"

    @property
    def address(self) -> str:
        return ",".join(f"localhost:{port}" for port in self.ports)

    def prepare(self) -> Sequence[Launch]:
        (self._home / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        for node in self.nodes:
            self._config(node).write_text(self._properties(node), encoding="utf-8")
        self._format([n for n in self.nodes if not (self._home / str(n) / "meta.properties").exists()])
        return [self._launch(node) for node in self.nodes]

    def check(self) -> None:
        client = AdminClient(
            {"bootstrap.servers": self.address, "socket.timeout.ms": 5000, "log_level": 0}, logger=_silent
        )
        try:
            known = len(client.list_topics(timeout=3).brokers)
            reachable = len(client.describe_cluster(request_timeout=3).result(timeout=5).nodes)
        except (KafkaException, TimeoutError) as error:
            raise NotReady(f"no metadata from {self.address}: {error}") from None
        if min(known, reachable) < len(self.nodes):
            raise NotReady(f"{min(known, reachable)} of {len(self.nodes)} brokers have joined")

    @property
    def _home(self) -> Path:
        home = self.site.data(self.name)
        home.mkdir(parents=True, exist_ok=True)
        return home

    def _config(self, node: int) -> Path:
        return self._home / f"{node}.properties"

    def _properties(self, node: int) -> str:
        controllers = self.site.ports["kafka_controller"]
        size = len(self.nodes)
        return _CONFIG.format(
            node=node,
            voters=",".join(f"{n}@localhost:{port}" for n, port in zip(self.nodes, controllers, strict=True)),
            port=self.ports[node - 1],
            controller_port=controllers[node - 1],
            data=self._home / str(node),
            replication=min(3, size),
            min_isr=min(2, size),
        )

    def _java(self, *options: str) -> list[str | Path]:
        jars = dist.folder(self.site.settings, self.dist_set)
        return [
            java.executable(),
            *options,
            f"-Dlog4j2.configurationFile={(self._home / 'log4j2.properties').as_uri()}",
            "-cp",
            classpath(jars / "*"),
        ]

    def _launch(self, node: int) -> Launch:
        command = [*self._java("-Xmx1g", "-Xms256m", "-XX:+ExitOnOutOfMemoryError"), "kafka.Kafka", self._config(node)]
        return Launch(self.node_name(node), command, folder=self._home)

    def _format(self, nodes: Sequence[int]) -> None:
        id_option = f"--cluster-id={new_cluster_id()}"  # as one word: an id may begin with a hyphen
        tool = [*self._java("-Xmx256m", *java.START_FAST), "kafka.tools.StorageTool", "format", id_option, "-c"]
        running = [
            subprocess.Popen([*tool, self._config(n)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for n in nodes
        ]
        for process in running:
            said, _ = process.communicate(timeout=120)
            if process.returncode != 0:
                raise ServerFailed("kafka", str(self._home), f"formatting the storage failed: {said.decode().strip()}")
