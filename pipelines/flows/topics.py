"""Topics as code: hold ``conf/topics.yaml`` against the cluster, and change what may be changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.contracts.topic_plan import Danger, TopicPlan
from pipelines.contracts.topics import TopicSpec
from pipelines.errors import UsageError


class Admin(Protocol):
    """The administrator of a cluster; sdk.topics has the real one. Every call raises BrokerUnavailable."""

    def plan(self, topics: Iterable[TopicSpec], fit: bool = False) -> TopicPlan: ...
    def apply(
        self, plan: TopicPlan, allow: Collection[Danger] = (), told: Callable[[str], None] = lambda _: None
    ) -> TopicPlan: ...


@dataclass(frozen=True)
class Topics:
    """The declared topics and the cluster where they must be."""

    declared: Sequence[TopicSpec]
    admin: Admin

    def plan(self, names: Collection[str] = ()) -> TopicPlan:
        """How the cluster differs, replication lowered to its size; of these topics only, if any are named.

        Raises UsageError for a name that nobody declared.
        """
        declared = {topic.name for topic in self.declared}
        if unknown := sorted(set(names) - declared):
            raise UsageError(
                f"conf/topics.yaml has no topic {', '.join(unknown)}: it has {', '.join(sorted(declared))}"
            )
        return self.admin.plan(self.declared, fit=True).only(names or declared)

    def apply(
        self, plan: TopicPlan, allow: Collection[Danger] = (), told: Callable[[str], None] = lambda _: None
    ) -> TopicPlan:
        """Make what is allowed of the plan; returns what still differs."""
        return self.admin.apply(plan, allow, told)
