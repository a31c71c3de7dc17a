"""The Hive metastore goes away in the middle of a batch: the job waits, repeats and ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines import bootstrap
from pipelines import settings as settings_module
from pipelines.adapters.tables import OF_JOBS, Tables
from pipelines.records import Batch
from pipelines.settings import Settings
from stack import lifecycle
from stack.server import processes
from tests.world import World, fields, record

PER_BATCH = 36
"""Three offsets of each partition; the middle one holds no record."""

BETWEEN_WRITES = [("invalid_written", 0), ("counted", 1)]
"""Between the invalid and the valid rows of one batch, between the tables and the ledger of the next."""


class Metastore:
    """The metastore that all tests share, to stop and to start again on the port it had."""

    def __init__(self, servers: Settings) -> None:
        any_port = dict.fromkeys(lifecycle.PORT_KEYS, 0)  # a server that ran before keeps its port
        self._settings = settings_module.load(home=servers.home, dist=servers.dist, stack={"ports": any_port})
        self._address = lifecycle.endpoints(servers)["metastore"]

    def stop(self) -> None:
        processes(self._settings).stop("metastore")

    def start(self) -> None:
        assert lifecycle.up(self._settings)["metastore"] == self._address


@pytest.fixture
def metastore(servers: Settings) -> Iterator[Metastore]:
    shared = Metastore(servers)
    yield shared
    shared.start()


def test_both_jobs_may_make_the_tables_in_the_same_moment(world: World) -> None:
    own = world.settings
    makers = [Tables(world.spark.newSession(), own.metastore.database, own.warehouse_uri) for _ in range(3)]
    with ThreadPoolExecutor(len(makers)) as pool:
        for done in [pool.submit(maker.create_missing) for maker in makers]:
            done.result()
    assert {table.name for table in world.spark.catalog.listTables(own.metastore.database)} == set(OF_JOBS)


def test_a_metastore_stopped_between_two_writes_costs_delay_and_no_data(world: World, metastore: Metastore) -> None:
    values: dict[tuple[int, int], bytes] = {}
    records: dict[tuple[int, int], dict[str, object]] = {}
    for at in ((partition, offset) for offset in range(6) for partition in range(12)):
        if at[1] % 3 == 1:
            values[at] = b"bad %d/%d" % at
        else:
            records[at] = record()
            values[at] = world.encode(records[at])
    world.send(values.values())
    stops = list(BETWEEN_WRITES)
    retries: list[BaseException | None] = []

    def on_step(step: str, batch: Batch) -> None:
        if (step, batch.batch_id) in stops:
            stops.remove((step, batch.batch_id))
            metastore.stop()

    def on_retry(error: BaseException | None, pause_s: float) -> None:
        retries.append(error)
        metastore.start()

    bounded = world.with_settings(ingest={"max_offsets_per_trigger": PER_BATCH})
    job = bootstrap.job("ingest", bounded, world.spark, on_step)
    job.on_retry = on_retry
    job.run(once=True)

    assert stops == []
    assert len(retries) >= len(BETWEEN_WRITES)
    assert {at: fields(row) for at, row in world.valid().items()} == records
    assert {at: row["raw"] for at, row in world.invalid().items()} == {
        at: value for at, value in values.items() if at not in records
    }
    whole = [(first, first + 3, 2, 1, 0, 0) for first in (0, 3)]
    assert world.ledger("ingest") == dict.fromkeys(range(12), whole)
