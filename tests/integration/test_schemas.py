"""A proposed schema before it is shipped: the real registry agrees with our check, and real records are tried."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pipelines import bootstrap
from pipelines.adapters.kafka import KafkaAdmin
from pipelines.adapters.registry import COMPATIBILITY, Registry
from pipelines.adapters.stream import KafkaBroker
from pipelines.contracts import avro
from pipelines.contracts.compatibility import problems
from pipelines.contracts.writer import LogSchema
from pipelines.errors import RegistryUnavailable, UsageError
from pipelines.flows.schema_trial import Count, Effect, SchemaTrial
from pipelines.settings import Settings
from tests.commands import sdp, sdp_here
from tests.compatibility_cases import CASES, EVERY_PAIR_OF_PRIMITIVES, Case
from tests.world import NOW_MS, World, record

HOUR = timedelta(hours=1)
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
SOON = NOW + timedelta(milliseconds=1)
TEXT = avro.load("api6-logs-value", 1).text


@pytest.fixture
def subject() -> str:
    return f"s{uuid.uuid4().hex[:10]}-value"


def with_field(**field: Any) -> str:
    schema = json.loads(TEXT)
    kept = [f for f in schema["fields"] if f["name"] != field["name"]]
    return json.dumps(schema | {"fields": [*kept, field]})


# --- the registry --------------------------------------------------------------------------------------------------


def test_the_registry_says_the_same_of_every_case(servers: Settings, subject: str) -> None:
    registry = Registry(servers.registry)

    def accepts(number: int, case: Case) -> bool:
        reader, writer = case.texts
        own = f"{subject}-{number}"
        registry.register(own, writer)
        return registry.test_compatibility(own, reader)

    cases = CASES + EVERY_PAIR_OF_PRIMITIVES
    said = {case.name: accepts(number, case) for number, case in enumerate(cases)}
    ours = {case.name: not problems(*case.texts) for case in cases}
    assert {name for name in said if said[name] != ours[name]} == {case.name for case in cases if case.differs}


def test_what_the_registry_refuses_in_the_test_it_refuses_for_good(servers: Settings, subject: str) -> None:
    registry = Registry(servers.registry)
    good, bad = (
        with_field(name="region", type=["null", "string"], default=None),
        with_field(name="region", type="string"),
    )
    registry.register(subject, TEXT)
    assert (registry.test_compatibility(subject, good), registry.test_compatibility(subject, bad)) == (True, False)
    with pytest.raises(UsageError, match="refused"):
        registry.register(subject, bad)
    assert len(registry.snapshot(subject)) == 1
    registry.register(subject, good)
    assert len(registry.snapshot(subject)) == 2
    assert registry.compatibility(subject) == COMPATIBILITY


def test_a_subject_without_versions_takes_any(servers: Settings, subject: str) -> None:
    assert Registry(servers.registry).test_compatibility(subject, TEXT)


def test_text_that_is_no_schema_is_not_taken(servers: Settings, subject: str) -> None:
    registry = Registry(servers.registry)
    registry.register(subject, TEXT)
    assert not registry.test_compatibility(subject, '{"type": "nonsense"}')


def test_a_registry_that_is_away_says_nothing_about_a_schema() -> None:
    away = Settings().registry.model_copy(update={"url": "http://localhost:9"})
    with pytest.raises(RegistryUnavailable):
        Registry(away).test_compatibility("s", TEXT)


# --- recent records ------------------------------------------------------------------------------------------------


def produce(world: World, values: Sequence[tuple[bytes | None, int, datetime]]) -> None:
    """(value, partition, Kafka timestamp)."""
    producer = Producer({"bootstrap.servers": world.settings.kafka.bootstrap})
    for value, partition, at in values:
        milliseconds = round(at.timestamp() * 1000)
        producer.produce(world.settings.kafka.topic, value, partition=partition, timestamp=milliseconds)
    assert producer.flush(60) == 0


def test_a_window_is_found_by_kafka_time(world: World) -> None:
    ages = [5, 3, 2, 1]
    produce(world, [(b"x", 4, NOW - age * HOUR) for age in ages] + [(b"y", 7, NOW - 3 * HOUR)])
    broker, topic = KafkaBroker(world.spark, world.settings.kafka), world.settings.kafka.topic

    def window(since: float, until: float) -> dict[int, tuple[int, int]]:
        found = broker.between(topic, NOW - since * HOUR, NOW - until * HOUR)
        return {r.partition: (r.from_offset, r.until_offset) for r in found}

    assert window(6, 0) == {4: (0, 4), 7: (0, 1)}
    assert window(2.5, 0) == {4: (2, 4)}
    assert window(3, 1) == {4: (1, 3), 7: (0, 1)}  # the end is left out
    assert window(0.5, 0) == {}
    assert window(9, 6) == {}
    assert KafkaAdmin(world.settings.kafka).first_since(topic, NOW - 2 * HOUR)[4] == 2


@pytest.fixture
def trial(world: World, subject: str) -> SchemaTrial:
    """On a subject of its own, which has the shipped version."""
    found = replace(bootstrap.schema_trial(world.settings, world.spark), subject=subject)
    world.schema_id = Registry(world.settings.registry).register(subject, TEXT)
    return found


def tried(trial: SchemaTrial, text: str, since: datetime = NOW - HOUR, until: datetime = SOON) -> Effect:
    return trial.effect(trial.proposal(LogSchema(text)), since, until)


def test_recent_records_are_tried_and_older_ones_left_alone(world: World, trial: SchemaTrial) -> None:
    good, broken = world.encode(record()), world.encode(record(status_code=1))
    old = [(good, p, NOW - 3 * HOUR) for p in range(12)]
    new = [(good, n % 12, NOW) for n in range(40)] + [(broken, 3, NOW), (good[:-1], 4, NOW), (None, 5, NOW)]
    produce(world, old + new)
    told: list[int] = []
    proposal = trial.proposal(LogSchema(with_field(name="tenant", type="string")))
    found = trial.effect(proposal, NOW - HOUR, SOON, told.append)
    assert told == [43]
    assert found.counts == (
        Count(world.schema_id, 42, 41, 0, newly_rejected=40, newly_accepted=0),
        Count(None, 1, 0, 0, 0, 0),
    )
    [rejection] = found.rejections
    assert (rejection.schema_id, rejection.reason, rejection.records) == (world.schema_id, "incompatible_schema", 40)
    assert rejection.samples[0] == (0, 1)  # offset 0 of each partition is too old
    assert all(offset > 0 for _, offset in rejection.samples)
    assert 2 <= len(rejection.samples) <= 3

    harmless = tried(trial, with_field(name="region", type=["null", "string"], default=None))
    assert (harmless.newly_rejected, harmless.rejections) == (0, ())
    assert [c.would_decode for c in harmless.counts] == [41, 0]


def test_an_empty_window_needs_no_spark(world: World, trial: SchemaTrial) -> None:
    assert tried(trial, TEXT) == Effect(())


def test_the_answer_holds_a_version_against_all_registered_ones(world: World, trial: SchemaTrial, subject: str) -> None:
    registry = Registry(world.settings.registry)
    second = registry.register(subject, with_field(name="payload_size", type="long"))
    version = LogSchema(TEXT)  # back to int: reads the first version, not the second
    answer = trial.answer(trial.proposal(version), version)
    assert answer.registered == (world.schema_id, second)
    assert [p.message for p in answer.incompatible[second]] == ["field payload_size: long can't be read as int"]
    assert world.schema_id not in answer.incompatible
    assert (answer.level, answer.registry_accepts, answer.is_compatible) == (COMPATIBILITY, False, False)


def test_a_registry_without_the_subject_is_not_ready(world: World, trial: SchemaTrial) -> None:
    with pytest.raises(RegistryUnavailable, match="sdp init"):
        replace(trial, subject="unheard-of").proposal(LogSchema(TEXT))


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command(world: World, tmp_path: Path) -> None:
    world.send([world.encode(record()) for _ in range(24)])
    good, bad = tmp_path / "good.avsc", tmp_path / "bad.avsc"
    newest = json.loads(list(Registry(world.settings.registry).snapshot(world.settings.registry.subject).values())[-1])
    region = {"name": "brand_new", "type": ["null", "string"], "default": None}
    good.write_text(json.dumps(newest | {"fields": [*newest["fields"], region]}), encoding="utf-8")
    bad.write_text(
        json.dumps(newest | {"fields": [*newest["fields"], region | {"type": "int", "default": 0}]}).replace(
            ', "default": 0', ""
        ),
        encoding="utf-8",
    )

    fine = sdp(world.settings, "schemas", "test", str(good), "--since", "12h", "--json", overrides=world.overrides())
    assert (fine.returncode, fine.stderr.count("Traceback")) == (0, 0), fine.stderr
    found = json.loads(fine.stdout)
    assert found["compatible"] is True
    assert found["offsets"] == 24
    assert [(c["column"], c["change"]) for c in found["columns"]] == [("brand_new", "new")]
    counts = {"records": 24, "decode_today": 24, "would_decode": 24, "newly_rejected": 0, "newly_accepted": 0}
    assert found["schemas"] == [{"schema_id": world.schema_id, **counts}]

    code, printed = sdp_here(world.spark, world.overrides(), "schemas", "test", str(bad), "--since", "12h")
    assert code == 1, printed
    assert "missing_default" in printed
    assert "refuses it" in printed
    assert "24 (100.00% of 24) records newly rejected" in printed

    nowhere = ["kafka.bootstrap=localhost:9", *world.overrides()]
    away = sdp(world.settings, "schemas", "test", str(good), overrides=nowhere)
    assert away.returncode == 3, away.stderr
