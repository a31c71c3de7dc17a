"""SIGKILL at every gap between two writes: tables, indices and ledger end as if nothing had happened (laws 2 and 3)."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

from pipelines.settings import ROOT
from tests.world import World, record

BATCH_OFFSETS = 120


def kill_at(world: World, job: str, step: str, batch_id: int) -> None:
    """Run the job in a process group of its own until it kills itself there."""
    overrides = [*world.overrides(), f"{job}.max_offsets_per_trigger={BATCH_OFFSETS}", "elasticsearch.batch_entries=7"]
    command = [sys.executable, "-m", "tests.integration.killable", job, step, str(batch_id), *overrides]
    done = subprocess.run(command, cwd=ROOT, start_new_session=True, capture_output=True, text=True, timeout=900)
    assert done.returncode == -signal.SIGKILL, f"{step} was never reached:\n{done.stderr[-3000:]}"


def feed(*worlds: World) -> None:
    """The same 240 records for all: valid, broken, and duplicates within and across batches."""
    values = [record() for _ in range(200)]
    values += [values[n] for n in range(0, 200, 12)] + [record(status_code=n) for n in range(11)]
    for world in worlds:
        world.send([*(world.encode(v) for v in values), *(b"bad %d" % n for n in range(12))])


def without_topic(rows: dict[Any, dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {
        at: {k: v for k, v in row.items() if k not in {"kafka_topic", "_index", "es_index", "es_reason"}}
        for at, row in rows.items()
    }


@pytest.fixture
def undisturbed(world: World, servers: Any, spark: Any, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A second corner that gets the same records and is left in peace."""
    name = f"{world.settings.metastore.database}u"
    calm = world.with_settings(
        checkpoints=str(tmp_path_factory.mktemp("calm")),
        kafka={"topic": f"{name}-logs", "dlq_topic": f"{name}-dlq"},
        elasticsearch={"index_prefix": name},
        metastore={"database": name},
    )
    return World.create(calm, spark)


def test_ingest_killed_at_every_gap(world: World, undisturbed: World) -> None:
    feed(world, undisturbed)
    small = {"ingest": {"max_offsets_per_trigger": BATCH_OFFSETS}}
    for step, batch_id in [
        ("balanced", 0),
        ("invalid_written", 0),
        ("valid_written", 0),
        ("ledger_written", 0),
        ("started", 1),  # the checkpoint has batch 0, nothing else has happened
        ("invalid_appended", 1),  # before the dead letters, which only this batch has
        ("valid_written", 1),
    ]:
        kill_at(world, "ingest", step, batch_id)
    world.run("ingest", settings=world.with_settings(**small))
    undisturbed.run("ingest", settings=undisturbed.with_settings(**small))
    assert without_topic(world.valid()) == without_topic(undisturbed.valid())
    assert without_topic(world.invalid()) == without_topic(undisturbed.invalid())
    assert world.ledger("ingest") == undisturbed.ledger("ingest")


def test_index_killed_at_every_gap(world: World, undisturbed: World) -> None:
    feed(world, undisturbed)
    small = {"index": {"max_offsets_per_trigger": BATCH_OFFSETS}}
    for step, batch_id in [
        ("bulk", 0),
        ("documents_written", 0),
        ("invalid_written", 0),
        ("ledger_written", 0),
        ("bulk", 1),
    ]:
        kill_at(world, "index", step, batch_id)
    world.run("index", settings=world.with_settings(**small))
    undisturbed.run("index", settings=undisturbed.with_settings(**small))
    assert without_topic(world.documents()) == without_topic(undisturbed.documents())
    assert without_topic(world.es_invalid()) == without_topic(undisturbed.es_invalid())
    assert world.ledger("index") == undisturbed.ledger("index")
