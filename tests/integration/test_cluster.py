"""Three brokers and three Elasticsearch nodes: one of each may stop, and records still go in and come out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]
from elasticsearch import Elasticsearch
from pyspark.sql import SparkSession

from pipelines import bootstrap
from pipelines.settings import Settings, load
from stack import lifecycle
from stack.server import processes
from tests.commands import FREE_PORTS, sdp, stack_processes
from tests.world import World, fields, record

SIZE = ["stack.brokers=3", "stack.elasticsearch_nodes=3", "stack.elasticsearch_heap=512m"]
NODES = {1, 2, 3}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, dist_folder: Path) -> Iterator[Settings]:
    """The settings of a stack of three that `sdp stack up` has brought up."""
    settings = load("local", dist=str(dist_folder), home=str(tmp_path_factory.mktemp("three")))
    try:
        answer = sdp(settings, "stack", "up", "--json", overrides=[*SIZE, *FREE_PORTS], timeout_s=900)
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout) == lifecycle.endpoints(settings)
        yield load("local", dist=str(dist_folder), home=str(settings.home))
    finally:
        lifecycle.down(settings, purge=True)


@pytest.fixture
def here(cluster: Settings, world: World, spark: SparkSession) -> World:
    """The test's corner, with topics and indices on the three and tables where all tests have them."""
    own = world.with_settings(
        kafka={"bootstrap": cluster.kafka.bootstrap},
        registry={"url": cluster.registry.url},
        elasticsearch={"url": cluster.elasticsearch.url},
    )
    return World.create(own, spark)


def replicas(settings: Settings, topic: str) -> dict[int, tuple[int, set[int]]]:
    """Partition → its leader and all brokers that hold it."""
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap})
    partitions = admin.list_topics(topic, timeout=30).topics[topic].partitions
    return {n: (p.leader, set(p.replicas)) for n, p in partitions.items()}


def min_insync(settings: Settings, topic: str) -> str | None:
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap})
    [found] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    value: str | None = found.result(timeout=30)["min.insync.replicas"].value
    return value


def stop_node(settings: Settings, server: str, number: int) -> None:
    name = server if number == 1 else f"{server}-{number}"
    running = processes(settings)
    assert running.alive(name)
    running.stop(name)


def stop_master(settings: Settings) -> str:
    """Stop the elected master of Elasticsearch; returns the URL of a node that is left."""
    with Elasticsearch(settings.elasticsearch.url) as client:
        chosen = client.cluster.state(metric="master_node")["master_node"]
        nodes = client.nodes.info(metric="http")["nodes"]
    stop_node(settings, "elasticsearch", int(nodes.pop(chosen)["name"].removeprefix("node-")))
    _, left = nodes.popitem()
    return f"http://localhost:{left['http']['publish_address'].rpartition(':')[2]}"


def test_every_broker_and_node_has_joined(cluster: Settings) -> None:
    assert len(cluster.kafka.bootstrap.split(",")) == 3
    admin = AdminClient({"bootstrap.servers": cluster.kafka.bootstrap})
    assert set(admin.list_topics(timeout=30).brokers) == NODES
    with Elasticsearch(cluster.elasticsearch.url) as client:
        health = client.cluster.health()
    assert (health["status"], health["number_of_data_nodes"]) == ("green", 3)
    answer = sdp(cluster, "stack", "status", "--json")
    assert answer.returncode == 0, answer.stdout
    servers = json.loads(answer.stdout)["servers"]
    assert {name: len(server["pids"]) for name, server in servers.items()} == {
        "kafka": 3,
        "elasticsearch": 3,
        "registry": 1,
        "metastore": 1,
    }


def test_one_broker_and_one_node_may_stop(cluster: Settings, here: World) -> None:
    topic, indices = here.settings.kafka.topic, f"{here.settings.elasticsearch.index_prefix}-*"
    for name in (topic, here.settings.kafka.dlq_topic):
        assert [held for _, held in replicas(cluster, name).values()] == [NODES] * 12
        assert min_insync(cluster, name) == "2"
    records = [record() for _ in range(240)]
    here.send(map(here.encode, records[:120]))
    here.run("index")
    with Elasticsearch(cluster.elasticsearch.url) as client:
        shapes = client.indices.get_settings(index=indices)
        assert {s["settings"]["index"]["number_of_replicas"] for s in shapes.values()} == {"1"}
        assert client.cluster.health(index=indices, wait_for_status="green", timeout="30s")["status"] == "green"

    leader, _ = replicas(cluster, topic)[0]
    stop_node(cluster, "kafka", leader)
    here.settings = here.with_settings(elasticsearch={"url": stop_master(cluster)})
    here.send(map(here.encode, records[120:]))
    here.run("index")

    sent = {(n % 12, n % 120 // 12 + n // 120 * 10): each for n, each in enumerate(records)}
    found = here.documents().values()
    assert {(d["kafka_partition"], d["kafka_offset"]): fields(d) for d in found} == sent
    assert (len(found), here.es_invalid()) == (240, {})
    assert here.ledger("index") == {p: [(0, 10, 10, 0, 0, 0), (10, 20, 10, 0, 0, 0)] for p in range(12)}
    assert leader not in {now for now, _ in replicas(cluster, topic).values()}
    topics = bootstrap.topics(here.settings)  # a broker that is away is no reason for fewer copies
    assert topics.plan([topic, here.settings.kafka.dlq_topic]).is_empty
    assert [new.replication for new in topics.plan(["raw-events"]).create] == [3]


def test_down_leaves_nothing_running(cluster: Settings) -> None:
    running = stack_processes(cluster)
    for program in ("kafka.Kafka", "org.elasticsearch.bootstrap.Elasticsearch"):
        assert sum(program in line for line in running) == 2, "one of three was stopped before"
    answer = sdp(cluster, "stack", "down", "--json")
    assert answer.returncode == 0, answer.stderr
    assert stack_processes(cluster) == []
    assert sdp(cluster, "stack", "status").returncode == 3
