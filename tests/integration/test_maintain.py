"""Upkeep on real servers: files are merged, old days and indices go, and everything still adds up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from delta.tables import DeltaTable
from elasticsearch import Elasticsearch
from pyspark.sql import functions as F

from pipelines import bootstrap, bootstrap_maintenance
from pipelines.adapters.daily_indices import DailyIndices
from pipelines.adapters.retirements import Retirements
from pipelines.adapters.table_files import TableFiles
from pipelines.bootstrap_maintenance import Maintenance
from pipelines.errors import IndexReadOnly, UsageError
from pipelines.flows.reconcile import Wanted
from pipelines.flows.status import JobState
from pipelines.maintenance.step import Step
from pipelines.reconcile.model import Run, Verdict
from pipelines.records import INVALID, LEDGER, VALID, Batch
from tests.commands import sdp_here
from tests.world import NOW_MS, World, record

NOW = datetime.now(UTC)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
EARLIER_MS = NOW_MS - 4 * HOUR_MS
OVERRIDES = ["maintenance.min_small_files=3"]


class Killed(BaseException):
    """The process is gone at this point."""


def maintenance(world: World, **changes: int) -> Maintenance:
    wanted = {"min_small_files": 3, "table_days": 30, "ledger_days": 35, **changes}
    return bootstrap_maintenance.maintenance(world.with_settings(maintenance=wanted), world.spark)


def steps(task: Callable[..., None], days_on: int = 0, **how: bool) -> list[Step]:
    """What a task does that many days from now."""
    done: list[Step] = []
    task(NOW + timedelta(days=days_on), done.append, **how)
    return done


def states(world: World) -> tuple[JobState, JobState]:
    found = bootstrap.status(world.settings, world.spark)
    return found.ingest(), found.index()


def assert_adds_up(world: World) -> None:
    for job in states(world):
        assert job.problems == []


def files(world: World, table: str) -> dict[str, int]:
    """Partition folder → files that the newest version has."""
    found: dict[str, int] = {}
    for path in world.table(table).inputFiles():
        folder = str(Path(path).parent)
        found[folder] = found.get(folder, 0) + 1
    return found


def table_of(world: World, name: str) -> DeltaTable:
    return DeltaTable.forName(world.spark, f"{world.settings.metastore.database}.{name}")


def newest_actions(world: World, name: str) -> list[dict[str, dict[str, object]]]:
    """The actions of the newest commit, from its own file."""
    location = table_of(world, name).detail().select("location").collect()[0][0]
    log = Path(location.removeprefix("file:")) / "_delta_log"
    return [json.loads(line) for line in max(log.glob("*.json")).read_text(encoding="utf-8").splitlines()]


def killed_at(patch: pytest.MonkeyPatch, owner: type, method: str) -> None:
    """Die in the method, unless there is nothing for it to do."""

    def die(*given: object, **_: object) -> None:
        if given[-1]:
            raise Killed

    patch.setattr(owner, method, die)


def test_tables_are_merged_retired_and_vacuumed_and_all_adds_up(world: World, tmp_path: Path) -> None:
    earlier = [record(timestamp=EARLIER_MS) for _ in range(36)]
    for start in range(0, 36, 12):
        bad = [world.encode(record(status_code=0)) for _ in range(2)]
        world.send([*map(world.encode, earlier[start : start + 12]), *bad, world.encode(record())])
        world.run("ingest")
    world.run("index")
    before, invalid, crowded = world.valid(), world.invalid(), files(world, VALID)
    assert (len(before), len(invalid)) == (39, 6)
    assert min(crowded.values()) >= 3

    # merging: the settled hour only, no row changes, not even for readers of the changes
    _, out = sdp_here(world.spark, [*world.overrides(), *OVERRIDES], "maintain", "optimize", "--dry-run", "--json")
    planned = json.loads(out)
    assert (planned["dry_run"], [(s["action"], s["target"]) for s in planned["steps"]]) == (
        True,
        [("merge files", VALID)],
    )
    assert files(world, VALID) == crowded
    code, out = sdp_here(world.spark, [*world.overrides(), *OVERRIDES], "maintain", "optimize", "--json")
    assert (code, [s["target"] for s in json.loads(out)["steps"]]) == (0, [VALID])
    settled = max(crowded, key=lambda folder: crowded[folder])
    assert files(world, VALID) == crowded | {settled: 1}
    assert {a[kind]["dataChange"] for a in newest_actions(world, VALID) for kind in ("add", "remove") if kind in a} == {
        False
    }
    assert (world.valid(), world.invalid()) == (before, invalid)
    assert_adds_up(world)

    # a job in the middle of a batch, with a duplicate that makes it read the table, does not notice
    def merge_all(step: str, _: Batch) -> None:
        if step == "invalid_written":
            steps(maintenance(world, min_small_files=2).optimize, days_on=3)

    later = [record(timestamp=EARLIER_MS), record()]
    world.send([*map(world.encode, later), world.encode(earlier[0])], partition=5)
    world.run("ingest", on_step=merge_all)
    assert (len(world.valid()), len(world.invalid())) == (41, 7)
    appends = table_of(world, VALID).history().where("operation = 'WRITE' OR operation LIKE 'CREATE%'")
    assert not appends.where("operation = 'WRITE' AND NOT isBlindAppend").collect()
    assert max(files(world, LEDGER).values()) <= 2
    world.run("index")
    assert_adds_up(world)
    assert steps(maintenance(world, min_small_files=2).optimize, days_on=3) != []
    assert steps(maintenance(world, min_small_files=2).optimize, days_on=3) == [], "nothing is merged twice"

    # retention: one row was replayed, one given up, the others still wait for somebody
    at = sorted(invalid)
    status = {at[0]: "replayed", at[1]: "unrecoverable"}
    for (partition, offset), state in status.items():
        table_of(world, INVALID).update(
            f"kafka_partition = {partition} AND kafka_offset = {offset}", {"status": f"'{state}'"}
        )
    copy = (
        world.table(VALID)
        .limit(1)
        .withColumns({"kafka_partition": F.lit(at[0][0]), "kafka_offset": F.lit(at[0][1]).cast("bigint")})
    )
    copy.write.format("delta").mode("append").saveAsTable(f"{world.settings.metastore.database}.{VALID}")
    assert_adds_up(world)
    held = world.invalid()
    assert steps(maintenance(world).vacuum, days_on=20) == [], "nothing is old yet"
    assert [s.action for s in steps(maintenance(world).vacuum, days_on=32, dry_run=True)] == ["retire rows"] * 2
    assert len(world.valid()) == 42
    for owner, method, left in ((TableFiles, "drop_older", 42), (Retirements, "confirm", 0)):
        with pytest.MonkeyPatch.context() as patch:
            killed_at(patch, owner, method)
            with pytest.raises(Killed):
                maintenance(world).vacuum(NOW + timedelta(days=32), lambda _: None)
        assert len(world.valid()) == left
        assert_adds_up(world)
    assert steps(maintenance(world).vacuum, days_on=32)[0].target == INVALID
    assert world.valid() == {}
    assert world.invalid() == {where: row for where, row in held.items() if where not in status}
    assert_adds_up(world)
    ingest, _ = states(world)
    assert [ingest.total(f"retired_{name}") for name in ("valid", "invalid", "replayed")] == [42, 2, 1]
    assert steps(maintenance(world).vacuum, days_on=32) == []
    for how in (Wanted(around(EARLIER_MS, NOW_MS)), Wanted(around(EARLIER_MS, NOW_MS), deep=True, sample=5)):
        assert_finds_nothing(reconciled(world, how), "rows", "bad rows")

    # files go for good only where nobody can need them
    with pytest.raises(UsageError, match="--force"):
        maintenance(world, vacuum_hours=0).vacuum(NOW, lambda _: None)
    kept = world.invalid()
    assert {s.action for s in steps(maintenance(world, vacuum_hours=0).vacuum, force=True)} == {"delete files"}
    location = table_of(world, VALID).detail().select("location").collect()[0][0]
    assert list(Path(location.removeprefix("file:")).glob("date=*/**/*.parquet")) == []
    assert world.invalid() == kept

    # leftovers and the ledger; the living checkpoints are not touched
    place = Path(world.settings.checkpoints_uri)
    for name in ("ingest.replaced-20200101T000000", "index.replaced-20990101T000000", "other.replaced-20200101T000000"):
        (place / name).mkdir()
    told = steps(maintenance(world).checkpoints, days_on=40)
    assert [(s.action, s.target) for s in told] == [
        ("delete checkpoint", "ingest.replaced-20200101T000000"),
        ("roll up", LEDGER),
    ]
    assert {"ingest", "index", "index.replaced-20990101T000000", "other.replaced-20200101T000000"} <= {
        path.name for path in place.iterdir()
    }
    assert {len(batches) for job in ("ingest", "index") for batches in world.ledger(job).values()} == {1}
    assert_adds_up(world)
    assert [s for s in steps(maintenance(world).checkpoints, days_on=40) if s.action == "roll up"] == []

    # after all of it the jobs go on, exactly once
    world.send([world.encode(record()) for _ in range(12)])
    world.run("ingest")
    world.run("index")
    assert len(world.valid()) == 12
    assert_adds_up(world)


def test_indices_grow_old_by_the_day_in_their_name(world: World) -> None:
    client = Elasticsearch(world.settings.elasticsearch.url)
    prefix = world.settings.elasticsearch.index_prefix
    old, new = NOW_MS - 6 * DAY_MS, NOW_MS - 1_000
    first, last = (f"{prefix}-{datetime.fromtimestamp(at / 1000, UTC):%Y.%m.%d}" for at in (old, new))
    day = date.fromisoformat(first[-10:].replace(".", "-"))
    today = date.fromisoformat(last[-10:].replace(".", "-"))
    foreign = [f"{prefix}-2000.01.01-backup", f"{prefix}x-2000.01.01", f"{prefix}-2000.13.01"]
    for name in foreign:
        client.indices.create(index=name)
    for _ in range(3):
        world.send([world.encode(record(timestamp=at)) for at in (old, old, old, new) * 6])
        world.run("index")
        client.indices.refresh(index=f"{prefix}-*")
    assert max(segments(client, first)) > 1

    def days_until(which: date, age: int) -> int:
        return (which - NOW.date()).days + age

    task = maintenance(world).indices
    assert steps(task, days_until(day, 29)) == []
    expected = [("make read-only", first), ("merge", first)]
    assert [(s.action, s.target) for s in steps(task, days_until(day, 30), dry_run=True)] == expected
    assert max(segments(client, first)) > 1
    assert [(s.action, s.target) for s in steps(task, days_until(day, 30))] == expected
    assert set(segments(client, first)) == {1}
    assert is_read_only(client, first)
    assert not is_read_only(client, last)
    assert steps(task, days_until(day, 35)) == [], "what is as it must be is left alone"
    assert_index_adds_up(world)

    # a late record: the error names the way out, and nothing is lost
    world.send([world.encode(record(timestamp=old))], partition=1)
    with pytest.raises(IndexReadOnly, match="sdp maintain indices --open"):
        world.run("index", settings=world.with_settings(index={"retry_for_s": 0}))
    sdp_here(world.spark, world.overrides(), "maintain", "indices", "--open", day.isoformat())
    world.run("index")
    assert (len(world.documents()), world.es_invalid()) == (73, {})
    assert [s.action for s in steps(task, days_until(day, 31))] == ["make read-only", "merge"]
    with pytest.raises(UsageError, match="no index"):
        maintenance(world).open_index(date(2000, 1, 1), lambda _: None)

    # old enough: counted, then deleted, whatever happens in between
    gone = days_until(day, 90)
    assert [s.action for s in steps(task, gone, dry_run=True)][:1] == ["delete"]
    for owner, method in ((DailyIndices, "delete"), (Retirements, "confirm")):
        with pytest.MonkeyPatch.context() as patch:
            killed_at(patch, owner, method)
            with pytest.raises(Killed):
                maintenance(world).indices(NOW + timedelta(days=gone), lambda _: None)
        assert_index_adds_up(world)
    assert not client.indices.exists(index=first)
    assert [(s.action, s.target) for s in steps(task, gone)] == [("make read-only", last), ("merge", last)]
    assert_index_adds_up(world)
    assert (today - day).days == 6
    _, index = states(world)
    assert (index.total("held_valid"), index.total("retired_valid")) == (18, 55)
    assert steps(task, gone) == []
    assert all(client.indices.exists(index=name) for name in foreign)
    client.indices.delete(index=",".join(foreign))
    world.run("ingest")
    for how in (Wanted(around(old, old)), Wanted(around(old, old), deep=True, sample=5)):
        assert_finds_nothing(reconciled(world, how), "documents")


def test_lag_is_that_of_a_known_backlog(world: World) -> None:
    world.send([world.encode(record()) for _ in range(24)])
    world.run("ingest")
    world.send([world.encode(record()) for _ in range(36)])
    aborted = Producer(
        {"bootstrap.servers": world.settings.kafka.bootstrap, "transactional.id": world.settings.kafka.topic}
    )
    aborted.init_transactions(30)
    aborted.begin_transaction()
    aborted.produce(world.settings.kafka.topic, b"never", partition=11)
    aborted.flush(30)
    aborted.abort_transaction(30)

    def lag(*more: str) -> tuple[int, str]:
        return sdp_here(world.spark, world.overrides(), "lag", *more)

    at_least = time.time() - NOW_MS / 1000
    code, out = lag("--json", "--max-records", "62", "--max-age-s", "100000")
    at_most = time.time() - NOW_MS / 1000
    found = json.loads(out)
    assert (code, found["ingest"]["problems"], found["index"]["problems"]) == (0, [], [])
    assert (found["ingest"]["records"], found["index"]["records"]) == (38, 62), "the aborted one and its marker count"
    assert {p["partition"]: p["records"] for p in found["ingest"]["partitions"]} == {
        **dict.fromkeys(range(11), 3),
        11: 5,
    }
    assert at_least <= found["ingest"]["oldest_s"] <= at_most
    assert {p["position"] for p in found["ingest"]["partitions"]} == {2}
    code, out = lag("--max-records", "50", "--max-age-s", "100000")
    assert (code, "index: 62 records wait, more than 50" in out, "ingest: 38" in out) == (1, True, False)
    assert lag("--max-age-s", "1")[0] == 1

    world.run("ingest")
    world.run("index")
    code, out = lag("--json", "--max-records", "0", "--max-age-s", "1")
    assert (code, json.loads(out)["index"]["oldest_s"], json.loads(out)["index"]["records"]) == (0, None, 0)


def around(first_ms: int, last_ms: int) -> tuple[datetime, datetime]:
    """The hours of both, and all between them."""
    start, end = (datetime.fromtimestamp(ms // HOUR_MS * 3600, UTC) for ms in (first_ms, last_ms + HOUR_MS))
    return start, end


def reconciled(world: World, wanted: Wanted) -> Run:
    return bootstrap.reconcile(world.settings, world.spark).run(wanted)


def assert_finds_nothing(run: Run, *retired: str) -> None:
    """Where something was removed for its age, and the run says so."""
    assert (run.verdict, run.kinds, run.records > 0, run.adds_up) == (Verdict.OK, (), True, True)
    assert [note.split(" of ")[0].removeprefix("the ") for note in run.notes if "removed for their age" in note] == [
        *retired
    ]


def assert_index_adds_up(world: World) -> None:
    _, index = states(world)
    assert index.problems == []


def segments(client: Elasticsearch, index: str) -> list[int]:
    """Of each shard copy that holds anything, by Elasticsearch's own table for people."""
    rows: Any = client.cat.segments(index=index, format="json", h="shard,prirep,segment,searchable")
    shards = [(r["shard"], r["prirep"]) for r in rows if r["searchable"] == "true"]
    return [shards.count(each) for each in set(shards)]


def is_read_only(client: Elasticsearch, index: str) -> bool:
    found = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    return bool(found.get("index.blocks.write") == "true")
