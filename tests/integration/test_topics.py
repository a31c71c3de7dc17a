"""``sdp topics`` on a real broker: what it promises about a cluster is true of the cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from pipelines.contracts.topic_plan import Danger
from pipelines.errors import BrokerUnavailable, UsageError
from pipelines.settings import ROOT, Settings
from sdk.topics import TopicAdmin, TopicConfig
from tests.commands import sdp
from tests.integration.declared import DeclaredTopics

WEEK, DAY = "604800000", "86400000"


@pytest.fixture
def corner(servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeclaredTopics]:
    """Topics are removed at the end: other tests look at the whole cluster."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.setenv("SDP_ROOT", str(tmp_path))
    found = DeclaredTopics(servers, f"t{uuid.uuid4().hex[:10]}", tmp_path)
    yield found
    names = [found.name(topic) for topic in found.existing()]
    for future in found.client.delete_topics(names).values() if names else ():
        future.result(timeout=30)


def test_from_nothing_to_declared_and_nothing_twice(corner: DeclaredTopics) -> None:
    corner.declare({"name": "a"}, {"name": "b", "partitions": 3, "config": {"compression.type": "zstd"}})
    code, plan = corner.run("plan")
    assert (code, [topic["topic"] for topic in plan["create"]]) == (1, [corner.name("a"), corner.name("b")])
    assert corner.existing() == set(), "a plan changes nothing"

    code, done = corner.run("apply")
    assert (code, done["done"]) == (0, [f"{corner.name('a')}: created", f"{corner.name('b')}: created"])
    assert (corner.partitions("a"), corner.partitions("b")) == (2, 3)
    settings = ("retention.ms", "compression.type", "cleanup.policy", "min.insync.replicas")
    assert corner.config("a", *settings) == [WEEK, "gzip", "delete", "1"], "fitted to the one broker there is"
    assert corner.config("b", *settings) == [WEEK, "zstd", "delete", "1"]

    assert corner.run("plan")[0] == 0
    code, again = corner.run("apply")
    assert (code, again["done"]) == (0, [])


def test_what_costs_nothing_is_made_and_the_broker_says_so(corner: DeclaredTopics) -> None:
    corner.create("a", retention_ms=DAY, compression_type="snappy", max_message_bytes="1000")
    corner.create("b", partitions=1)
    corner.declare(
        {"name": "a", "config": {"max.message.bytes": "2000"}}, {"name": "b", "partitions": 4, "keyed": False}
    )
    code, done = corner.run("apply")
    assert (code, done["differs"]) == (0, False)
    assert corner.config("a", "retention.ms", "compression.type", "max.message.bytes") == [WEEK, "gzip", "2000"]
    assert corner.partitions("b") == 4


def test_what_loses_or_reorders_is_refused_and_nothing_of_it_is_done(corner: DeclaredTopics) -> None:
    corner.create("shorter", retention_ms="-1")
    corner.create("keyed", partitions=1)
    corner.create("fewer", partitions=5)
    corner.create("policy", cleanup_policy="compact")
    corner.declare(*({"name": name} for name in ("shorter", "keyed", "fewer", "policy")))
    code, left = corner.run("apply")
    found = {(change["topic"].rpartition(".")[2], change["setting"]): change["flag"] for change in left["changes"]}
    assert (code, found) == (
        1,
        {
            ("shorter", "retention.ms"): "--allow-shorter-retention",
            ("keyed", "partitions"): "--allow-reordering",
            ("fewer", "partitions"): None,
            ("policy", "cleanup.policy"): "--allow-cleanup-policy",
        },
    )
    assert corner.config("shorter", "retention.ms", "compression.type") == ["-1", "gzip"], "the rest is done"
    assert (corner.partitions("keyed"), corner.partitions("fewer")) == (1, 5)
    assert corner.config("policy", "cleanup.policy") == ["compact"]

    for topic, flag in (("shorter", "shorter-retention"), ("keyed", "reordering"), ("policy", "cleanup-policy")):
        code, left = corner.run("apply", corner.name(topic), f"--allow-{flag}")
        assert (code, left["differs"]) == (0, False), topic
    assert corner.config("shorter", "retention.ms") == [WEEK]
    assert corner.partitions("keyed") == 2
    assert corner.config("policy", "cleanup.policy") == ["delete"]
    every = [danger.flag for danger in Danger]
    code, left = corner.run("apply", *every)
    assert (code, [change["setting"] for change in left["changes"]]) == (1, ["partitions"])
    assert "make a topic of another name" in left["changes"][0]["refused"]
    assert corner.partitions("fewer") == 5


def test_records_and_undeclared_topics_stay(corner: DeclaredTopics) -> None:
    corner.create("mine", retention_ms=DAY)
    corner.create("stranger", partitions=7, retention_ms=DAY)
    producer = Producer({"bootstrap.servers": corner.settings.kafka.bootstrap, "acks": "all"})
    for number in range(100):
        producer.produce(corner.name("mine"), b"%d" % number, partition=number % 2)
    assert producer.flush(30) == 0
    corner.declare({"name": "mine"})
    assert corner.name("stranger") in corner.run("plan")[1]["unmanaged"]
    code, done = corner.run("apply", *(danger.flag for danger in Danger))
    assert (code, corner.name("stranger") in done["unmanaged"]) == (0, True)
    assert (corner.partitions("stranger"), corner.config("stranger", "retention.ms")) == (7, [DAY])
    consumer = Consumer({"bootstrap.servers": corner.settings.kafka.bootstrap, "group.id": corner.prefix})
    marks = [consumer.get_watermark_offsets(TopicPartition(corner.name("mine"), p), timeout=30) for p in (0, 1)]
    consumer.close()
    assert marks == [(0, 50), (0, 50)]


