"""One side of each comparison of producers: the same records, the same client options, into a fresh topic."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any
from uuid import uuid4

import fastavro
import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from benchmarks.meter import Meter, Outcome
from benchmarks.python_loop import Drain
from pipelines.adapters.kafka import KafkaAdmin
from pipelines.adapters.registry import Registry
from pipelines.contracts import avro, wire
from pipelines.contracts.topic_file import wanted_topics
from pipelines.settings import Settings, load
from pipelines.traffic.generate import SCHEMA_VERSION
from sdk.meter import BOUNDS_S
from sdk.outbox import KafkaOutbox
from sdk.producer import NAME, Api6LogProducer
from sdk.profiles import LOGS, client_options

POLL_EVERY = 1_000
"""Records of the bare loop between two polls."""

NOBODY = "localhost:1"

Record = dict[str, Any]


def bare(settings: Settings) -> Outcome:
    """fastavro and ``Producer.produce`` with the options of our producer: gzip, acks=all."""
    records, (schema_id, schema) = _records(settings), _schema(settings)
    header = wire.frame(schema_id, b"")
    with _sink(settings) as (topic, meter):
        producer = Producer({**client_options(settings.kafka, settings.producer, LOGS)})
        with meter:
            for number, record in enumerate(records):
                out = BytesIO()
                out.write(header)
                fastavro.schemaless_writer(out, schema, record)
                _produce(producer, topic, out.getvalue(), record["request_id"].encode())
                if number % POLL_EVERY == 0:
                    producer.poll(0)
            producer.flush()
    return meter.outcome(len(records))


def unvalidated(settings: Settings) -> Outcome:
    """``Api6LogProducer`` with ``on_invalid: send``: the schema is checked, the rules are not."""
    return _ours(settings, "send")


def validated(settings: Settings) -> Outcome:
    """``Api6LogProducer`` as it comes."""
    return _ours(settings, "raise")


def latency(settings: Settings, per_s: int, seconds: int) -> list[dict[str, float | str]]:
    """How long acknowledgements take at a steady rate: quantiles, then the histogram."""
    records = _records(settings)
    taken: list[float] = []
    with _sink(settings) as (topic, _), _producer(settings, topic, "raise") as (producer, outbox):
        for record in _paced(records, per_s, seconds):
            producer.send(record).add_done_callback(partial(_took, taken, time.perf_counter()))
        producer.close()
    counts = outbox.meter.latencies
    taken.sort()
    rows: list[dict[str, float | str]] = [
        {"acknowledged within": f"{1_000 * taken[int(len(taken) * q)]:.1f} ms", "records": f"{q:.1%}"}
        for q in (0.5, 0.99, 0.999)
    ]
    bounds = [*(f"≤ {1_000 * b:g} ms" for b in BOUNDS_S), "more"]
    return rows + [{"acknowledged within": b, "records": n} for b, n in zip(bounds, counts, strict=True) if n]


def away(settings: Settings, per_s: int, seconds: int) -> list[dict[str, float | str]]:
    """Memory and spool of a service at a steady rate while no broker is there; ten samples."""
    records = _records(settings)
    alone = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": NOBODY})})
    rows: list[dict[str, float | str]] = []
    process = psutil.Process()
    with _producer(alone, "nowhere", "raise") as (producer, outbox):
        for number, record in enumerate(_paced(records, per_s, seconds)):
            if number % (per_s * seconds // 10) == 0:
                rows.append(_sample(number // per_s, process, outbox))
            producer.send(record)
        rows.append(_sample(seconds, process, outbox))
        producer.close(timeout_s=0)
    return rows


def _took(taken: list[float], began: float, _: object) -> None:
    taken.append(time.perf_counter() - began)


def _sample(second: int, process: psutil.Process, outbox: KafkaOutbox) -> dict[str, float | str]:
    mebibyte = 2**20
    return {
        "seconds": second,
        "resident MiB": process.memory_info().rss / mebibyte,
        "spooled records": outbox.spool.records,
        "spooled MiB": outbox.spool.bytes / mebibyte,
    }


def _ours(settings: Settings, on_invalid: str) -> Outcome:
    records = _records(settings)
    with _sink(settings) as (topic, meter):
        with _producer(settings, topic, on_invalid) as (producer, outbox), meter:
            for record in records:
                producer.send(record)
            producer.close()
        if outbox.meter.acknowledged != len(records):
            raise RuntimeError(f"{outbox.meter.acknowledged} of {len(records)} records were acknowledged")
    return meter.outcome(len(records))


@contextmanager
def _producer(settings: Settings, topic: str, on_invalid: str) -> Iterator[tuple[Api6LogProducer, KafkaOutbox]]:
    """Our producer, with a spool of its own."""
    own = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"topic": topic}),
            "producer": settings.producer.model_copy(
                update={
                    "on_invalid": on_invalid,
                    "spool": settings.producer.spool.model_copy(update={"folder": settings.home_path / topic}),
                }
            ),
        }
    )
    outbox = KafkaOutbox(own, NAME, LOGS)
    with Api6LogProducer(own, registry=CollectorRegistry(), outbox=outbox) as producer:
        producer.prepare()
        yield producer, outbox


@contextmanager
def _sink(settings: Settings) -> Iterator[tuple[str, Meter]]:
    """A topic like the real one, removed afterwards."""
    name = f"sink-{uuid4().hex[:10]}"
    spec = next(t for t in wanted_topics(settings.kafka) if t.name == settings.kafka.topic)
    KafkaAdmin(settings.kafka).ensure([replace(spec, name=name)])
    try:
        yield name, Meter()
    finally:
        admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap})
        admin.delete_topics([name])[name].result(30)


def _records(settings: Settings) -> list[Record]:
    """Everything in the topic as a service has it before it sends: dicts.

    The garbage collector does not walk them: no service holds so many.
    """
    _, schema = _schema(settings)
    drain = Drain(settings)
    found: list[Record] = []
    for messages in drain:
        for message in messages:
            body = BytesIO((message.value() or b"")[wire.HEADER_LENGTH :])
            record: Any = fastavro.schemaless_reader(body, schema, None)
            found.append(record)
    drain.commit()
    gc.collect()
    gc.freeze()
    return found


def _schema(settings: Settings) -> tuple[int, Any]:
    """Of the records of the load generator."""
    schema = avro.load(settings.registry.subject, SCHEMA_VERSION)
    return Registry(settings.registry).register(settings.registry.subject, schema.text), schema.parsed


def _produce(producer: Producer, topic: str, value: bytes, key: bytes) -> None:
    while True:
        try:
            producer.produce(topic, value, key)
            return
        except BufferError:
            producer.poll(0.1)


def _paced(records: list[Record], per_s: int, seconds: int) -> Iterator[Record]:
    """Records at their times, each with an id of its own."""
    began = time.perf_counter()
    for number in range(per_s * seconds):
        pause_s = began + number / per_s - time.perf_counter()
        if pause_s > 0:
            time.sleep(pause_s)
        yield records[number % len(records)] | {"request_id": uuid4().hex}


_STEADY: dict[str, Callable[[Settings, int, int], list[dict[str, float | str]]]] = {"latency": latency, "away": away}


def main(task: str, per_s: str, seconds: str, *overrides: str) -> None:
    """Run a task in a process of its own; its rows go to standard output as JSON."""
    print(json.dumps(_STEADY[task](load("local", overrides), int(per_s), int(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
