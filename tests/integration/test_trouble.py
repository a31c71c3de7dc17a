"""Infrastructure in trouble, lost offsets, lost checkpoints, second copies: delay or a clear stop, never wrong data."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from pathlib import Path

import psutil
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable

from pipelines import bootstrap
from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.lease import Lease
from pipelines.errors import AlreadyRunning, CheckpointLost, OffsetsLost, RegistryUnavailable, UsageError
from pipelines.flows.ports import Steps
from pipelines.records import Batch
from tests.proxy import Proxy
from tests.world import World, record

LARGE_BYTES = 250_000
"""A Kafka consumer fetches a megabyte of a partition at once."""


class Interrupted(RuntimeError):
    """Stops a job in this process at a step."""


def stop_at(step: str, batch_id: int = 0) -> Steps:
    def on_step(reached: str, batch: Batch) -> None:
        if (reached, batch.batch_id) == (step, batch_id):
            raise Interrupted(step)

    return on_step


def test_registry_down_at_start_makes_no_record_invalid(world: World) -> None:
    world.send([world.encode(record()) for _ in range(24)])
    with Proxy(world.settings.registry.url) as proxy:
        proxy.cut()
        down = world.with_settings(registry={"url": proxy.url}, ingest={"retry_for_s": 0})
        with pytest.raises(RegistryUnavailable):
            world.run("ingest", settings=down)
        assert (world.valid(), world.invalid(), world.ledger("ingest")) == ({}, {}, {})
        proxy.mend()
        world.run("ingest", settings=down)
    assert (len(world.valid()), world.invalid()) == (24, {})


def test_registry_down_between_batches_makes_no_record_invalid(world: World) -> None:
    world.send([world.encode(record()) for _ in range(48)])
    with Proxy(world.settings.registry.url) as proxy:

        def on_step(step: str, batch: Batch) -> None:
            if (step, batch.batch_id) == ("done", 0):
                proxy.cut()

        limits = {"max_offsets_per_trigger": 24, "retry_for_s": 0}
        with pytest.raises(RegistryUnavailable):
            world.run("ingest", on_step, world.with_settings(registry={"url": proxy.url}, ingest=limits))
    assert (len(world.valid()), world.invalid()) == (24, {})
    world.run("ingest")
    assert (len(world.valid()), world.invalid()) == (48, {})


def test_elasticsearch_away_costs_delay_and_no_data(world: World) -> None:
    world.send([world.encode(record()) for _ in range(36)])
    with Proxy(world.settings.elasticsearch.url) as proxy:
        seen = threading.Event()

        def on_step(step: str, batch: Batch) -> None:
            if step == "judged" and not seen.is_set():
                seen.set()
                proxy.cut()
                threading.Timer(3.0, proxy.mend).start()

        away = world.with_settings(elasticsearch={"url": proxy.url, "wan_only": True}, index={"retry_for_s": 120})
        world.run("index", on_step, away)
    assert seen.is_set()
    assert len(world.documents()) == 36
    assert world.es_invalid() == {}


def test_ingest_does_not_need_elasticsearch(world: World) -> None:
    world.send([world.encode(record()) for _ in range(12)])
    world.run("ingest", settings=world.with_settings(elasticsearch={"url": "http://localhost:1"}))
    assert len(world.valid()) == 12


def test_offsets_gone_by_retention_are_named_and_recorded_as_lost_on_request(world: World) -> None:
    topic = world.settings.kafka.topic
    world.send([world.encode(record()) for _ in range(10)], partition=0)
    world.run("ingest")
    world.send([world.encode(record()) for _ in range(10)], partition=0)
    admin = AdminClient({"bootstrap.servers": world.settings.kafka.bootstrap})
    for future in admin.delete_records([TopicPartition(topic, 0, 17)]).values():
        future.result()
    with pytest.raises(OffsetsLost) as refused:
        world.run("ingest")
    assert f"{topic}-0 [10, 17)" in str(refused.value)
    assert "--accept-loss" in str(refused.value)
    world.run("ingest", accept_loss=True)
    assert world.ledger("ingest")[0] == [(0, 10, 10, 0, 0, 0), (10, 20, 3, 0, 0, 7)]
    assert sorted(world.valid()) == [(0, n) for n in (*range(10), 17, 18, 19)]


def test_offsets_that_retention_takes_from_a_running_job_are_named(world: World) -> None:
    """Records so large that the consumer can't have read all of them ahead while it read the first batch."""
    topic = world.settings.kafka.topic
    world.send([b"x" + os.urandom(LARGE_BYTES) for _ in range(40)], partition=0)
    admin = AdminClient({"bootstrap.servers": world.settings.kafka.bootstrap})

    def retention(step: str, batch: Batch) -> None:
        if (step, batch.batch_id) == ("started", 1):
            for future in admin.delete_records([TopicPartition(topic, 0, 37)]).values():
                future.result()

    with pytest.raises(OffsetsLost) as stopped:
        world.run("ingest", retention, world.with_settings(ingest={"max_offsets_per_trigger": 10}))
    confirmed = world.ledger("ingest")[0][-1][1]
    assert f"{topic}-0 [{confirmed}, 37)" in str(stopped.value)
    world.run("ingest", accept_loss=True)
    assert sorted(world.invalid()) == [(0, n) for n in (*range(confirmed), 37, 38, 39)]


