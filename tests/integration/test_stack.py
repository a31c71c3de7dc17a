"""Two real stacks side by side: each keeps its own data over a restart, and a stopped one leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from elasticsearch import Elasticsearch

from pipelines.settings import Settings, load
from stack import dist, kafka, lifecycle, thrift
from tests.commands import sdp, stack_processes
from tests.integration.hive import create_database

HYPHEN_FIRST = "-Pj4-Pj4-Pj4-Pj4-Pj4-A"
"""A cluster id as one in 64 is."""

SCHEMA = json.dumps({"type": "record", "name": "Test", "fields": [{"name": "id", "type": "string"}]})


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, dist_folder: Path) -> Iterator[Settings]:
    """A running stack of our own, to stop and start at will."""
    any_port = {"ports": dict.fromkeys(lifecycle.PORT_KEYS, 0), "elasticsearch_heap": "512m"}
    settings = load("local", dist=str(dist_folder), home=str(tmp_path_factory.mktemp("stack")), stack=any_port)
    dist.fetch(settings, dist.STACK_SETS)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kafka, "new_cluster_id", lambda: HYPHEN_FIRST)
            lifecycle.up(settings)
        yield settings
    finally:
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


def found_in(settings: Settings, *words: str) -> dict[str, Any]:
    """What the servers of one stack hold of these words."""
    address = lifecycle.endpoints(settings)
    admin = AdminClient({"bootstrap.servers": address["kafka"]})
    topics = [word for word in words if word in admin.list_topics(timeout=30).topics]
    with SchemaRegistryClient({"url": address["registry"]}) as registry:
        subjects = [name for word in words if (name := f"{word}-value") in registry.get_subjects()]
        schemas = {name: registry.get_latest_version(name).schema.schema_str for name in subjects}
    with Elasticsearch(address["elasticsearch"]) as client:
        client.cluster.health(wait_for_status="yellow", wait_for_no_initializing_shards=True)
        indices = [word for word in words if client.indices.exists(index=word)]
        documents = [hit["_source"]["word"] for index in indices for hit in client.search(index=index)["hits"]["hits"]]
    host, port = address["metastore"].removeprefix("thrift://").split(":")
    databases = thrift.get_all_databases(host, int(port))
    return {
        "messages": {topic: first_message(address["kafka"], topic) for topic in topics},
        "schemas": schemas,
        "documents": documents,
        "databases": [name for word in words if (name := f"sdp_{word}") in databases],
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
        "databases": [f"sdp_{word}"],
    }


def test_two_stacks_side_by_side_keep_their_own_data_over_a_restart(stack: Settings, servers: Settings) -> None:
    write(stack, "apple")
    write(servers, "pear")
    before = lifecycle.endpoints(stack)
    lifecycle.down(stack)
    assert stack_processes(stack) == []
    assert lifecycle.up(stack) == before
    assert found_in(stack, "apple", "pear") == expected("apple")
    assert found_in(servers, "apple", "pear") == expected("pear")


def test_status_on_the_command_line(stack: Settings) -> None:
    answer = sdp(stack, "stack", "status", "--json")
    assert answer.returncode == 0
    shown = json.loads(answer.stdout)
    assert {k: v for k, v in shown.items() if k != "servers"} == lifecycle.endpoints(stack)
    assert all(server["running"] for server in shown["servers"].values())


def test_doctor_finds_every_server_reachable(stack: Settings) -> None:
    answer = sdp(stack, "doctor", "--json")
    levels = {finding["what"]: finding["level"] for finding in json.loads(answer.stdout)["findings"]}
    assert {levels[name] for name in ("kafka", "elasticsearch", "registry", "metastore")} == {"ok"}


def test_a_stopped_stack_exits_with_3_and_leaves_no_process(stack: Settings) -> None:
    assert sdp(stack, "stack", "down").returncode == 0
    assert sdp(stack, "stack", "status").returncode == 3
    assert stack_processes(stack) == []
