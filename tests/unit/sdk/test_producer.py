"""The log producer over an outbox with a cluster in memory."""

from __future__ import annotations

import asyncio
import socket
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pipelines import settings as settings_module
from pipelines.contracts import avro, wire
from pipelines.errors import ContractViolation, RegistryUnavailable
from pipelines.settings import Settings
from sdk import metrics
from sdk.outbox import KafkaOutbox
from sdk.producer import Api6LogProducer
from sdk.schemas import RegisteredSchemas
from tests.unit.sdk.brokers import Cluster
from tests.unit.sdk.registries import FakeRegistry, FixedSchemas
from tests.unit.sdk.test_encoding import GOOD


def settings(folder: Path, **changes: Any) -> Settings:
    return settings_module.load(
        producer={"spool": {"folder": folder / "spool"}, "schema_cache": folder / "c"} | changes
    )


def producer(cluster: Cluster, own: Settings) -> Api6LogProducer:
    outbox = KafkaOutbox(own, "api6-logs", connect=cluster.client)
    return Api6LogProducer(own, outbox=outbox, schemas=FixedSchemas(7))


def record(**changes: Any) -> dict[str, Any]:
    return GOOD | {"request_id": str(uuid.uuid4())} | changes


def test_a_record_goes_to_the_topic_under_its_request_id(tmp_path: Path) -> None:
    cluster = Cluster()
    with producer(cluster, settings(tmp_path)) as logs:
        sent = record()
        delivered = logs.send(sent).result(5)
    [stored] = cluster.log
    assert (delivered.topic, delivered.offset, stored.of_topic) == ("api6-logs", 0, "api6-logs")
    assert stored.key == sent["request_id"].encode()
    framed = wire.parse(stored.content)
    assert isinstance(framed, wire.Framed)
    assert framed.schema_id == 7
    assert avro.decode(avro.load("api6-logs-value"), framed.body) == sent


def test_rules_see_the_timestamp_that_kafka_gets(tmp_path: Path) -> None:
    cluster = Cluster()
    with producer(cluster, settings(tmp_path)) as logs:
        with pytest.raises(ContractViolation, match="timestamp"):
            logs.send(record(timestamp=0))
        before_ms = int(time.time() * 1000)
        logs.send(record()).result(5)
    assert before_ms <= cluster.log[0].timestamp_ms <= int(time.time() * 1000)


def test_a_wrong_record_is_not_sent_unless_the_stream_shall_judge(tmp_path: Path) -> None:
    cluster = Cluster()
    wrong = record(status_code=99, http_method="get")
    with producer(cluster, settings(tmp_path / "1")) as logs:
        with pytest.raises(ContractViolation) as caught:
            logs.send(wrong)
        assert [v.code for v in caught.value.violations] == ["status_code_range", "http_method_known"]
    with producer(cluster, settings(tmp_path / "2", on_invalid="send")) as logs:
        assert logs.send(wrong).result(5).offset == 0
        with pytest.raises(ContractViolation, match="status_code must be a valid int"):
            logs.send(record(status_code="200"))


def test_asyncio(tmp_path: Path) -> None:
    cluster = Cluster()

    async def some() -> list[int]:
        async with producer(cluster, settings(tmp_path)) as logs:
            logs.prepare()
            return [d.offset for d in await asyncio.gather(*(logs.send_async(record()) for _ in range(20)))]

    assert asyncio.run(some()) == list(range(20))


def test_a_registry_that_is_away_refuses_a_record_and_its_return_takes_the_next(tmp_path: Path) -> None:
    own = settings(tmp_path)
    registry = FakeRegistry(is_up=False)
    outbox = KafkaOutbox(own, "api6-logs", connect=Cluster().client)
    with Api6LogProducer(own, outbox=outbox, schemas=RegisteredSchemas(own, registry)) as logs:
        with pytest.raises(RegistryUnavailable):
            logs.prepare()
        with pytest.raises(RegistryUnavailable):
            logs.send(record())
        assert outbox.meter.sent == 0


def test_metrics_are_shown_in_base_units(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    own = settings(tmp_path, breaker={"stall_s": 0.05, "failures": 1})
    cluster = Cluster()
    outbox = KafkaOutbox(own, "api6-logs", connect=cluster.client)
    metrics.expose(outbox, registry)
    with Api6LogProducer(own, outbox=outbox, schemas=FixedSchemas()) as logs:
        for _ in range(3):
            logs.send(record()).result(5)

        def value(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(f"sdp_producer_{name}", {"producer": "api6-logs"} | labels)

        assert value("sent_total") == value("acknowledged_total") == 3
        assert value("recovered_total") == 0
        assert value("acknowledgement_seconds_count") == value("acknowledgement_seconds_bucket", le="+Inf") == 3
        assert value("acknowledgement_seconds_bucket", le="5.0") == 3
        assert [value(n) for n in ("spooled_records", "spooled_bytes", "spool_age_seconds", "breaker_state")] == [0] * 4
        cluster.is_up = False
        outbox.put("api6-logs", None, b"x" * 100)
        while value("breaker_state") != 2:
            pass
        assert value("queue_records") == value("spooled_records") == 1
        assert (value("spooled_bytes") or 0) > 100
        assert 0 < (value("spool_age_seconds") or 0) < 60
        cluster.is_up = True
    text = generate_latest(registry).decode()
    assert 'sdp_producer_retried_total{producer="api6-logs"} 0.0' in text


def test_two_producers_share_a_registry(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    boxes = [KafkaOutbox(settings(tmp_path), name, connect=Cluster().client) for name in ("a", "b")]
    for box in boxes:
        metrics.expose(box, registry)
    samples = {s.labels["producer"] for m in registry.collect() for s in m.samples}
    assert samples == {"a", "b"}
    for box in boxes:
        box.close()


def test_a_process_without_a_server_can_serve_its_metrics(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    outbox = KafkaOutbox(settings(tmp_path), "a", connect=Cluster().client)
    metrics.expose(outbox, registry)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stop = metrics.serve(port, registry=registry)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b'sdp_producer_sent_total{producer="a"} 0.0' in answer.read()
    stop()
    outbox.close()


def test_nothing_shows_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    secret = "hunter2"
    monkeypatch.setenv("SDP_KAFKA__SASL_PASSWORD", secret)
    monkeypatch.setenv("SDP_REGISTRY__PASSWORD", secret)
    caplog.set_level(0)
    cluster = Cluster()
    with producer(cluster, settings(tmp_path, options={"ssl.key.password": secret})) as logs:
        logs.send(record()).result(5)
        with pytest.raises(ContractViolation) as caught:
            logs.send(record(status_code=1))
        assert secret not in f"{logs!r} {caught.value!r} {caplog.text} {vars(logs)!r}"
