"""Three real brokers and a registry that a test may kill and start again."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from pipelines import settings as settings_module
from pipelines.adapters.kafka import KafkaAdmin
from pipelines.contracts.topics import TopicSpec
from pipelines.settings import Settings
from stack import ports
from stack.kafka import Kafka
from stack.registry import Registry
from stack.server import NotReady, Server, Site


def until(condition: Callable[[], Any], timeout_s: float = 180) -> None:
    """Wait for a condition that other processes bring about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


@dataclass
class Brokers:
    """The servers of one home. ``settings``: as `sdp stack up` would have them."""

    settings: Settings

    @property
    def site(self) -> Site:
        return Site(self.settings, ports.read(self.settings.stack_path / "ports.json"))

    @property
    def bootstrap(self) -> str:
        return Kafka(self.site).address

    @property
    def registry_url(self) -> str:
        return Registry(self.site).address

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until the process is gone."""
        known = self.site.processes
        pid = known.pid(name)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        until(lambda: not known.alive(name))

    def start(self, *names: str) -> None:
        """Start killed servers again, with the data they had; returns before they are ready."""
        servers: list[Server] = [Kafka(self.site), Registry(self.site)]
        for server in servers:
            for launch in server.prepare() if any(n.startswith(server.name) for n in names) else ():
                if launch.name in names:
                    self.site.processes.start(launch)

    def node(self, broker: int) -> str:
        return Kafka(self.site).node_name(broker)

    def leader(self, topic: str, partition: int) -> int:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        return int(admin.list_topics(topic, timeout=30).topics[topic].partitions[partition].leader)

    def wait_until_ready(self) -> None:
        def are_ready() -> bool:
            try:
                Kafka(self.site).check()
                Registry(self.site).check()
            except NotReady:
                return False
            return True

        until(are_ready, 120)

    def topic(self, partitions: int = 12, **config: str) -> str:
        """A new topic on all three brokers, of which two must have each record."""
        name = f"t{uuid.uuid4().hex[:10]}"
        spec = TopicSpec(name, partitions, 3, {"min.insync.replicas": "2", **config})
        KafkaAdmin(self.settings.kafka.model_copy(update={"bootstrap": self.bootstrap})).ensure([spec])
        return name

    def client_settings(
        self, topic: str, folder: Path, spool: dict[str, Any] | None = None, **producer: Any
    ) -> Settings:
        """What a producing service would have, with spool and schema cache in ``folder``."""
        own = {"spool": {"folder": folder / "spool"} | (spool or {}), "schema_cache": folder / "schemas"}
        return settings_module.load(
            home=folder,
            kafka={"bootstrap": self.bootstrap, "topic": topic},
            registry={"url": self.registry_url},
            producer=own | producer,
        )

    def keys(self, topic: str) -> Counter[bytes]:
        """Key → how often it is in the topic."""
        return Counter(key for _, key in self.records(topic))

    def records(self, topic: str) -> list[tuple[tuple[int, int], bytes]]:
        """(partition, offset) and key of everything in the topic."""
        reader = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": uuid.uuid4().hex, "enable.auto.commit": False}
        )
        found, left = [], {}
        for partition in reader.list_topics(topic, timeout=30).topics[topic].partitions:
            low, high = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            if high > low:
                left[partition] = high
        reader.assign([TopicPartition(topic, partition, 0) for partition in left])
        deadline = time.monotonic() + 60
        while left:
            assert time.monotonic() < deadline, f"partitions {sorted(left)} could not be read to their end"
            for message in reader.consume(10_000, timeout=1):
                assert message.error() is None, message.error()
                partition, offset = message.partition() or 0, message.offset() or 0
                found.append(((partition, offset), message.key() or b""))
                if offset + 1 >= left.get(partition, offset + 2):
                    del left[partition]
        reader.close()
        return found
