"""Values that nobody can decode go on to the dead letter topic, as they came, with where and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from pipelines.adapters.kafka import ensure_topics
from pipelines.errors import SinkUnavailable
from pipelines.records import Batch
from tests.world import World, record

PREFIX = "__connect.errors."


def _headers(message: Message) -> list[tuple[str, Any]]:
    return list(message.headers() or [])  # type: ignore[arg-type]


def letters(world: World) -> list[tuple[bytes | None, bytes | None, dict[str, str]]]:
    """Key, value and headers of everything in the topic, by original coordinates."""
    consumer = Consumer(
        {"bootstrap.servers": world.settings.kafka.bootstrap, "group.id": "t", "enable.auto.commit": False}
    )
    topic = world.settings.kafka.dlq_topic
    partitions = consumer.list_topics(topic).topics[topic].partitions
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p))[1] for p in partitions}
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    found: list[Message] = []
    while len(found) < sum(ends.values()):
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None
        found.append(message)
    consumer.close()
    read = [(m.key(), m.value(), {k: bytes(v or b"").decode() for k, v in _headers(m)}) for m in found]
    return sorted(read, key=lambda m: (int(m[2][f"{PREFIX}partition"]), int(m[2][f"{PREFIX}offset"])))


def test_undecodable_values_arrive_with_their_bytes_key_headers_and_reason(world: World) -> None:
    good = world.encode(record())
    values = [good, b"\x01oops", None, good + b"!!", good[:-3], world.encode(record(status_code=7))]
    world.send(values, partition=3)
    world.run("ingest")
    found = letters(world)
    assert [(key, value) for key, value, _ in found] == [
        (b"k", v) for v in (b"\x01oops", None, good + b"!!", good[:-3])
    ]
    where: list[Mapping[str, str]] = [headers for _, _, headers in found]
    assert [h[f"{PREFIX}offset"] for h in where] == ["1", "2", "3", "4"]
    assert {h[f"{PREFIX}partition"] for h in where} == {"3"}
    assert {h[f"{PREFIX}topic"] for h in where} == {world.settings.kafka.topic}
    assert {h[f"{PREFIX}stage"] for h in where} == {"VALUE_CONVERTER"}
    assert [h[f"{PREFIX}exception.class.name"] for h in where] == [
        "sdp.wire.wrong_magic_byte",
        "sdp.wire.null_value",
        "sdp.decode.trailing_bytes",
        "sdp.decode.truncated_avro",
    ]
    assert where[2][f"{PREFIX}exception.message"].startswith("2 bytes are left after the record")


def test_clean_traffic_and_broken_rules_send_nothing(world: World) -> None:
    world.send([world.encode(record()), world.encode(record(status_code=7))])
    world.run("ingest")
    assert letters(world) == []


def test_a_failed_write_fails_the_batch_and_the_next_try_leaves_one_effect_by_coordinates(world: World) -> None:
    world.send([b"bad %d" % n for n in range(24)])
    own = world.with_settings(ingest={"retry_for_s": 0})
    admin = AdminClient({"bootstrap.servers": world.settings.kafka.bootstrap})
    for future in admin.delete_topics([world.settings.kafka.dlq_topic]).values():
        future.result()
    with pytest.raises(SinkUnavailable, match=world.settings.kafka.dlq_topic):
        world.run("ingest", settings=own)
    assert world.ledger("ingest") == {}
    ensure_topics(world.settings)

    class Interrupted(RuntimeError):
        pass

    def stop(step: str, batch: Batch) -> None:
        if step == "valid_written":
            raise Interrupted

    with pytest.raises(Interrupted):
        world.run("ingest", stop)
    world.run("ingest")
    assert len(world.invalid()) == 24
    sent = [(h[f"{PREFIX}partition"], h[f"{PREFIX}offset"]) for _, _, h in letters(world)]
    assert len(set(sent)) == 24
    assert len(sent) == 48  # a retried batch sends again: readers go by the coordinates


def test_a_value_as_large_as_the_topic_takes_arrives(world: World) -> None:
    huge = b"\x01" + bytes(n % 251 for n in range(3_000_000))
    world.send([huge], partition=0, **{"message.max.bytes": 4_000_000})
    world.run("ingest")
    [(_, value, _)] = letters(world)
    assert value == huge
