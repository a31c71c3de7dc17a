"""Declared topics of one test on the shared broker, and what the broker itself says of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from pipelines.settings import Settings
from tests.commands import sdp


@dataclass
class DeclaredTopics:
    """A conf/topics.yaml of our own, whose topics have a prefix that no other test has."""

    settings: Settings
    prefix: str
    root: Path

    def declare(self, *topics: dict[str, Any]) -> None:
        """Write the file; names get the prefix, and what isn't said is as small as can be."""
        named = [{"layer": "raw", "partitions": 2} | topic | {"name": self.name(topic["name"])} for topic in topics]
        config = {"compression.type": "gzip", "min.insync.replicas": "2", "cleanup.policy": "delete"}
        file = {"layers": {"raw": "7d"}, "defaults": {"replication": 3, "config": config}, "topics": named}
        (self.root / "conf" / "topics.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")

    def name(self, topic: str) -> str:
        return f"{self.prefix}.{topic}"

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit code and answer of ``sdp topics … --json``."""
        done = sdp(self.settings, "topics", *arguments, "--json")
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    @cached_property
    def client(self) -> AdminClient:
        """Kept: its calls end with it."""
        return AdminClient({"bootstrap.servers": self.settings.kafka.bootstrap})

    def create(self, topic: str, partitions: int = 2, **config: str) -> None:
        """Make a topic by other means."""
        new = NewTopic(self.name(topic), partitions, 1, config={k.replace("_", "."): v for k, v in config.items()})
        for future in self.client.create_topics([new]).values():
            future.result(timeout=30)

    def alter(self, topic: str, **config: str) -> None:
        """Change a topic by other means."""
        entries = [
            ConfigEntry(k.replace("_", "."), v, incremental_operation=AlterConfigOpType.SET) for k, v in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, self.name(topic), incremental_configs=entries)
        for future in self.client.incremental_alter_configs([resource]).values():
            future.result(timeout=30)

    def partitions(self, topic: str) -> int:
        return len(self.client.list_topics(self.name(topic), timeout=30).topics[self.name(topic)].partitions)

    def config(self, topic: str, *names: str) -> list[str]:
        """Values of these settings, by the broker's own word."""
        resource = ConfigResource(ResourceType.TOPIC, self.name(topic))
        [future] = self.client.describe_configs([resource]).values()
        found = future.result(timeout=30)
        return [found[name].value for name in names]

    def existing(self) -> set[str]:
        """Our topics, without the prefix."""
        names = self.client.list_topics(timeout=30).topics
        return {name.removeprefix(f"{self.prefix}.") for name in names if name.startswith(f"{self.prefix}.")}
