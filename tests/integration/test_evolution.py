"""A schema that changes while the jobs run: new columns without a stop, and one bad version that harms no other."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from delta.tables import DeltaTable
from elasticsearch import Elasticsearch

from pipelines import bootstrap
from pipelines.adapters.registry import Registry
from pipelines.errors import RegistryUnavailable, UsageError
from pipelines.records import VALID
from tests.proxy import Proxy
from tests.versions import TEXT_STATUS, V1, Register, encoded, registering, take_anything
from tests.world import World, record

REGION = {"name": "region", "type": ["null", "string"], "default": None}
WITH_REGION = {**V1, "fields": [*V1["fields"], REGION]}
WIDER = {**V1, "fields": [f | ({"type": "long"} if f["name"] == "payload_size" else {}) for f in V1["fields"]]}
FEW_RETRIES = {**V1, "fields": [*V1["fields"], {"name": "retries", "type": "int", "default": 0}]}
MANY_RETRIES = {**V1, "fields": [*V1["fields"], {"name": "retries", "type": "long", "default": 0}]}


@pytest.fixture
def register(world: World) -> Iterator[Register]:
    """Register a version, whatever the registry thinks of it after ``take_anything``; it is gone afterwards."""
    with registering(world.settings) as add:
        yield add


def test_an_optional_field_arrives_in_table_and_index_without_a_stop_or_a_rewrite(
    world: World, register: Register
) -> None:
    ingest = bootstrap.job("ingest", world.settings, world.spark)
    index = bootstrap.job("index", world.settings, world.spark)
    world.send([world.encode(record()) for _ in range(12)])
    for job in (ingest, index):
        job.run(once=True)
    files_before = set(world.table(VALID).inputFiles())

    new_id = register(WITH_REGION)
    world.send([encoded(WITH_REGION, new_id, region="eu-central"), world.encode(record())], partition=0)
    for job in (ingest, index):
        job.run(once=True)

    rows = world.valid()
    assert {at: row["region"] for at, row in rows.items() if row["region"]} == {(0, 1): "eu-central"}
    assert len(rows) == 14
    assert world.invalid() == {}
    assert files_before < set(world.table(VALID).inputFiles())
    found = {(d["kafka_partition"], d["kafka_offset"]): d.get("region") for d in world.documents().values()}
    assert found == {at: ("eu-central" if at == (0, 1) else None) for at in rows}
    mapping = Elasticsearch(world.settings.elasticsearch.url).indices.get_mapping(
        index=f"{world.settings.elasticsearch.index_prefix}-*"
    )
    assert {m["mappings"]["properties"]["region"]["type"] for m in mapping.values()} == {"keyword"}


def test_a_number_that_grew_fits_its_column_without_a_rewrite(world: World, register: Register) -> None:
    world.send([world.encode(record(payload_size=5))], partition=0)
    world.run("ingest")
    files_before = set(world.table(VALID).inputFiles())
    new_id = register(WIDER)
    world.send([encoded(WIDER, new_id, payload_size=2**40), world.encode(record(payload_size=6))], partition=0)
    world.run("ingest")
    assert {at: row["payload_size"] for at, row in world.valid().items()} == {(0, 0): 5, (0, 1): 2**40, (0, 2): 6}
    assert files_before < set(world.table(VALID).inputFiles())
    history = DeltaTable.forName(world.spark, f"{world.settings.metastore.database}.{VALID}").history()
    assert {r["operation"] for r in history.collect()} == {"CREATE TABLE", "WRITE"}


def test_an_added_number_that_grows_is_indexed_in_old_and_new_documents(world: World, register: Register) -> None:
    jobs = [bootstrap.job(name, world.settings, world.spark) for name in ("ingest", "index")]
    few = register(FEW_RETRIES)
    world.send([encoded(FEW_RETRIES, few, retries=3)], partition=0)
    for job in jobs:
        job.run(once=True)
    many = register(MANY_RETRIES)
    world.send([encoded(MANY_RETRIES, many, retries=2**40), encoded(FEW_RETRIES, few, retries=4)], partition=0)
    for job in jobs:
        job.run(once=True)
    retries = {(0, 0): 3, (0, 1): 2**40, (0, 2): 4}
    assert {at: row["retries"] for at, row in world.valid().items()} == retries
    found = {(d["kafka_partition"], d["kafka_offset"]): d["retries"] for d in world.documents().values()}
    assert found == retries
    assert world.es_invalid() == {}


def test_an_index_that_holds_an_added_field_in_a_narrower_type_refuses_records_and_stops_nothing(
    world: World, register: Register
) -> None:
    world.send([world.encode(record())], partition=0)
    world.run("index")
    client, pattern = Elasticsearch(world.settings.elasticsearch.url), f"{world.settings.elasticsearch.index_prefix}-*"
    client.indices.put_mapping(index=pattern, properties={"retries": {"type": "integer"}})
    schema = {**MANY_RETRIES, "fields": [*MANY_RETRIES["fields"], REGION]}
    new_id = register(schema)
    values = [encoded(schema, new_id, retries=n, region="eu") for n in (5, 2**40)]
    world.send(values, partition=0)
    world.run("index")
    found = {d["kafka_offset"]: (d.get("retries"), d.get("region")) for d in world.documents().values()}
    assert found == {0: (None, None), 1: (5, "eu")}
    [(at, row)] = world.es_invalid().items()
    assert (at, row["es_status"], row["raw"]) == ((0, 2), 400, values[1])


def test_an_incompatible_version_is_refused_by_the_registry_and_if_forced_harms_only_its_own_records(
    world: World, register: Register
) -> None:
    with pytest.raises(UsageError):
        Registry(world.settings.registry).register(world.settings.registry.subject, json.dumps(TEXT_STATUS))
    take_anything(world.settings)
    bad_id = register(TEXT_STATUS)
    world.send([encoded(TEXT_STATUS, bad_id, status_code="200"), world.encode(record())], partition=0)
    for job in ("ingest", "index"):
        world.run(job)
    [row] = world.invalid().values()
    assert (row["kafka_offset"], row["error_type"], row["schema_id"]) == (0, "schema", bad_id)
    assert row["error_message"].endswith("field status_code: string can't be read as int")
    assert list(world.valid()) == [(0, 1)]
    assert list(world.es_invalid()) == [(0, 0)]


def test_registry_away_during_evolution_stops_the_batch_and_rejects_nothing(world: World, register: Register) -> None:
    with Proxy(world.settings.registry.url) as proxy:
        through = world.with_settings(registry={"url": proxy.url}, ingest={"retry_for_s": 0})
        ingest = bootstrap.job("ingest", through, world.spark)
        world.send([world.encode(record())], partition=0)
        ingest.run(once=True)
        new_id = register(WITH_REGION)
        proxy.cut()
        world.send([encoded(WITH_REGION, new_id, region="x")], partition=0)
        with pytest.raises(RegistryUnavailable):
            ingest.run(once=True)
        assert (len(world.valid()), world.invalid()) == (1, {})
        proxy.mend()
        ingest.run(once=True)
    assert [row["region"] for row in world.valid().values() if row["kafka_offset"] == 1] == ["x"]
    assert world.invalid() == {}
