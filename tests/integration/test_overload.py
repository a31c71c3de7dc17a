"""Elasticsearch refuses bulks by 429 and 503: the index job waits and repeats; no record is lost, doubled or blamed."""

from __future__ import annotations

import pytest

from pipelines import bootstrap
from pipelines.errors import SinkUnavailable
from tests.overloaded import BLOCKED, REJECTED, Overloaded, Trouble, every_second_item, whole
from tests.world import World, fields, record

RECORDS = 120
CONNECTOR_TRIES = 6  # the first and es.batch.write.retry.count more
BAD = (RECORDS % 12, RECORDS // 12)
"""Where the one value lies that really is invalid."""


def feed(world: World) -> dict[tuple[int, int], dict[str, object]]:
    """Send records and one value that is none; coordinates → record."""
    records = [record() for _ in range(RECORDS)]
    world.send([*map(world.encode, records), b"bad"])
    return {(n % 12, n // 12): each for n, each in enumerate(records)}


def index_through(proxy: Overloaded, world: World, batch_entries: int = 10) -> list[BaseException | None]:
    """Run the job against the proxy; returns why it tried again, attempt by attempt."""
    retries: list[BaseException | None] = []
    reached = {"url": proxy.url, "wan_only": True, "batch_entries": batch_entries}
    job = bootstrap.job("index", world.with_settings(elasticsearch=reached), world.spark)
    job.on_retry = lambda error, pause_s: retries.append(error)
    job.run(once=True)
    return retries


def assert_all_there_once(world: World, sent: dict[tuple[int, int], dict[str, object]]) -> None:
    documents = world.documents()
    found = {(d["kafka_partition"], d["kafka_offset"]): fields(d) for d in documents.values()}
    assert len(documents) == len(found) == RECORDS
    assert found == sent
    assert world.codes("api6_es_invalid") == {BAD: ["wrong_magic_byte"]}
    per_partition = RECORDS // 12
    assert world.ledger("index") == {
        p: [(0, per_partition + (p == BAD[0]), per_partition, int(p == BAD[0]), 0, 0)] for p in range(12)
    }


@pytest.mark.parametrize(
    ("trouble", "sign"),
    [(whole(429, REJECTED), REJECTED["type"]), (whole(503, BLOCKED), BLOCKED["type"])],
    ids=["429", "503"],
)
def test_refused_bulks_are_sent_again(world: World, trouble: Trouble, sign: str) -> None:
    sent = feed(world)
    with Overloaded(world.settings.elasticsearch.url, trouble, times=2) as proxy:
        retries = index_through(proxy, world)
        assert proxy.refused == 2
    assert retries
    assert {type(error) for error in retries} == {SinkUnavailable}
    assert [str(error) for error in retries if sign not in str(error)] == []
    assert_all_there_once(world, sent)


def test_items_refused_within_an_accepted_bulk_are_sent_again(world: World) -> None:
    sent = feed(world)
    with Overloaded(world.settings.elasticsearch.url, every_second_item, times=3) as proxy:
        retries = index_through(proxy, world)
        assert proxy.refused == 3
    assert retries == []  # the connector itself is patient enough
    assert_all_there_once(world, sent)


def test_items_refused_until_the_connector_gives_up_make_the_job_repeat_the_batch(world: World) -> None:
    records = [record() for _ in range(40)]
    world.send([*map(world.encode, records), b"bad"], partition=0)  # one task, hence one bulk at a time
    with Overloaded(world.settings.elasticsearch.url, every_second_item, times=CONNECTOR_TRIES) as proxy:
        [retry] = index_through(proxy, world, batch_entries=1_000)
        assert (proxy.refused, proxy.bulks) == (CONNECTOR_TRIES, CONNECTOR_TRIES + 1)
    assert isinstance(retry, SinkUnavailable)
    assert REJECTED["type"] in str(retry)
    found = {(d["kafka_partition"], d["kafka_offset"]): fields(d) for d in world.documents().values()}
    assert found == {(0, n): each for n, each in enumerate(records)}
    assert world.codes("api6_es_invalid") == {(0, 40): ["wrong_magic_byte"]}
    assert world.ledger("index") == {0: [(0, 41, 40, 1, 0, 0)]}
