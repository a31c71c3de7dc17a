"""What must change on a cluster so that its topics are as declared, and what each change may cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pipelines.contracts.topics import CLEANUP, MIN_INSYNC, SPANS, Difference, TopicSpec, compare

PARTITIONS, REPLICATION = "partitions", "replication"
_INTERNAL = "__"
"""Begins the names of Kafka's own topics (``__consumer_offsets``)."""


class Danger(StrEnum):
    """What a change may cost, and the end of the flag that allows it: ``--allow-reordering``."""

    REORDERING = "reordering"
    SHORTER_RETENTION = "shorter-retention"
    CLEANUP_POLICY = "cleanup-policy"
    FEWER_IN_SYNC = "fewer-in-sync"

    @property
    def flag(self) -> str:
        return f"--allow-{self.value}"


COSTS = {
    Danger.REORDERING: "records of one key go to another partition than before, so their order is lost",
    Danger.SHORTER_RETENTION: "records that are there now are deleted sooner",
    Danger.CLEANUP_POLICY: "records are deleted that the policy in force keeps",
    Danger.FEWER_IN_SYNC: "acknowledged records are on fewer brokers than now",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One setting of a topic that exists, to be changed.

    ``danger``: what it may cost, None for nothing. ``way_out``: it can't be done by us, and how else; else empty.
    """

    topic: str
    setting: str
    found: str
    wanted: str
    danger: Danger | None = None
    way_out: str = ""

    def is_allowed(self, allow: Collection[Danger]) -> bool:
        """Whether it is done when these dangers are accepted."""
        return not self.way_out and (self.danger is None or self.danger in allow)

    @property
    def refusal(self) -> str:
        """Why it isn't done unless it is allowed; empty for a change without danger."""
        if self.way_out or self.danger is None:
            return self.way_out
        return f"{COSTS[self.danger]}: needs {self.danger.flag}"


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What differs between the topics as ``wanted`` and those of a cluster.

    ``unmanaged``: topics of the cluster that nobody declared. They are named, and no more.
    """

    wanted: tuple[TopicSpec, ...]
    create: tuple[TopicSpec, ...] = ()
    changes: tuple[Change, ...] = ()
    unmanaged: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.create and not self.changes

    def only(self, names: Collection[str]) -> TopicPlan:
        """The part about these topics."""
        return replace(
            self,
            wanted=tuple(spec for spec in self.wanted if spec.name in names),
            create=tuple(spec for spec in self.create if spec.name in names),
            changes=tuple(change for change in self.changes if change.topic in names),
        )

    def allowed(self, allow: Collection[Danger] = ()) -> TopicPlan:
        """The part that may be done when these dangers are accepted."""
        return replace(self, changes=tuple(change for change in self.changes if change.is_allowed(allow)))

    def refused(self, allow: Collection[Danger] = ()) -> tuple[Change, ...]:
        """The changes that may not."""
        return tuple(change for change in self.changes if not change.is_allowed(allow))

    def still(self, done: TopicPlan) -> TopicPlan:
        """The part that another plan has too: what should have gone and is there."""
        names = {spec.name for spec in done.create}
        settings = {(change.topic, change.setting) for change in done.changes}
        return replace(
            self,
            create=tuple(spec for spec in self.create if spec.name in names),
            changes=tuple(c for c in self.changes if c.topic in names or (c.topic, c.setting) in settings),
        )


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What a cluster says of itself: its size, the names of all topics, and those that were asked for, as they are."""

    brokers: int
    names: frozenset[str]
    topics: Mapping[str, TopicSpec]


def plan_topics(wanted: Iterable[TopicSpec], state: ClusterState, fit: bool = False) -> TopicPlan:
    """Hold the topics as wanted against those of a cluster. ``fit``: lower replication to the brokers it has."""
    specs = tuple(spec.fitted(state.brokers) if fit else spec for spec in wanted)
    found = state.topics
    return TopicPlan(
        wanted=specs,
        create=tuple(spec for spec in specs if spec.name not in found),
        changes=tuple(c for spec in specs if spec.name in found for c in _changes(spec, found[spec.name])),
        unmanaged=tuple(sorted(n for n in state.names - {s.name for s in specs} if not n.startswith(_INTERNAL))),
    )


def _changes(wanted: TopicSpec, found: TopicSpec) -> Iterable[Change]:
    for difference in compare(wanted, found):
        plain = Change(wanted.name, difference.setting, difference.found, difference.wanted)
        yield replace(plain, danger=_danger(difference, wanted), way_out=_way_out(difference, found))


def _danger(difference: Difference, topic: TopicSpec) -> Danger | None:
    setting, wanted, found = difference.setting, difference.wanted, difference.found
    if setting == CLEANUP:
        return Danger.CLEANUP_POLICY
    if setting == PARTITIONS and topic.keyed:
        return Danger.REORDERING
    if setting in SPANS and _span(wanted) < _span(found):
        return Danger.SHORTER_RETENTION
    if setting == MIN_INSYNC and _span(wanted) < _span(found):
        return Danger.FEWER_IN_SYNC
    return None


def _way_out(difference: Difference, topic: TopicSpec) -> str:
    """How to do what a running cluster can't, or what would make a topic refuse every record."""
    if difference.setting == PARTITIONS and int(difference.wanted) < topic.partitions:
        return (
            "Kafka can't take partitions away: make a topic of another name, copy the records and move producers and "
            f"readers, or declare {topic.partitions} partitions"
        )
    if difference.setting == REPLICATION:
        return "replicas are moved by kafka-reassign-partitions.sh; see docs/topics.md"
    if difference.setting == MIN_INSYNC and int(difference.wanted) > topic.replication:
        return f"with {topic.replication} replicas the topic would take no record any more: add replicas first"
    return ""


def _span(text: str) -> float:
    """A number of which -1 is the largest; what can't be read may be anything, so it counts as large."""
    return int(text) if text.isdecimal() else math.inf
