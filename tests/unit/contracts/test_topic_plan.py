"""The laws of a plan, on a model of a cluster: what is asked for comes about, what is not allowed never does."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.topic_plan import Change, ClusterState, Danger, TopicPlan, plan_topics
from pipelines.contracts.topics import TopicSpec

EVERY_DANGER = frozenset(Danger)
NUMBERS = st.sampled_from(["-1", "0", "1", "60000", "604800000", "604800001", "63072000000"])
CONFIGS: dict[str, st.SearchStrategy[str]] = {
    "retention.ms": NUMBERS,
    "retention.bytes": NUMBERS,
    "min.insync.replicas": st.sampled_from(["1", "2", "3"]),
    "cleanup.policy": st.sampled_from(["delete", "compact", "compact,delete"]),
    "compression.type": st.sampled_from(["gzip", "snappy", "producer"]),
    "max.message.bytes": st.sampled_from(["1048588", "4194304"]),
}
NAMES = st.sampled_from(["a", "b", "c", "__consumer_offsets"])


def specs(names: st.SearchStrategy[str], every: bool = False) -> st.SearchStrategy[TopicSpec]:
    """``every``: with all settings, as a cluster tells; else with some, as a file does."""
    config = st.fixed_dictionaries(CONFIGS) if every else st.fixed_dictionaries({}, optional=CONFIGS)
    return st.builds(TopicSpec, names, st.integers(1, 5), st.integers(1, 3), config, st.booleans())


WANTED = st.lists(specs(st.sampled_from(["a", "b", "c"])), unique_by=lambda spec: spec.name)
FOUND = st.lists(specs(NAMES, every=True), unique_by=lambda spec: spec.name).map(lambda ts: {t.name: t for t in ts})
ALLOWED = st.frozensets(st.sampled_from(Danger))

Model = dict[str, TopicSpec]
DEFAULTS = {
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "min.insync.replicas": "1",
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "max.message.bytes": "1048588",
}


def state(model: Model, brokers: int = 3) -> ClusterState:
    return ClusterState(brokers, frozenset(model), model)


def done(model: Model, change: TopicSpec | Change) -> Model:
    """What Kafka does; it refuses what the real one refuses."""
    if isinstance(change, TopicSpec):
        assert change.name not in model
        return model | {change.name: replace(change, config=DEFAULTS | dict(change.config))}
    topic = model[change.topic]
    assert change.setting != "replication"
    if change.setting == "partitions":
        assert int(change.wanted) > topic.partitions
        return model | {topic.name: replace(topic, partitions=int(change.wanted))}
    return model | {topic.name: replace(topic, config={**topic.config, change.setting: change.wanted})}


def steps(plan: TopicPlan, allow: Collection[Danger]) -> list[TopicSpec | Change]:
    allowed = plan.allowed(allow)
    return [*allowed.create, *allowed.changes]


def applied(model: Model, wanted: list[TopicSpec], allow: Collection[Danger], most: int | None = None) -> Model:
    for step in steps(plan_topics(wanted, state(model)), allow)[:most]:
        model = done(model, step)
    return model


def size(text: str) -> float:
    return math.inf if text == "-1" else int(text)


@given(WANTED, FOUND, ALLOWED)
def test_after_a_plan_was_applied_the_next_one_holds_only_what_was_refused(
    wanted: list[TopicSpec], found: Model, allow: frozenset[Danger]
) -> None:
    refused = plan_topics(wanted, state(found)).refused(allow)
    after = plan_topics(wanted, state(applied(found, wanted, allow)))
    assert after.create == ()
    assert set(after.changes) == set(refused)


@given(WANTED, FOUND)
def test_with_every_danger_accepted_only_the_impossible_is_left(wanted: list[TopicSpec], found: Model) -> None:
    after = plan_topics(wanted, state(applied(found, wanted, EVERY_DANGER)))
    for spec in wanted:
        before = found.get(spec.name, spec)
        left = {change.setting for change in after.changes if change.topic == spec.name}
        impossible = set[str]()
        impossible |= {"partitions"} if spec.partitions < before.partitions else set()
        impossible |= {"replication"} if spec.replication != before.replication else set()
        copies = int(spec.config.get("min.insync.replicas", "1"))
        if spec.name in found and copies > before.replication and before.config["min.insync.replicas"] != str(copies):
            impossible |= {"min.insync.replicas"}
        assert left == impossible


@given(WANTED, FOUND)
def test_without_flags_nothing_is_lost_and_nothing_reordered(wanted: list[TopicSpec], found: Model) -> None:
    after = applied(found, wanted, ())
    keyed = {spec.name for spec in wanted if spec.keyed}
    for name, before in found.items():
        assert after[name].partitions >= before.partitions
        assert after[name].partitions == before.partitions or name not in keyed
        for setting in ("retention.ms", "retention.bytes"):
            assert size(after[name].config[setting]) >= size(before.config[setting])
        assert after[name].config["cleanup.policy"] == before.config["cleanup.policy"]
        assert int(after[name].config["min.insync.replicas"]) >= int(before.config["min.insync.replicas"])


@given(WANTED, FOUND, ALLOWED)
def test_a_topic_never_wants_more_copies_in_sync_than_it_has(
    wanted: list[TopicSpec], found: Model, allow: frozenset[Danger]
) -> None:
    for name, topic in applied(found, wanted, allow).items():
        before = found.get(name)
        if before is not None and topic.config["min.insync.replicas"] != before.config["min.insync.replicas"]:
            assert int(topic.config["min.insync.replicas"]) <= topic.replication


@given(WANTED, FOUND)
def test_topics_that_nobody_declared_are_named_and_left_alone(wanted: list[TopicSpec], found: Model) -> None:
    plan = plan_topics(wanted, state(found))
    others = found.keys() - {spec.name for spec in wanted}
    assert set(plan.unmanaged) == others - {"__consumer_offsets"}
    after = applied(found, wanted, EVERY_DANGER)
    assert {name: after[name] for name in others} == {name: found[name] for name in others}
    assert after.keys() >= found.keys()


@given(WANTED, FOUND, ALLOWED, st.integers(0, 20))
def test_cut_off_anywhere_a_second_run_finishes(
    wanted: list[TopicSpec], found: Model, allow: frozenset[Danger], most: int
) -> None:
    half = applied(found, wanted, allow, most)
    assert applied(half, wanted, allow) == applied(found, wanted, allow)


@given(WANTED, st.integers(1, 3))
def test_on_an_empty_cluster_everything_is_created_as_large_as_it_can_be(wanted: list[TopicSpec], brokers: int) -> None:
    plan = plan_topics(wanted, ClusterState(brokers, frozenset(), {}), fit=True)
    assert [topic.name for topic in plan.create] == [spec.name for spec in wanted]
    assert [topic.replication for topic in plan.create] == [min(spec.replication, brokers) for spec in wanted]


BASE = TopicSpec("t", 6, 3, DEFAULTS | {"min.insync.replicas": "2"})


def only_change(wanted: TopicSpec, found: TopicSpec) -> Change:
    [change] = plan_topics([wanted], state({"t": found})).changes
    return change


def config(base: TopicSpec = BASE, **values: str) -> TopicSpec:
    return replace(base, config={**base.config, **{name.replace("_", "."): value for name, value in values.items()}})


@pytest.mark.parametrize(
    ("wanted", "found", "danger"),
    [
        (replace(BASE, partitions=7), BASE, Danger.REORDERING),
        (replace(BASE, partitions=7, keyed=False), BASE, None),
        (config(retention_ms="604799999"), BASE, Danger.SHORTER_RETENTION),
        (config(retention_ms="604800001"), BASE, None),
        (config(retention_ms="-1"), BASE, None),
        (BASE, config(retention_ms="-1"), Danger.SHORTER_RETENTION),
        (config(retention_bytes="1"), BASE, Danger.SHORTER_RETENTION),
        (BASE, config(retention_bytes="1"), None),
        (config(cleanup_policy="compact"), BASE, Danger.CLEANUP_POLICY),
        (config(cleanup_policy="delete"), config(cleanup_policy="compact,delete"), Danger.CLEANUP_POLICY),
        (config(min_insync_replicas="1"), BASE, Danger.FEWER_IN_SYNC),
        (config(min_insync_replicas="3"), BASE, None),
        (config(compression_type="gzip"), BASE, None),
        (config(max_message_bytes="1"), BASE, None),
    ],
)
def test_what_a_change_may_cost(wanted: TopicSpec, found: TopicSpec, danger: Danger | None) -> None:
    change = only_change(wanted, found)
    assert change.danger == danger
    assert change.is_allowed(()) == (danger is None)
    assert change.is_allowed(EVERY_DANGER)
    assert (change.refusal == "") == (danger is None)
    assert danger is None or change.refusal.endswith(f": needs {danger.flag}")


@pytest.mark.parametrize(
    ("wanted", "found", "way_out"),
    [
        (replace(BASE, partitions=5), BASE, "make a topic of another name"),
        (replace(BASE, partitions=5, keyed=False), BASE, "or declare 6 partitions"),
        (replace(BASE, replication=2), BASE, "kafka-reassign-partitions.sh"),
        (BASE, replace(BASE, replication=2), "kafka-reassign-partitions.sh"),
    ],
)
def test_the_impossible_names_a_way_out(wanted: TopicSpec, found: TopicSpec, way_out: str) -> None:
    change = only_change(wanted, found)
    assert not change.is_allowed(EVERY_DANGER)
    assert way_out in change.refusal


def test_more_copies_in_sync_than_there_are_would_stop_the_topic() -> None:
    changes = plan_topics([BASE], state({"t": config(replace(BASE, replication=1), min_insync_replicas="1")})).changes
    refusals: Mapping[str, str] = {change.setting: change.refusal for change in changes}
    assert refusals.keys() == {"replication", "min.insync.replicas"}
    assert "with 1 replicas the topic would take no record any more" in refusals["min.insync.replicas"]
    assert not [change for change in changes if change.is_allowed(EVERY_DANGER)]


def test_a_value_that_the_cluster_does_not_tell_may_be_any() -> None:
    found = replace(BASE, config={key: value for key, value in BASE.config.items() if key != "retention.ms"})
    change = only_change(BASE, found)
    assert (change.found, change.danger) == ("not set", Danger.SHORTER_RETENTION)


def test_only_the_named_topics() -> None:
    plan = plan_topics([BASE, replace(BASE, name="u")], state({"t": config(compression_type="gzip"), "x": BASE}))
    assert [topic.name for topic in plan.only({"u"}).create] == ["u"]
    assert plan.only({"u"}).changes == ()
    assert [change.topic for change in plan.only({"t"}).changes] == ["t"]
    assert plan.only({"t"}).create == ()
    assert plan.only({"t"}).unmanaged == ("x",)
    assert [spec.name for spec in plan.only({"t"}).wanted] == ["t"]
