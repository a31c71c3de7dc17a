"""The laboratory: a stack of its own, topics filled with traffic, and workers that run one side of a comparison."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.meter import Outcome
from pipelines import bootstrap
from pipelines.adapters.kafka import KafkaAdmin
from pipelines.adapters.producer import KafkaSender
from pipelines.adapters.registry import Registry
from pipelines.contracts import avro, wire
from pipelines.contracts.topic_file import wanted_topics
from pipelines.flows import produce as producing
from pipelines.settings import ROOT, Settings, load
from pipelines.traffic.generate import SCHEMA_VERSION, Plan
from pipelines.traffic.mix import parse_mix
from stack import lifecycle

SEED = 20260101
HOUR_MS = 3_600_000
MOST_QUEUED = 200_000
RECORDS_PER_HOUR = 1_000_000
"""Event time grows with the records, as it does in real traffic: a larger topic spans more hours, not fuller ones."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic filled with ``records`` messages; what must become of them."""

    name: str
    partitions: int
    records: int
    mix: str
    valid: int
    invalid: int


class WorkerFailed(Exception):
    """A side of a comparison did not finish; the message ends with what it printed last."""


class Lab:
    """One stack under ``home``, which every user must be able to reach; ``dist`` holds jars and servers."""

    def __init__(self, home: Path, dist: Path, spark_conf: dict[str, str]) -> None:
        self.home, self._dist, self._spark_conf = home, dist, spark_conf
        self._runs = 0
        self._until_ms = time.time_ns() // 1_000_000 - 60_000

    def up(self) -> None:
        """Start all servers, on free ports."""
        lifecycle.up(self.settings())
        bootstrap.prepare(self.settings())

    def down(self) -> None:
        """Stop all servers and remove their data."""
        lifecycle.down(self.settings(), purge=True)

    def settings(self, overrides: list[str] | None = None) -> Settings:
        return load("local", [*self.common(), *(overrides or [])])

    def common(self) -> list[str]:
        """What every process of the laboratory is started with."""
        return [
            f"home={self.home}",
            f"dist={self._dist}",
            *(f"stack.ports.{name}=0" for name in lifecycle.PORT_KEYS),
            "spark.master=local[2]",
            "spark.driver_memory=2g",
            f"spark.conf={json.dumps(self._spark_conf)}",
        ]

    def fresh(self, topic: Topic) -> tuple[str, list[str]]:
        """Name and settings of a run on ``topic`` with checkpoint, tables and indices of its own."""
        self._runs += 1
        name = f"run{self._runs}"
        place = self.home / "runs" / name
        own = [
            f"kafka.topic={topic.name}",
            f"checkpoints={place / 'checkpoints'}",
            f"warehouse={place / 'warehouse'}",
            f"metastore.database=bench_{name}",
            f"elasticsearch.index_prefix=bench-{name}",
        ]
        return name, [*self.common(), *own]

    def forget(self, name: str) -> None:
        """Remove the files of a run."""
        shutil.rmtree(self.home / "runs" / name, ignore_errors=True)

    def fill(self, name: str, records: int, partitions: int = 12, mix: str = "clean") -> Topic:
        """Create a topic and fill it with gzip-compressed framed records by the load generator."""
        settings = self._with_topic(name, partitions)
        span_ms = HOUR_MS * records // RECORDS_PER_HOUR
        plan = Plan(records, SEED, parse_mix(mix), span_ms, self._until_ms, schema_id=0)
        plan = producing.with_schema(plan, bootstrap.prepare(settings))
        done = producing.produce(plan, KafkaSender(settings.kafka), 0, Event())
        if done.failures:
            raise WorkerFailed(f"Kafka did not take all records of {name}: {done.failures}")
        return Topic(name, partitions, records, mix, done.expected.valid, done.expected.invalid)

    def fill_versions(self, topic: Topic, versions: int) -> Topic:
        """The records of ``topic`` in equal parts of so many versions, each with one optional field more than the last.

        The fields are null, so a record of version k is one of version 1 with k - 1 zero bytes behind it.
        """
        name = f"{topic.name}-v{versions}"
        settings = self._with_topic(name, topic.partitions)
        schema = json.loads(avro.load(settings.registry.subject, SCHEMA_VERSION).text)
        registry = Registry(settings.registry)
        ids = [registry.register(settings.registry.subject, json.dumps(schema))]
        for number in range(2, versions + 1):
            field = {"name": f"extra_{number}", "type": ["null", "string"], "default": None}
            schema["fields"].append(field)
            ids.append(registry.register(settings.registry.subject, json.dumps(schema)))
        headers, nulls = [wire.frame(i, b"") for i in ids], [bytes(n) for n in range(versions)]
        clients = {"bootstrap.servers": settings.kafka.bootstrap}
        consumer = Consumer({**clients, "group.id": name, "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic.name, p, 0) for p in range(topic.partitions)])
        queue = {"queue.buffering.max.messages": 2 * MOST_QUEUED}
        producer = Producer({**clients, **queue, "compression.type": "gzip", "linger.ms": 50})
        copied = 0
        while copied < topic.records:
            for message in consumer.consume(10_000, timeout=10):
                part = copied % versions
                value = headers[part] + (message.value() or b"")[wire.HEADER_LENGTH :] + nulls[part]
                producer.produce(name, value, message.key(), message.partition() or 0, timestamp=message.timestamp()[1])
                copied += 1
            producer.poll(0)
            if len(producer) > MOST_QUEUED:
                producer.flush()
        producer.flush()
        consumer.close()
        return Topic(name, topic.partitions, topic.records, f"{versions} versions", topic.valid, topic.invalid)

    def _with_topic(self, name: str, partitions: int) -> Settings:
        settings = self.settings([f"kafka.topic={name}"])
        spec = next(t for t in wanted_topics(settings.kafka) if t.name == name)
        KafkaAdmin(settings.kafka).ensure([replace(spec, partitions=partitions)])
        return settings

    @contextmanager
    def worker(self, name: str) -> Iterator[Worker]:
        """A process that runs tasks one after the other and stays warm between them."""
        logs = self.home / "worker-logs"
        logs.mkdir(exist_ok=True)
        worker = Worker(self, logs / f"{name}-{self._runs}.log")
        try:
            yield worker
        finally:
            worker.close()


class Worker:
    """The other end of ``python -m benchmarks.worker``: one JSON line each way per task."""

    def __init__(self, lab: Lab, log: Path) -> None:
        self._lab, self._log = lab, log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=lab.home,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                text=True,
            )

    def run(self, task: str, topic: Topic) -> Outcome:
        """Run one task on everything that ``topic`` holds, with fresh state. Raises WorkerFailed."""
        name, overrides = self._lab.fresh(topic)
        found = self._ask({"task": task, "run": name, "overrides": overrides})
        self._lab.forget(name)
        outcome = Outcome(**found)
        if outcome.records != topic.records:
            raise WorkerFailed(f"{task} took {outcome.records} of {topic.records} records of {topic.name}")
        if outcome.valid and (outcome.valid, outcome.invalid) != (topic.valid, topic.invalid):
            raise WorkerFailed(
                f"{task} on {topic.name}: {outcome.valid} valid and {outcome.invalid} invalid, "
                f"expected {topic.valid} and {topic.invalid}"
            )
        return outcome

    def close(self) -> None:
        """Let the process end; it takes its JVM along."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            said = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
            raise WorkerFailed(f"{request['task']} died:\n" + "\n".join(said))
        return dict(json.loads(answer))
