"""A job moves to a topic with another name: never on the checkpoint of the old one."""

from __future__ import annotations

import pytest

from pipelines.adapters.kafka import ensure_topics
from pipelines.errors import UsageError
from tests.world import World, record


def test_a_new_topic_on_the_old_checkpoint_is_refused_until_a_recovery_puts_it_aside(world: World) -> None:
    before = world.settings.kafka.topic
    world.send([world.encode(record()) for _ in range(24)])
    world.run("ingest")
    moved = World(world.with_settings(kafka={"topic": f"{before}-2"}), world.spark, world.schema_id)
    ensure_topics(moved.settings)
    moved.send([moved.encode(record()) for _ in range(36)])
    for _ in range(2):
        with pytest.raises(UsageError, match=f"belongs to the topic {before}, not {before}-2"):
            moved.run("ingest")
    moved.run("ingest", recover="ledger")
    moved.send([moved.encode(record()) for _ in range(12)])
    moved.run("ingest")
    topics = [row["kafka_topic"] for row in moved.table("api6_logs_valid").select("kafka_topic").collect()]
    assert {topic: topics.count(topic) for topic in topics} == {before: 24, f"{before}-2": 48}


def test_a_new_topic_with_a_new_place_for_checkpoints_just_starts(world: World) -> None:
    before = world.settings.kafka.topic
    world.send([world.encode(record()) for _ in range(12)])
    world.run("index")
    place = f"{world.settings.checkpoints}-2"
    moved = World(world.with_settings(kafka={"topic": f"{before}-2"}, checkpoints=place), world.spark, world.schema_id)
    ensure_topics(moved.settings)
    moved.send([moved.encode(record()) for _ in range(24)])
    moved.run("index")
    found = [document["kafka_topic"] for document in moved.documents().values()]
    assert {topic: found.count(topic) for topic in found} == {before: 12, f"{before}-2": 24}
