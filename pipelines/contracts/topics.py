"""Topics as conf/topics.yaml wants them, and how a topic that exists compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines import settings as settings_module
from pipelines.errors import InvalidSetting
from pipelines.settings import KafkaSettings

MIN_INSYNC = "min.insync.replicas"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it must be. ``config``: Kafka's own names and texts."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)

    def fitted(self, brokers: int) -> TopicSpec:
        """The same topic on that many brokers: replication and min.insync.replicas lowered to what they can hold."""
        replication = min(self.replication, brokers)
        config = dict(self.config)
        if MIN_INSYNC in config:
            config[MIN_INSYNC] = str(min(int(config[MIN_INSYNC]), replication))
        return replace(self, replication=replication, config=config)


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of an existing topic that is not as wanted."""

    setting: str
    wanted: str
    found: str


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What came of one topic: created now, or there already with these differences (never changed by us)."""

    name: str
    created: bool
    partitions: int
    replication: int
    differences: tuple[Difference, ...] = ()


def compare(wanted: TopicSpec, found: TopicSpec) -> tuple[Difference, ...]:
    """Settings named by ``wanted`` whose value in ``found`` is another; settings it does not name are ignored."""
    pairs = {
        "partitions": (str(wanted.partitions), str(found.partitions)),
        "replication": (str(wanted.replication), str(found.replication)),
    } | {key: (value, found.config.get(key, "not set")) for key, value in sorted(wanted.config.items())}
    return tuple(Difference(key, *pair) for key, pair in pairs.items() if pair[0] != pair[1])


def wanted_topics(kafka: KafkaSettings) -> list[TopicSpec]:
    """The topics of conf/topics.yaml under the names that the settings give them. Raises InvalidSetting."""
    path = settings_module.ROOT / "conf" / "topics.yaml"
    try:
        parsed = _TopicFile.model_validate(settings_module.read_yaml(path))
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidSetting(f"{path}: {'; '.join(problems)}") from None
    return [TopicSpec(getattr(kafka, t.setting), t.partitions, t.replication, t.config) for t in parsed.topics]


class _Topic(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    setting: Literal["topic", "dlq_topic"]
    partitions: int = Field(ge=1)
    replication: int = Field(ge=1)
    config: dict[str, str] = {}


class _TopicFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    topics: list[_Topic]
