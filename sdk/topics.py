"""Topics as code: say how a topic must be, see how the cluster differs, and change what may be changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Protocol, Self

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_exponential_jitter

from pipelines.contracts.topic_plan import PARTITIONS, Change, ClusterState, Danger, TopicPlan, plan_topics
from pipelines.contracts.topics import COMPRESSION, MIN_INSYNC, RETENTION_MS, TopicReport, TopicSpec, compare, flaws
from pipelines.errors import BrokerUnavailable, InvalidSetting
from sdk.admin_connection import PATIENCE_S, AdminConnection
from sdk.topic_cluster import TopicCluster

__all__ = ["Danger", "TopicAdmin", "TopicConfig", "TopicPlan", "TopicSpec"]

WEEK_MS = 604_800_000


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """A topic as a service wants it. Raises InvalidSetting with everything that is wrong.

    ``retention_ms``: -1 keeps records for ever. ``keyed``: readers rely on the order of records with one key.
    ``config``: further settings, in Kafka's names and texts.
    """

    name: str
    num_partitions: int
    replication_factor: int = 3
    retention_ms: int = WEEK_MS
    compression_type: str = "producer"
    min_insync_replicas: int = 2
    keyed: bool = True
    config: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if found := _mistyped(self) or flaws(self.spec()):
            raise InvalidSetting(f"topic {self.name}: {'; '.join(found)}")

    def spec(self) -> TopicSpec:
        """The same in the words of a plan."""
        named = {
            RETENTION_MS: str(self.retention_ms),
            COMPRESSION: self.compression_type,
            MIN_INSYNC: str(self.min_insync_replicas),
        }
        config = {**named, **self.config}
        return TopicSpec(self.name, self.num_partitions, self.replication_factor, config, self.keyed)


class Cluster(Protocol):
    """What an administrator needs of a cluster; sdk.topic_cluster has the real one."""

    address: str
    patience_s: float

    def read(self, names: Collection[str], complete: bool = False) -> ClusterState: ...
    def create(self, topic: TopicSpec) -> bool: ...
    def grow(self, topic: str, partitions: int) -> None: ...
    def configure(self, topic: str, config: Mapping[str, str]) -> None: ...


class TopicAdmin:
    """The topics of one cluster; none is ever deleted.

    ``options``: librdkafka's, such as ``security.protocol``; InvalidSetting if one can't be. Every call raises
    BrokerUnavailable when the cluster does not answer within ``patience_s`` seconds, and UsageError when it refuses.
    """

    def __init__(
        self, bootstrap_servers: str, options: Mapping[str, Any] | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        self._cluster: Cluster = TopicCluster(AdminConnection(bootstrap_servers, options or {}, patience_s))

    @classmethod
    def of(cls, cluster: Cluster) -> Self:
        """The administrator of a cluster to which there is a connection."""
        admin = cls.__new__(cls)
        admin._cluster = cluster
        return admin

    def topics(self) -> list[str]:
        """Names of all topics."""
        return sorted(self._cluster.read(()).names)

    def describe(self, name: str) -> TopicSpec | None:
        """A topic as it is, with every setting in force; None if there is no such one."""
        return self._cluster.read([name]).topics.get(name)

    def create_topic(self, topic: TopicConfig, fit: bool = False) -> bool:
        """Make a topic; True when this call made it. One that exists stays as it is: see ``plan``.

        ``fit``: where the cluster has fewer brokers than the topic wants copies, make fewer copies.
        """
        [report] = self.ensure([topic.spec()], fit)
        return report.created

    def ensure(self, topics: Iterable[TopicSpec], fit: bool = True) -> list[TopicReport]:
        """Make those topics that are missing; report, never change, those that differ. One report each, in order."""
        wanted = tuple(topics)
        names = [topic.name for topic in wanted]
        state = self._cluster.read(names)
        plan = plan_topics(wanted, state, fit)
        created = {topic.name for topic in plan.create if self._cluster.create(topic)}
        found = (self._cluster.read(names, complete=True) if plan.create else state).topics
        return [_report(topic, found[topic.name], topic.name in created) for topic in plan.wanted]

    def plan(self, topics: Iterable[TopicSpec | TopicConfig], fit: bool = False) -> TopicPlan:
        """How the cluster differs from the topics as wanted."""
        wanted = [topic.spec() if isinstance(topic, TopicConfig) else topic for topic in topics]
        return plan_topics(wanted, self._cluster.read([topic.name for topic in wanted]), fit)

    def apply(
        self, plan: TopicPlan, allow: Collection[Danger] = (), told: Callable[[str], None] = lambda _: None
    ) -> TopicPlan:
        """Make the changes that cost nothing and those of which the danger is allowed, and read back.

        ``told``: called with one line after each step. Returns what still differs, which is what was refused. Cut off
        at any point, a plan made anew has the rest.
        """
        done = plan.allowed(allow)
        ours = [topic for topic in done.create if self._create(topic, told)]
        for _, changes in groupby(done.changes, lambda change: change.topic):
            self._change(list(changes), told)
        left = self._read_back(replace(done, create=tuple(ours)))
        return replace(left, unmanaged=plan.unmanaged)

    def _create(self, topic: TopicSpec, told: Callable[[str], None]) -> bool:
        created = self._cluster.create(topic)
        told(f"{topic.name}: {'created' if created else 'somebody else created it meanwhile'}")
        return created

    def _change(self, changes: list[Change], told: Callable[[str], None]) -> None:
        """All changes of one topic: the settings in one step, then partitions."""
        topic = changes[0].topic
        settings = [change for change in changes if change.setting != PARTITIONS]
        if settings:
            self._cluster.configure(topic, {change.setting: change.wanted for change in settings})
            for change in settings:
                told(_made(change))
        for change in changes:
            if change.setting == PARTITIONS:
                self._cluster.grow(topic, int(change.wanted))
                told(_made(change))

    def _read_back(self, done: TopicPlan) -> TopicPlan:
        attempts = Retrying(
            retry=retry_if_result(lambda left: not left.still(done).is_empty),
            stop=stop_after_delay(self._cluster.patience_s),
            wait=wait_exponential_jitter(multiplier=0.1, max=2, jitter=0.1),
        )
        try:
            left: TopicPlan = attempts(self.plan, done.wanted)
        except RetryError as error:
            still = error.last_attempt.result().still(done)
            names = sorted({topic.name for topic in still.create} | {change.topic for change in still.changes})
            reason = f"changes of {', '.join(names)} were accepted and are not in force yet; make the plan again"
            raise BrokerUnavailable("Kafka", self._cluster.address, reason) from None
        return left


def _mistyped(topic: TopicConfig) -> list[str]:
    """What nobody can compare, because it is of another type."""
    numbers = ("num_partitions", "replication_factor", "retention_ms", "min_insync_replicas")
    values = [(name, getattr(topic, name)) for name in numbers]
    found = [f"{n}: {v!r} is no whole number" for n, v in values if not isinstance(v, int) or isinstance(v, bool)]
    texts: list[tuple[str, object]] = [("name", topic.name), ("compression_type", topic.compression_type)]
    if isinstance(topic.config, Mapping):
        texts += [(f"config {name!r}", name) for name in topic.config]
        texts += [(f"config {name!r}", value) for name, value in topic.config.items()]
    else:
        found.append(f"config: {topic.config!r} is no mapping")
    return found + [f"{name}: {text!r} is no text" for name, text in texts if not isinstance(text, str)]


def _made(change: Change) -> str:
    return f"{change.topic}: {change.setting} {change.found} → {change.wanted}"


def _report(wanted: TopicSpec, found: TopicSpec, created: bool) -> TopicReport:
    return TopicReport(wanted.name, created, found.partitions, found.replication, compare(wanted, found))