def test_killed_half_way_a_second_run_finishes(corner: DeclaredTopics) -> None:
    corner.create("t00", retention_ms=DAY)
    corner.declare(*({"name": f"t{n:02}", "partitions": 1 if n else 2} for n in range(30)))
    command = [str(Path(sys.executable).with_name("sdp")), "topics", "apply"]
    places = ["--set", f"home={corner.settings.home}", "--set", f"dist={corner.settings.dist_path}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([*command, *places], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"{corner.name('t05')}: created"):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert {f"t{n:02}" for n in range(6)} <= corner.existing() < {f"t{n:02}" for n in range(30)}
    code, done = corner.run("apply")
    assert (code, done["differs"]) == (0, False)
    assert corner.existing() == {f"t{n:02}" for n in range(30)}
    assert corner.config("t00", "retention.ms") == [WEEK]


def test_drift_is_seen_and_mended(corner: DeclaredTopics) -> None:
    corner.declare({"name": "a"})
    assert corner.run("apply")[0] == 0
    corner.alter("a", retention_ms="1000", cleanup_policy="compact,delete")
    code, plan = corner.run("plan")
    found = {change["setting"]: (change["found"], change["danger"]) for change in plan["changes"]}
    assert code == 1
    assert found["retention.ms"] == ("1000", None), "records are kept longer again"
    assert found["cleanup.policy"][1] == "cleanup-policy"
    assert corner.run("apply", "--allow-cleanup-policy")[0] == 0
    assert corner.config("a", "retention.ms", "cleanup.policy") == [WEEK, "delete"]


def test_two_at_the_same_time_end_in_one_state(corner: DeclaredTopics) -> None:
    corner.create("grows", partitions=1)
    wanted: list[TopicConfig] = [
        TopicConfig(corner.name("grows"), 4, replication_factor=1, min_insync_replicas=1, keyed=False),
        *(TopicConfig(corner.name(f"n{n}"), 1, replication_factor=1, min_insync_replicas=1) for n in range(8)),
    ]
    admins = [TopicAdmin(corner.settings.kafka.bootstrap) for _ in range(2)]
    plans = [admin.plan(wanted) for admin in admins]
    left: list[bool] = []
    threads = [
        threading.Thread(target=lambda a=a, p=p: left.append(a.apply(p).is_empty))
        for a, p in zip(admins, plans, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert left == [True, True]
    assert corner.partitions("grows") == 4
    assert corner.existing() == {"grows", *(f"n{n}" for n in range(8))}


def test_what_kafka_refuses_is_wrong_use_and_names_the_reason(corner: DeclaredTopics) -> None:
    corner.declare({"name": "a", "config": {"segment.bytes": "1"}})
    code, answer = corner.run("apply")
    assert code == 2
    assert "segment.bytes" in answer["error"]
    corner.declare({"name": "a"}, {"name": "a"})
    code, answer = corner.run("plan")
    assert (code, "there are two topics of this name" in answer["error"]) == (2, True)


def test_kafka_away_is_exit_code_3(corner: DeclaredTopics) -> None:
    corner.declare({"name": "a"})
    away = sdp(corner.settings, "topics", "plan", overrides=["kafka.bootstrap=localhost:9"])
    assert (away.returncode, away.stdout) == (3, ""), away.stderr
    assert "Kafka at localhost:9 is not available" in away.stderr


def test_the_administrator_of_a_service(corner: DeclaredTopics) -> None:
    admin = TopicAdmin(corner.settings.kafka.bootstrap, {"client.id": "a-service"}, patience_s=1)
    dear, cheap = TopicConfig(corner.name("dear"), 2), TopicConfig(corner.name("cheap"), 2, retention_ms=int(DAY))
    with pytest.raises(BrokerUnavailable, match="replication factor"):
        admin.create_topic(dear)
    assert admin.describe(corner.name("dear")) is None
    assert [admin.create_topic(cheap, fit=True) for _ in range(2)] == [True, False]
    assert corner.name("cheap") in admin.topics()
    found = admin.describe(corner.name("cheap"))
    assert found is not None
    assert (found.partitions, found.replication, found.config["retention.ms"]) == (2, 1, DAY)
    left = admin.apply(admin.plan([cheap]))
    assert {change.setting for change in left.changes} == {"replication", "min.insync.replicas"}
    assert "would take no record" in "".join(change.refusal for change in left.changes)


@pytest.mark.parametrize("name", ["grow", "configure"])
def test_a_topic_that_is_gone_meanwhile_is_wrong_use(corner: DeclaredTopics, name: str) -> None:
    """Deleted by somebody between plan and apply."""
    gone = corner.name("gone")
    calls: dict[str, Callable[[Any], None]] = {
        "grow": lambda cluster: cluster.grow(gone, 3),
        "configure": lambda cluster: cluster.configure(gone, {"retention.ms": DAY}),
    }
    with pytest.raises(UsageError, match="no such topic"):
        calls[name](TopicAdmin(corner.settings.kafka.bootstrap)._cluster)
