"""The log producer on three real brokers: killed leaders, outages, killed services, full disks, no registry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines import settings as settings_module
from pipelines.adapters.registry import Registry as RegistryClient
from pipelines.contracts import avro
from pipelines.errors import RecordTooLarge, RegistryUnavailable
from pipelines.settings import ROOT, Settings
from sdk.breaker import BreakerState
from sdk.delivery import Delivered
from sdk.outbox import KafkaOutbox
from sdk.producer import Api6LogProducer
from stack import lifecycle
from stack.kafka import Kafka
from stack.registry import Registry
from tests.brokers import Brokers, until
from tests.conftest import FREE_PORTS
from tests.world import record

SUBJECT = "api6-logs-value"
DEAD = "localhost:1"
"""Where no broker is."""


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory, dist_folder: Path) -> Iterator[Brokers]:
    """Three brokers and a registry that knows our schema; no other server."""
    home = tmp_path_factory.mktemp("brokers")
    settings = settings_module.load(home=home, dist=dist_folder, stack={"brokers": 3, "ports": FREE_PORTS})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, "SERVERS", (Kafka, Registry))
        try:
            lifecycle.up(settings)
            (settings.stack_path / "endpoints.json").unlink()  # settings of these tests say where they connect
            found = Brokers(settings)
            url = {"url": found.registry_url}
            RegistryClient(settings.registry.model_copy(update=url)).register(SUBJECT, avro.load(SUBJECT).text)
            yield found
        finally:
            lifecycle.down(settings, purge=True)


@contextmanager
def outbox(settings: Settings) -> Iterator[KafkaOutbox]:
    made = KafkaOutbox(settings, "api6-logs")
    try:
        yield made
    finally:
        made.close()


def send(producer: Api6LogProducer, count: int, sent: dict[str, Future[Delivered]]) -> None:
    for _ in range(count):
        each = record()
        sent[each["request_id"]] = producer.send(each)


def is_there_once(brokers: Brokers, topic: str, sent: dict[str, Future[Delivered]]) -> None:
    """Every future is acknowledged, and says where its record is; each record is in the topic once."""
    places = dict(brokers.records(topic))
    assert Counter(places.values()) == Counter(request_id.encode() for request_id in sent)
    for request_id, future in sent.items():
        delivered = future.result(0)
        assert places[delivered.partition, delivered.offset] == request_id.encode()


def test_a_killed_leader_loses_and_doubles_nothing(brokers: Brokers, tmp_path: Path) -> None:
    topic = brokers.topic()
    sent: dict[str, Future[Delivered]] = {}
    with Api6LogProducer(brokers.client_settings(topic, tmp_path), registry=None) as producer:
        send(producer, 5_000, sent)
        until(lambda: any(f.done() for f in sent.values()))
        leader = brokers.leader(topic, 0)
        send(producer, 5_000, sent)
        brokers.kill(brokers.node(leader))
        send(producer, 10_000, sent)
        wait(sent.values(), timeout=240)
        brokers.start(brokers.node(leader))
    is_there_once(brokers, topic, sent)
    assert {f.result(0).partition for f in sent.values()} == set(range(12)), "records spread over all partitions"
    brokers.wait_until_ready()


def test_two_of_three_killed_and_back(brokers: Brokers, tmp_path: Path) -> None:
    """Beside the logs, records of one key in one partition: the way over the disk keeps the order of ``put``."""
    topic, ordered = brokers.topic(), brokers.topic(partitions=1)
    settings = brokers.client_settings(topic, tmp_path / "logs", breaker={"open_s": 1})
    sent: dict[str, Future[Delivered]] = {}
    with (
        outbox(brokers.client_settings(ordered, tmp_path / "ordered", breaker={"open_s": 0.2})) as one_key,
        outbox(settings) as box,
        Api6LogProducer(settings, outbox=box) as producer,
    ):
        send(producer, 2_000, sent)
        in_order = put(one_key, ordered, range(100))
        wait([*sent.values(), *in_order], timeout=240)
        for broker in (1, 2):
            brokers.kill(brokers.node(broker))
        send(producer, 1_000, sent)
        in_order += put(one_key, ordered, range(100, 200))
        until(lambda: {o.dispatch.breaker.state for o in (box, one_key)} == {BreakerState.OPEN})
        send(producer, 3_000, sent)
        in_order += put(one_key, ordered, range(200, 300))
        assert box.spool.records >= 3_000
        assert sum(f.done() for f in sent.values()) <= 3_000, "nothing is acknowledged by one broker alone"
        brokers.start(brokers.node(1), brokers.node(2))
        wait([*sent.values(), *in_order], timeout=240)
        until(lambda: box.spool.records == 0)
    brokers.wait_until_ready()
    is_there_once(brokers, topic, sent)
    assert [f.result(0).offset for f in in_order] == list(range(300))
    assert [box.meter.failed, one_key.meter.failed] == [{}, {}]


def put(box: KafkaOutbox, topic: str, numbers: range) -> list[Future[Delivered]]:
    return [box.put(topic, b"k", b"%d" % n) for n in numbers]


@contextmanager
def service(journal: Path, count: int, settings: Settings, **changes: str) -> Iterator[Any]:
    """A service in a process of its own, killed with SIGKILL at the end of the block."""
    spool = settings.producer.spool
    overrides = {
        "home": settings.home,
        "kafka.bootstrap": settings.kafka.bootstrap,
        "kafka.topic": settings.kafka.topic,
        "registry.url": settings.registry.url,
        "producer.schema_cache": settings.producer.schema_cache,
        "producer.spool.folder": spool.folder,
        "producer.spool.fsync": spool.fsync,
        "producer.breaker.failures": 2,
    } | changes
    command = [sys.executable, "-m", "tests.integration.spooling_service", str(journal), str(count)]
    process = subprocess.Popen(
        [*command, *(f"{k}={v}" for k, v in overrides.items())],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=240)


def lines(journal: Path) -> list[str]:
    return journal.read_text(encoding="utf-8").split("\n")[:-1] if journal.exists() else []


@pytest.mark.parametrize("write_ahead", [True, False])
def test_a_service_killed_while_spooling_loses_nothing_that_it_accepted(
    brokers: Brokers, tmp_path: Path, write_ahead: bool
) -> None:
    """Written ahead, at any moment; else from the moment that the breaker is open."""
    topic = brokers.topic()
    away = brokers.client_settings(topic, tmp_path, {"fsync": "record", "write_ahead": write_ahead})
    away = away.model_copy(update={"kafka": away.kafka.model_copy(update={"bootstrap": DEAD})})
    journal = tmp_path / "journal"
    folder = tmp_path / "spool" / "api6-logs"
    with service(journal, 10**6, away, **{"producer.spool.write_ahead": str(write_ahead).lower()}) as process:
        until(lambda: any(f.stat().st_size for f in folder.glob("*.spool")))
        before = len(lines(journal))
        until(lambda: len(lines(journal)) > before + 100)  # what the client held is copied before the next is accepted
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    accepted = lines(journal)
    with outbox(brokers.client_settings(topic, tmp_path)) as box:
        until(lambda: box.spool.records == 0)
    found = brokers.keys(topic)
    assert set(accepted) <= {key.decode() for key in found}
    assert max(found.values()) == 1
    assert len(found) - len(accepted) <= 1, "at most the record that was being accepted when the service died"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte; skipped where mounting is not allowed (a unit test covers the file size limit)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("policy", ["raise", "block", "drop_oldest"])
def test_a_full_disk_is_a_policy_not_a_crash(brokers: Brokers, tmp_path: Path, small_disk: Path, policy: str) -> None:
    topic = brokers.topic()
    spool = {"folder": small_disk, "segment_bytes": 100_000, "when_full": policy, "block_timeout_s": 0}
    here = brokers.client_settings(topic, tmp_path, spool)
    away = here.model_copy(update={"kafka": here.kafka.model_copy(update={"bootstrap": DEAD})})
    journal = tmp_path / "journal"
    chosen = {"when_full": policy, "block_timeout_s": "0", "segment_bytes": "100000", "write_ahead": "true"}
    overrides = {f"producer.spool.{name}": value for name, value in chosen.items()}
    with service(journal, 3_000, away, **overrides) as process:
        until(lambda: lines(journal)[-1:] == ["done"])
        assert process.poll() is None
    said = lines(journal)[:-1]
    accepted = [line for line in said if not line.startswith("full")]
    if policy == "drop_oldest":
        assert len(accepted) == 3_000
    else:
        assert 500 < len(accepted) < 3_000
        assert set(said) - set(accepted) == {"full SpoolFull"}
    with outbox(here) as box:
        until(lambda: box.spool.records == 0)
    found = {key.decode() for key in brokers.keys(topic)}
    if policy == "drop_oldest":
        assert 500 < len(found) < 3_000
        assert found == set(accepted[-len(found) :]), "the newest are kept"
    else:
        assert found == set(accepted)


def test_a_registry_that_is_away(brokers: Brokers, tmp_path: Path) -> None:
    topic = brokers.topic()
    sent: dict[str, Future[Delivered]] = {}
    known, unknown = (brokers.client_settings(topic, tmp_path / name) for name in ("known", "unknown"))
    with Api6LogProducer(known, registry=None) as producer:
        send(producer, 10, sent)
        brokers.kill("registry")
        send(producer, 10, sent)
    with Api6LogProducer(known, registry=None) as producer:
        send(producer, 10, sent)
    with Api6LogProducer(unknown, registry=None) as producer:
        with pytest.raises(RegistryUnavailable):
            producer.send(record())
        began = time.monotonic()
        with pytest.raises(RegistryUnavailable):
            producer.send(record())
        assert time.monotonic() - began < 1, "a request does not wait for a registry that was away a moment ago"
        brokers.start("registry")
        brokers.wait_until_ready()
        until(lambda: _takes(producer, sent))
    is_there_once(brokers, topic, sent)


def _takes(producer: Api6LogProducer, sent: dict[str, Future[Delivered]]) -> bool:
    try:
        send(producer, 1, sent)
    except RegistryUnavailable:
        return False
    return True


def test_a_record_above_the_limit_of_the_broker(brokers: Brokers, tmp_path: Path) -> None:
    """Kafka refuses a whole batch for one record; the others are sent again, the one fails."""
    topic = brokers.topic(partitions=1, **{"max.message.bytes": "20000"})
    small = {uuid.uuid4().hex.encode(): os.urandom(100) for _ in range(200)}
    with outbox(brokers.client_settings(topic, tmp_path, options={"linger.ms": 200})) as box:
        futures = {key: box.put(topic, key, value) for key, value in small.items()}
        large = [box.put(topic, b"large", os.urandom(size)) for size in (30_000, 40_000)]
        too_large_for_us = box.put(topic, b"huge", bytes(2_000_000))
        later = box.put(topic, b"later", b"x")
        for future in [*large, too_large_for_us]:
            with pytest.raises(RecordTooLarge):
                future.result(60)
        places = {f.result(60).offset for f in [*futures.values(), later]}
    assert len(places) == 201
    assert brokers.keys(topic) == Counter([*small, b"later"])
