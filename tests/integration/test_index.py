"""The index job on a real Elasticsearch: documents equal the valid rows, refused ones are kept with their reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from elasticsearch import Elasticsearch

from pipelines.errors import SinkUnavailable
from tests.world import NOW_MS, World, fields, record

DAY_MS = 86_400_000


def index_of(world: World, timestamp_ms: int) -> str:
    return f"{world.settings.elasticsearch.index_prefix}-{datetime.fromtimestamp(timestamp_ms / 1000, UTC):%Y.%m.%d}"


def test_documents_equal_the_valid_rows(world: World) -> None:
    late = record(timestamp=NOW_MS - 2 * DAY_MS)
    odd = record(error_message='a\x01\t\n"\\b\u2028', user_agent="", client_ip="2001:db8::7")
    twice = record()
    values = [late, odd, twice, twice | {"status_code": 500}, record(status_code=7)]
    world.send([*(world.encode(v) for v in values), b"garbage", None], partition=2)
    world.run("ingest")
    world.run("index")
    documents = world.documents()
    assert {d["kafka_offset"] for d in documents.values()} == {0, 1, 2} == {offset for _, offset in world.valid()}
    for (partition, offset), row in world.valid().items():
        found = documents[row["request_id"]]
        assert fields(found) == fields(row)
        assert (found["kafka_partition"], found["kafka_offset"]) == (partition, offset)
        assert found["content_hash"] == row["content_hash"]
        assert found["@timestamp"] == row["timestamp"]
        assert found["_index"] == index_of(world, row["timestamp"])
    assert documents[odd["request_id"]]["warnings"] == ["user_agent_length"]
    assert world.codes("api6_es_invalid") == world.codes("api6_logs_invalid")
    assert world.ledger("index") == world.ledger("ingest")


def test_any_request_id_that_the_rules_allow_is_a_document_id(world: World) -> None:
    odd = ["🦊" * 128, 'a"b\\c', "../..", "_id", " x ", "\x7f\u2028", "{_day}", "e\u0301", "x" * 128]
    world.send([world.encode(record(request_id=name)) for name in odd], partition=0)
    world.run("index")
    assert sorted(world.documents()) == sorted(odd)
    assert world.es_invalid() == {}


def test_mapping_is_strict_and_typed_for_dashboards(world: World) -> None:
    world.send([world.encode(record())])
    world.run("index")
    client = Elasticsearch(world.settings.elasticsearch.url)
    name = index_of(world, NOW_MS)
    mapping = client.indices.get_mapping(index=name)[name]["mappings"]
    kinds = {field: spec["type"] for field, spec in mapping["properties"].items()}
    assert mapping["dynamic"] == "strict"
    assert (kinds["@timestamp"], kinds["client_ip"], kinds["status_code"]) == ("date", "ip", "integer")
    shape = client.indices.get_settings(index=name)[name]["settings"]["index"]
    assert (shape["number_of_shards"], shape["number_of_replicas"]) == ("2", "0")


def test_refused_documents_are_kept_with_status_and_reason(world: World) -> None:
    client = Elasticsearch(world.settings.elasticsearch.url)
    # an index that somebody created by hand, where a payload size has no room
    client.indices.create(
        index=index_of(world, NOW_MS), mappings={"dynamic": "strict", "properties": {"payload_size": {"type": "byte"}}}
    )
    world.send([world.encode(record(payload_size=100_000)), b"bad"], partition=0)
    world.run("index")
    rows = world.es_invalid()
    assert sorted(rows) == [(0, 0), (0, 1)]
    assert rows[0, 0]["raw"] == world.sent[0]
    assert (rows[0, 0]["es_status"], rows[0, 0]["error_type"]) == (400, "elasticsearch")
    assert rows[0, 0]["es_index"] == index_of(world, NOW_MS)
    assert rows[0, 0]["es_reason"]
    assert rows[0, 1]["es_status"] is None
    assert world.ledger("index")[0] == [(0, 2, 0, 2, 0, 0)]


def test_the_first_of_two_records_stays_whatever_the_order_of_writing(world: World) -> None:
    first = record()
    world.send([world.encode(first)], partition=4)
    world.run("index")
    world.send([world.encode(first | {"status_code": 418})], partition=4)
    world.run("index")
    [document] = world.documents().values()
    assert (document["status_code"], document["kafka_offset"]) == (200, 0)
    [(at, row)] = world.es_invalid().items()
    assert (at, row["es_status"], row["error_type"]) == ((4, 1), 409, "duplicate")


def test_a_replay_of_everything_changes_nothing(world: World) -> None:
    values = [record() for _ in range(50)]
    world.send([*(world.encode(v) for v in values), world.encode(values[3]), b"bad"])
    world.run("index")
    before = (world.documents(), world.es_invalid(), world.ledger("index"))
    world.run("index", recover="earliest")
    assert (world.documents(), world.es_invalid(), world.ledger("index")) == before


def test_a_cluster_that_refuses_to_write_makes_no_record_invalid(world: World) -> None:
    client = Elasticsearch(world.settings.elasticsearch.url)
    world.send([world.encode(record()) for _ in range(20)])
    world.run("index")
    name = index_of(world, NOW_MS)
    client.indices.put_settings(index=name, settings={"index.blocks.write": True})
    world.send([world.encode(record()) for _ in range(20)])
    with pytest.raises(SinkUnavailable, match="cluster_block_exception"):
        world.run("index", settings=world.with_settings(index={"retry_for_s": 0}))
    assert world.es_invalid() == {}
    client.indices.put_settings(index=name, settings={"index.blocks.write": None})
    world.run("index")
    assert len(world.documents()) == 40
    assert world.es_invalid() == {}
