"""Two real stacks side by side: they come up, keep their data over a restart, and leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from elasticsearch import Elasticsearch

from pipelines.settings import Settings, load
from stack import dist, lifecycle, thrift
from tests.integration.hive import create_database

SUBJECT = "stack-test-value"
SCHEMA = json.dumps({"type": "record", "name": "Test", "fields": [{"name": "id", "type": "string"}]})


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory, dist_folder: Path) -> Iterator[list[Settings]]:
    """Two homes with ports of their own, the fetched files shared with the developer's home; both running."""
    any_port = {"ports": dict.fromkeys(lifecycle.PORT_KEYS, 0), "elasticsearch_heap": "512m"}
    found = [
        load("local", dist=str(dist_folder), home=str(tmp_path_factory.mktemp(name)), stack=any_port)
        for name in ("one", "two")
    ]
    dist.fetch(found[0], dist.STACK_SETS)
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lifecycle.up, found))
        yield found
    finally:
        for settings in found:
            lifecycle.down(settings, purge=True)


def write(settings: Settings, word: str) -> None:
    """Leave ``word`` in every server of one stack."""
    address = lifecycle.endpoints(settings)
    admin = AdminClient({"bootstrap.servers": address["kafka"]})
    for future in admin.create_topics([NewTopic(word, num_partitions=1)]).values():
        future.result(timeout=30)
    producer = Producer({"bootstrap.servers": address["kafka"], "acks": "all"})
    producer.produce(word, value=word.encode())
    assert producer.flush(30) == 0
    with SchemaRegistryClient({"url": address["registry"]}) as registry:
        registry.register_schema(f"{word}-value", Schema(SCHEMA, "AVRO"))
    with Elasticsearch(address["elasticsearch"]) as client:
        client.index(index=word, id="1", document={"word": word}, refresh=True)
    create_database(address["metastore"], f"sdp_{word}", f"{address['warehouse']}/sdp_{word}.db")


def found_in(settings: Settings) -> dict[str, Any]:
    """What every server of one stack holds."""
    address = lifecycle.endpoints(settings)
    admin = AdminClient({"bootstrap.servers": address["kafka"]})
    topics = [name for name in admin.list_topics(timeout=30).topics if not name.startswith("__")]
    with SchemaRegistryClient({"url": address["registry"]}) as registry:
        schemas = {s: str(registry.get_latest_version(s).schema.schema_str) for s in registry.get_subjects()}
    with Elasticsearch(address["elasticsearch"]) as client:
        client.cluster.health(wait_for_status="yellow", wait_for_no_initializing_shards=True)
        documents = [hit["_source"]["word"] for hit in client.search(index="*")["hits"]["hits"]]
    host, port = address["metastore"].removeprefix("thrift://").split(":")
    return {
        "messages": {topic: first_message(address["kafka"], topic) for topic in topics},
        "schemas": schemas,
        "documents": documents,
        "databases": sorted(thrift.get_all_databases(host, int(port))),
    }


def first_message(bootstrap: str, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        message = consumer.poll(60)
        return None if message is None else message.value()
    finally:
        consumer.close()


def expected(word: str) -> dict[str, Any]:
    return {
        "messages": {word: word.encode()},
        "schemas": {f"{word}-value": SCHEMA},
        "documents": [word],
        "databases": ["default", f"sdp_{word}"],
    }


def test_two_stacks_side_by_side_keep_their_own_data_over_a_restart(stacks: list[Settings]) -> None:
    one, two = stacks
    write(one, "apple")
    write(two, "pear")
    before = lifecycle.endpoints(one)
    lifecycle.down(one)
    assert stack_processes(one) == []
    assert lifecycle.up(one) == before
    assert found_in(one) == expected("apple")
    assert found_in(two) == expected("pear")


def test_status_on_the_command_line(stacks: list[Settings]) -> None:
    answer = sdp(stacks[0], "stack", "status", "--json")
    assert answer.returncode == 0
    shown = json.loads(answer.stdout)
    assert {k: v for k, v in shown.items() if k != "servers"} == lifecycle.endpoints(stacks[0])
    assert all(server["running"] for server in shown["servers"].values())


def test_doctor_finds_every_server_reachable(stacks: list[Settings]) -> None:
    answer = sdp(stacks[0], "doctor", "--json")
    levels = {finding["what"]: finding["level"] for finding in json.loads(answer.stdout)["findings"]}
    assert {levels[name] for name in ("kafka", "elasticsearch", "registry", "metastore")} == {"ok"}


def test_a_stopped_stack_exits_with_3_and_leaves_no_process(stacks: list[Settings]) -> None:
    two = stacks[1]
    assert sdp(two, "stack", "down").returncode == 0
    assert sdp(two, "stack", "status").returncode == 3
    assert stack_processes(two) == []


def sdp(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).with_name("sdp")),
        *arguments,
        "--set",
        f"home={settings.home}",
        "--set",
        f"dist={settings.dist_path}",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def stack_processes(settings: Settings) -> list[str]:
    """Command lines of living processes that name this home."""
    return [line for p in psutil.process_iter() if (line := command_line(p)) and str(settings.home_path) in line]


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
