"""The ingest job on real Kafka, registry and metastore: what each kind of value becomes, and that nothing is lost."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime

from confluent_kafka import Producer

from tests.world import NOW_MS, World, fields, record

HOUR_MS = 3_600_000


def test_valid_record_lands_with_its_content_and_coordinates(world: World) -> None:
    wanted = record(error_message="timeout\twhile ☂")
    world.send([world.encode(wanted)], partition=3)
    world.run("ingest")
    assert world.invalid() == {}
    [(at, row)] = world.valid().items()
    assert at == (3, 0)
    assert fields(row) == wanted
    canonical = "\x1f".join("\x00" if v is None else str(v) for v in wanted.values())
    assert row["content_hash"] == zlib.crc32(canonical.encode())
    event = datetime.fromtimestamp(wanted["timestamp"] / 1000, UTC)
    assert (str(row["date"]), row["hour"]) == (f"{event:%Y-%m-%d}", event.hour)
    assert (row["schema_id"], row["kafka_topic"], row["warnings"]) == (world.schema_id, world.settings.kafka.topic, [])


def test_every_defect_is_kept_raw_with_the_reason_that_names_it(world: World) -> None:
    good = world.encode(record())
    bomb = good[:5] + good[5:11] + b"\xfe\xff\xff\xff\x0f"  # a request_id that claims two gigabytes
    cases: list[tuple[bytes | None, list[str]]] = [
        (None, ["null_value"]),
        (b"", ["empty_value"]),
        (b'{"timestamp": 1}', ["json_instead_of_avro"]),
        (b"\x01" + good[1:], ["wrong_magic_byte"]),
        (good[:4], ["short_header"]),
        (world.encode(record(), schema_id=2**31 - 1), ["unknown_schema_id"]),
        (good[:-2], ["truncated_avro"]),
        (good[:5], ["truncated_avro"]),
        (good + b"xyz", ["trailing_bytes"]),
        (bomb, ["corrupt_avro"]),
        (world.encode(record(user_agent="AAAA")).replace(b"AAAA", b"\xff\xfe\xc3\x28"), ["invalid_utf8"]),
        (world.encode(record(status_code=99)), ["status_code_range"]),
        (world.encode(record(status_code=600)), ["status_code_range"]),
        (world.encode(record(http_method="FETCH")), ["http_method_known"]),
        (world.encode(record(api_endpoint="v6")), ["api_endpoint_slash"]),
        (world.encode(record(api_endpoint="/" + "x" * 2048)), ["api_endpoint_length"]),
        (world.encode(record(response_time_ms=-1)), ["response_time_negative"]),
        (world.encode(record(payload_size=-(2**31))), ["payload_size_negative"]),
        (world.encode(record(client_ip="300.1.1.1")), ["client_ip_valid"]),
        (world.encode(record(request_id=" \t")), ["request_id_blank", "request_id_control"]),
        (world.encode(record(request_id="a\x1fb")), ["request_id_control"]),
        (world.encode(record(request_id="é" * 129)), ["request_id_length"]),
        (world.encode(record(timestamp=NOW_MS + 2 * HOUR_MS)), ["timestamp_window"]),
        (world.encode(record(timestamp=NOW_MS - 8 * 24 * HOUR_MS)), ["timestamp_window"]),
        (world.encode(record(timestamp=2**63 - 1)), ["timestamp_unrepresentable", "timestamp_window"]),
        (world.encode(record(status_code=0, http_method="x")), ["status_code_range", "http_method_known"]),
    ]
    world.send([value for value, _ in cases], partition=0)
    world.run("ingest")
    assert world.valid() == {}
    rows = world.invalid()
    assert [rows[0, offset]["raw"] for offset in range(len(cases))] == [value for value, _ in cases]
    codes = world.codes()
    assert [codes[0, offset] for offset in range(len(cases))] == [expected for _, expected in cases]
    assert all(row["error_message"] and row["key"] == b"k" and row["status"] == "open" for row in rows.values())


def test_warnings_stay_on_valid_rows(world: World) -> None:
    odd = [
        record(user_agent=""),
        record(user_agent="u" * 1025),
        record(error_message=""),
        record(error_message="e" * 10**6),
    ]
    world.send([world.encode(r) for r in odd], partition=0, **{"message.max.bytes": 4_000_000})
    world.run("ingest")
    assert world.invalid() == {}
    found = [[w["code"] for w in world.valid()[0, offset]["warnings"]] for offset in range(4)]
    assert found == [["user_agent_length"]] * 2 + [["error_message_length"]] * 2


def test_duplicates_are_found_in_the_batch_and_in_the_touched_hours(world: World) -> None:
    first, other = record(), record()
    world.send([world.encode(first), world.encode(other), world.encode(first)], partition=5)
    world.run("ingest")
    assert world.codes() == {(5, 2): ["duplicate_request_id"]}
    changed = first | {"status_code": 503}
    world.send([world.encode(changed), world.encode(record())], partition=5)
    world.run("ingest")
    assert world.codes() == {(5, 2): ["duplicate_request_id"], (5, 3): ["duplicate_request_id"]}
    assert sorted(world.valid()) == [(5, 0), (5, 1), (5, 4)]
    assert fields(world.valid()[5, 0]) == first
    assert world.invalid()[5, 3]["raw"] == world.encode(changed)


def test_headers_are_kept_on_invalid_rows_only(world: World) -> None:
    producer = Producer({"bootstrap.servers": world.settings.kafka.bootstrap})
    topic = world.settings.kafka.topic
    producer.produce(topic, b"garbage", key=b"\xff", partition=0, timestamp=NOW_MS, headers=[("trace", b"\x00\x01")])
    assert producer.flush(30) == 0
    world.run("ingest")
    [row] = world.invalid().values()
    assert (row["headers"], row["key"]) == ([{"key": "trace", "value": b"\x00\x01"}], b"\xff")


def test_ledger_balances_every_partition_over_small_batches(world: World) -> None:
    world.send([world.encode(record()) if n % 10 else b"bad" for n in range(600)])
    small = world.with_settings(ingest={"max_offsets_per_trigger": 200})
    world.run("ingest", settings=small)
    for ranges in world.ledger("ingest").values():
        assert [r[0] for r in ranges] == [0, *(r[1] for r in ranges[:-1])], "ranges follow each other without a hole"
        assert all(
            until - start == valid + invalid + gaps + lost for start, until, valid, invalid, gaps, lost in ranges
        )
        assert ranges[-1][1] == 50
    assert len(world.valid()) + len(world.invalid()) == 600


def test_transaction_markers_and_aborted_records_are_known_gaps(world: World) -> None:
    topic = world.settings.kafka.topic
    producer = Producer({"bootstrap.servers": world.settings.kafka.bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for outcome in (producer.commit_transaction, producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        for _ in range(3):
            producer.produce(topic, world.encode(record()), partition=1, timestamp=NOW_MS)
        producer.flush(30)  # an abort would drop what was never sent
        outcome(30)
    world.run("ingest")
    # nine records and three markers; the aborted three are no records
    assert world.ledger("ingest")[1] == [(0, 12, 6, 0, 6, 0)]
    assert sorted(world.valid()) == [(1, n) for n in (0, 1, 2, 8, 9, 10)]


def test_an_empty_topic_writes_nothing(world: World) -> None:
    world.run("ingest")
    assert (world.valid(), world.invalid(), world.ledger("ingest")) == ({}, {}, {})
