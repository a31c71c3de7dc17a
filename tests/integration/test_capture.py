"""A service behind the middleware: every answer that a client got has its record in a real Kafka, once."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from pathlib import Path
from typing import Any

import fastavro
import httpx
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from fastapi import FastAPI, HTTPException

from pipelines import settings as settings_module
from pipelines.adapters.kafka import ensure_topics
from pipelines.adapters.registry import Registry
from pipelines.contracts import avro
from pipelines.settings import Settings
from sdk.capture import Capture, CaptureSettings
from sdk.capture_asgi import CaptureMiddleware
from sdk.producer import Api6LogProducer

WAIT_S = 60
PARTITIONS = 12
PATHS = ("/v6/orders/7", "/v6/orders/8", "/v6/orders/7/gone", "/v6/orders/7/fails", "/.env")
ENDPOINTS = (
    "/v6/orders/{order}",
    "/v6/orders/{order}",
    "/v6/orders/{order}/gone",
    "/v6/orders/{order}/fails",
    "/{unmatched}",
)
REQUESTS = 200


def service() -> FastAPI:
    app = FastAPI()

    @app.get("/v6/orders/{order}")
    async def found(order: int) -> int:
        return order

    @app.get("/v6/orders/{order}/gone")
    async def gone(order: int) -> None:
        raise HTTPException(410, "gone")

    @app.get("/v6/orders/{order}/fails")
    async def fails(order: int) -> None:
        raise LookupError("nothing there")

    return app


async def ask(app: Any) -> list[httpx.Response]:
    """Requests in parallel, through a proxy that is trusted."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("10.0.0.1", 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://api6.example") as client:
        headers = {"X-Forwarded-For": "203.0.113.9"}
        return await asyncio.gather(*(client.get(PATHS[n % len(PATHS)], headers=headers) for n in range(REQUESTS)))


def stored(settings: Settings) -> list[dict[str, Any]]:
    """Everything in the topic, decoded with the registry's schema."""
    consumer = Consumer({"bootstrap.servers": settings.kafka.bootstrap, "group.id": uuid.uuid4().hex})
    registry, records = SchemaRegistryClient({"url": settings.registry.url}), []
    for partition in range(PARTITIONS):
        place = TopicPartition(settings.kafka.topic, partition, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=WAIT_S)
        consumer.assign([place])
        for message in consumer.consume(end, WAIT_S) if end else ():
            value = message.value() or b""
            text = registry.get_schema(int.from_bytes(value[1:5], "big")).schema_str
            assert text is not None
            record = fastavro.schemaless_reader(io.BytesIO(value[5:]), fastavro.parse_schema(json.loads(text)), None)
            assert isinstance(record, dict)
            records.append(record)
    consumer.close()
    return records


def test_every_answer_has_its_record(servers: Settings, tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    own = settings_module.load(
        home=servers.home,
        dist=servers.dist,
        kafka={"topic": f"{name}-logs", "dlq_topic": f"{name}-dlq"},
        producer={"spool": {"folder": str(tmp_path / "spool")}, "schema_cache": str(tmp_path / "schemas")},
    )
    ensure_topics(own)
    Registry(own.registry).register(own.registry.subject, avro.load(own.registry.subject).text)
    with Api6LogProducer(own, registry=None) as producer:
        capture = Capture(producer, CaptureSettings.model_validate({"trusted_proxies": ["10.0.0.0/8"]}))
        answers = asyncio.run(ask(CaptureMiddleware(service(), capture)))
        assert capture.close(WAIT_S)
    assert capture.losses == {}
    expected = {
        answer.headers["x-request-id"]: (ENDPOINTS[n % len(PATHS)], answer.status_code)
        for n, answer in enumerate(answers)
    }
    records = stored(own)
    assert len(records) == len(expected) == REQUESTS
    assert {r["request_id"]: (r["api_endpoint"], r["status_code"]) for r in records} == expected
    assert {r["client_ip"] for r in records} == {"203.0.113.9"}
    assert {r["error_message"] for r in records if r["status_code"] == 500} == {"LookupError: nothing there"}
