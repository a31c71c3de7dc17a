"""What a running job shows Prometheus equals the ledger and the invalid rows."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError

import pytest
from elasticsearch import Elasticsearch
from prometheus_client.parser import text_string_to_metric_families

from pipelines import bootstrap
from pipelines.records import ES_INVALID, INVALID, Batch
from pipelines.settings import Settings
from tests.integration.test_index import index_of
from tests.versions import TEXT_STATUS, encoded, registering, take_anything
from tests.world import NOW_MS, World, record

HERE = "127.0.0.1"
LONGEST_S = 300

Samples = dict[tuple[str, str], float]
"""(name, code or nothing) → value."""


@contextmanager
def running(world: World, job: str, settings: Settings) -> Iterator[threading.Semaphore]:
    """The job in a thread of its own; the semaphore counts its batches. It was stopped, and well, when this ends."""
    done, failures = threading.Semaphore(0), list[BaseException]()

    def on_step(step: str, _: Batch) -> None:
        if step == "done":
            done.release()

    flow = bootstrap.job(job, settings, world.spark, on_step)

    def run() -> None:
        try:
            flow.run()
        except BaseException as error:  # noqa: BLE001 raised below, where the test sees it
            failures.append(error)
            done.release(2)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        flow.stop.set()
        thread.join(LONGEST_S)
        if failures:
            raise failures[0]
    assert not thread.is_alive()


def shown(port: int, job: str) -> Samples:
    with urllib.request.urlopen(f"http://{HERE}:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [s for family in families for s in family.samples if not s.name.endswith("_created")]
    assert {s.labels["job"] for s in samples} == {job}
    return {(s.name, s.labels.get("code", "")): s.value for s in samples if s.value}


def told_by_the_tables(world: World, job: str) -> Samples:
    """The same figures from the ledger and from the table of invalid rows, each row under its first critical code."""
    entries = [entry for rows in world.ledger(job).values() for entry in rows]
    valid, invalid = (sum(entry[k] for entry in entries) for k in (2, 3))
    codes = Counter(codes[0] for codes in world.codes(INVALID if job == "ingest" else ES_INVALID).values())
    assert sum(codes.values()) == invalid
    by_code = {("sdp_records_invalid_total", code): float(n) for code, n in codes.items()}
    return {("sdp_records_read_total", ""): valid + invalid, ("sdp_records_valid_total", ""): valid} | by_code


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind((HERE, 0))
        return int(free.getsockname()[1])


def served(world: World, port: int, job: str = "ingest") -> Settings:
    """The corner's settings with metrics at this port and a short trigger."""
    return world.with_settings(monitoring={"metrics_port": port, "metrics_address": HERE}, **{job: {"trigger_s": 1.0}})


@pytest.mark.parametrize("job", ["ingest", "index"])
def test_a_running_job_shows_what_the_ledger_and_the_invalid_table_hold(world: World, job: str, port: int) -> None:
    rejects: Samples = {}
    if job == "index":  # an index that somebody created by hand, where a payload size has no room
        mappings = {"properties": {"payload_size": {"type": "byte"}}}
        Elasticsearch(world.settings.elasticsearch.url).indices.create(index=index_of(world, NOW_MS), mappings=mappings)
        rejects = {("sdp_records_invalid_total", "elasticsearch_mapper_parsing_exception"): 1}
    with registering(world.settings) as register:
        take_anything(world.settings)
        bad_id = register(TEXT_STATUS)
        two_codes = {"status_code": 7, "http_method": "get"}
        world.send([encoded(TEXT_STATUS, bad_id, status_code="200") for _ in range(2)], partition=0)
        world.send([world.encode(record(**two_codes)) for _ in range(3)], partition=1)
        world.send([world.encode(record(payload_size=5)) for _ in range(14)], partition=2)
        world.send([world.encode(record(payload_size=100_000))], partition=3)
        with running(world, job, served(world, port, job)) as done:
            assert done.acquire(timeout=LONGEST_S)
            first = shown(port, job)
            world.send([*(world.encode(record(payload_size=5)) for _ in range(7)), b"garbage"], partition=1)
            assert done.acquire(timeout=LONGEST_S)
            second = shown(port, job)
    with pytest.raises(URLError):
        shown(port, job)

    refused = 5 + len(rejects)
    assert first == rejects | {
        ("sdp_records_read_total", ""): 20,
        ("sdp_records_valid_total", ""): 20 - refused,
        ("sdp_records_invalid_total", "incompatible_schema"): 2,
        ("sdp_records_invalid_total", "status_code_range"): 3,
        ("sdp_last_batch_refused_ratio", ""): refused / 20,
    }
    assert second.pop(("sdp_last_batch_refused_ratio", "")) == 1 / 8
    assert second["sdp_records_read_total", ""] == 28
    assert second["sdp_records_invalid_total", "wrong_magic_byte"] == 1
    assert second == told_by_the_tables(world, job)


def test_a_gateway_that_is_away_fails_no_run_and_the_next_process_counts_from_zero(world: World, port: int) -> None:
    world.send([*(world.encode(record()) for _ in range(5)), b"garbage"])
    world.run("ingest", settings=world.with_settings(monitoring={"pushgateway": f"http://{HERE}:{port}"}))
    assert (len(world.valid()), len(world.invalid())) == (5, 1)
    world.send([world.encode(record()) for _ in range(2)], partition=0)
    with running(world, "ingest", served(world, port)) as done:
        assert done.acquire(timeout=LONGEST_S)
        assert shown(port, "ingest") == {("sdp_records_read_total", ""): 2, ("sdp_records_valid_total", ""): 2}