def test_lost_checkpoint_is_refused_and_recovery_doubles_nothing(world: World) -> None:
    world.send([*(world.encode(record()) for _ in range(24)), b"bad"])
    world.run("ingest")
    world.send([world.encode(record()) for _ in range(24)])
    with pytest.raises(Interrupted):
        world.run("ingest", stop_at("valid_written", 1))  # a batch that the ledger never confirmed
    shutil.rmtree(Path(world.settings.checkpoints_uri) / "ingest")
    with pytest.raises(CheckpointLost, match="--recover"):
        world.run("ingest")
    world.run("ingest", recover="ledger")
    assert (len(world.valid()), len(world.invalid())) == (48, 1)
    assert sum(r[2] for ranges in world.ledger("ingest").values() for r in ranges) == 48
    world.run("ingest")
    assert (len(world.valid()), len(world.invalid())) == (48, 1)


def test_a_checkpoint_older_than_the_ledger_is_refused(world: World, tmp_path: Path) -> None:
    place = Path(world.settings.checkpoints_uri) / "ingest"
    world.send([world.encode(record()) for _ in range(12)])
    world.run("ingest")
    shutil.copytree(place, tmp_path / "backup")
    world.send([world.encode(record()) for _ in range(12)])
    world.run("ingest")
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "backup", place)
    with pytest.raises(CheckpointLost, match="older than the ledger"):
        world.run("ingest")


def test_a_full_replay_gives_the_same_tables(world: World) -> None:
    twice = record()
    world.send([*(world.encode(record()) for _ in range(24)), world.encode(twice), world.encode(twice), b"bad", None])
    world.run("ingest")
    before = (world.valid(), world.invalid(), world.ledger("ingest"))
    world.run("ingest", recover="earliest")
    assert (world.valid(), world.invalid(), world.ledger("ingest")) == before


def test_recovery_of_a_healthy_job_is_refused(world: World) -> None:
    world.send([world.encode(record())])
    world.run("ingest")
    with pytest.raises(UsageError, match="nothing to recover"):
        world.run("ingest", recover="ledger")


def test_a_second_copy_is_refused_and_a_dead_holder_is_not_obeyed(world: World) -> None:
    files = HadoopFiles(world.spark)
    place = f"{world.settings.checkpoints_uri}/ingest.lease"
    with Lease(files, place, "ingest").held(), pytest.raises(AlreadyRunning, match="already running"):
        world.run("ingest")
    dead = {"token": "x", "host": socket.gethostname(), "pid": 1, "started_at": psutil.boot_time() - 1e6, "beat": 3}
    files.write_text(place, json.dumps(dead), overwrite=True)
    world.run("ingest")
    assert not files.exists(place)


def test_a_reader_elsewhere_sees_only_whole_batches(world: World) -> None:
    world.send([world.encode(record()) for _ in range(96)])
    path = f"{world.settings.warehouse_uri}/{world.settings.metastore.database}.db/api6_logs_valid"
    seen: list[dict[int, int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if DeltaTable.is_deltatable(path):
                ids = DeltaTable(path).to_pyarrow_table(columns=["batch_id"])["batch_id"].to_pylist()
                seen.append({batch: ids.count(batch) for batch in set(ids)})

    reader = threading.Thread(target=read)
    reader.start()
    try:
        world.run("ingest", settings=world.with_settings(ingest={"max_offsets_per_trigger": 24}))
    finally:
        done.set()
        reader.join()
    final = seen[-1]
    assert sum(final.values()) == 96
    assert len(final) >= 4
    assert all(counts.items() <= final.items() for counts in seen)


def test_stop_finishes_the_running_batch(world: World) -> None:
    world.send([world.encode(record()) for _ in range(48)])
    job = bootstrap.job("ingest", world.with_settings(ingest={"max_offsets_per_trigger": 24}), world.spark)
    inner = job.on_step

    def on_step(step: str, batch: Batch) -> None:
        inner(step, batch)
        if (step, batch.batch_id) == ("started", 0):
            job.stop.set()

    job.on_step = on_step
    job.run()
    assert len(world.valid()) == 24
    assert {r[1] for ranges in world.ledger("ingest").values() for r in ranges} == {2}
    world.run("ingest")
    assert len(world.valid()) == 48


def test_a_checkpoint_lost_before_the_first_ledger_row_is_refused(world: World) -> None:
    world.send([*(world.encode(record()) for _ in range(12)), b"bad"])
    with pytest.raises(Interrupted):
        world.run("ingest", stop_at("valid_written"))
    shutil.rmtree(Path(world.settings.checkpoints_uri) / "ingest")
    with pytest.raises(CheckpointLost, match="never confirmed"):
        world.run("ingest")
    world.run("ingest", recover="ledger")
    assert (len(world.valid()), len(world.invalid())) == (12, 1)


def test_a_replayed_batch_is_classified_by_the_rules_of_its_first_try(world: World, tmp_path: Path) -> None:
    world.send([world.encode(record(status_code=code)) for code in (200, 404, 500)])
    with pytest.raises(Interrupted):
        world.run("ingest", stop_at("invalid_written"))
    stricter = tmp_path / "rules.yaml"
    stricter.write_text(world.settings.rules_path.read_text(encoding="utf-8").replace("max: 599", "max: 404"))
    changed = world.with_settings(rules={"file": stricter})
    world.run("ingest", settings=changed)
    assert (len(world.valid()), len(world.invalid())) == (3, 0)
    world.send([world.encode(record(status_code=500))])
    world.run("ingest", settings=changed)
    assert list(world.codes().values()) == [["status_code_range"]]


def test_an_unknown_topic_is_wrong_use_at_once(world: World) -> None:
    with pytest.raises(UsageError, match="no such topic"):
        world.run("ingest", settings=world.with_settings(kafka={"topic": "no-such-topic"}))
