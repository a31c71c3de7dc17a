"""Three sides on real servers: what was damaged is found and nothing else, and a clean system gives no finding."""

from __future__ import annotations

from datetime import UTC, datetime

from elasticsearch import Elasticsearch

from pipelines.contracts.canonical import content_hash
from pipelines.records import LEDGER
from tests.world import NOW_MS, World, fields, record

HOUR_MS = 3_600_000

OLDER_LEDGER = """query STRING, query_id STRING, batch_id BIGINT, topic STRING, partition INT, from_offset BIGINT,
    until_offset BIGINT, valid BIGINT, invalid BIGINT, gaps BIGINT, lost BIGINT, rule_set_fingerprint STRING,
    committed_at TIMESTAMP, date DATE"""


def index_of(world: World, timestamp_ms: int) -> str:
    return f"{world.settings.elasticsearch.index_prefix}-{datetime.fromtimestamp(timestamp_ms / 1000, UTC):%Y.%m.%d}"


def ledger_hours(world: World, job: str) -> dict[tuple[int, datetime], tuple[int, int]]:
    """(partition, hour) → valid records and their hashes, as the ledger of one job has them."""
    out: dict[tuple[int, datetime], tuple[int, int]] = {}
    for row in world.table(LEDGER).where(f"query = '{job}'").collect():
        assert sum(h["valid"] for h in row["hours"]) == row["valid"]
        for h in row["hours"]:
            valid, hashes = out.get((row["partition"], h["hour"]), (0, 0))
            out[row["partition"], h["hour"]] = valid + h["valid"], hashes + h["content_hash"]
    return out


def test_the_ledger_knows_the_hours_of_what_was_stored(world: World) -> None:
    """Duplicates in a batch and over batches, and what Elasticsearch refuses, are taken out of their hours."""
    database = world.settings.metastore.database
    world.spark.sql(f"CREATE DATABASE {database} LOCATION '{world.settings.warehouse_uri}/{database}.db'")
    world.spark.sql(f"CREATE TABLE {database}.{LEDGER} ({OLDER_LEDGER}) USING delta PARTITIONED BY (date)")
    client = Elasticsearch(world.settings.elasticsearch.url)
    client.indices.create(
        index=index_of(world, NOW_MS - 2 * 24 * HOUR_MS),
        mappings={"dynamic": "strict", "properties": {"payload_size": {"type": "byte"}}},
    )
    refused = record(timestamp=NOW_MS - 2 * 24 * HOUR_MS)
    values = [record(), record(timestamp=NOW_MS - HOUR_MS), record(), record(timestamp=NOW_MS - 5 * HOUR_MS)]
    world.send([*(world.encode(v) for v in [*values, values[1], refused]), b"garbage"], partition=3)
    world.run("ingest")
    world.run("index")
    world.send([world.encode(v) for v in [values[0], record()]], partition=3)
    world.run("ingest")
    world.run("index")
    expected: dict[tuple[int, datetime], tuple[int, int]] = {}
    for row in world.valid().values():
        hour = datetime.fromtimestamp(row["timestamp"] // HOUR_MS * 3600, UTC).replace(tzinfo=None)
        valid, hashes = expected.get((3, hour), (0, 0))
        expected[3, hour] = valid + 1, hashes + content_hash(fields(row))
    assert sum(valid for valid, _ in expected.values()) == 6
    assert ledger_hours(world, "ingest") == expected
    lost_hour = datetime.fromtimestamp(refused["timestamp"] // HOUR_MS * 3600, UTC).replace(tzinfo=None)
    assert ledger_hours(world, "index") == {at: sums for at, sums in expected.items() if at[1] != lost_hour}
