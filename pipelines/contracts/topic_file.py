"""``conf/topics.yaml``: every topic of the platform, with its layer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pipelines import settings as settings_module
from pipelines.contracts.topics import RETENTION_MS, TopicSpec, flaws
from pipelines.errors import InvalidSetting
from pipelines.settings import KafkaSettings

DAY_MS = 86_400_000
_DAYS = {"d": 1, "y": 365}


def declared_topics(kafka: KafkaSettings) -> list[TopicSpec]:
    """Every topic of the file, in its order; the jobs' own under the names that the settings give them.

    Raises InvalidSetting with everything that is wrong with the file.
    """
    parsed = _read()
    specs = [topic.spec(parsed, kafka) for topic in parsed.topics]
    _refuse([f"{spec.name}: {text}" for spec in specs for text in flaws(spec)])
    _refuse(
        [f"{name}: there are two topics of this name" for name, n in Counter(s.name for s in specs).items() if n > 1]
    )
    return specs


def wanted_topics(kafka: KafkaSettings) -> list[TopicSpec]:
    """The topics without which the jobs can't start: those that have their name from the settings."""
    own = {kafka.topic, kafka.dlq_topic}
    return [spec for spec in declared_topics(kafka) if spec.name in own]


def _span_ms(text: object) -> int:
    match = re.fullmatch(r"([1-9]\d{0,4})([dy])", str(text))
    if match is None:
        raise ValueError(f"expected days or years, such as 7d or 2y, not {text!r}")
    return int(match[1]) * _DAYS[match[2]] * DAY_MS


Layer = Literal["raw", "bronze", "silver", "gold"]
Span = Annotated[int, BeforeValidator(_span_ms)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$", max_length=200)]
"""Lower case, with dots or hyphens between words: Kafka takes ``a.b`` and ``a_b`` for one in the names of metrics."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Defaults(_Part):
    replication: int = Field(ge=1)
    config: dict[str, str] = {}


class _Topic(_Part):
    name: Name | None = None
    setting: Literal["topic", "dlq_topic"] | None = None
    layer: Layer
    partitions: int = Field(ge=1)
    keyed: bool = True
    replication: int | None = Field(None, ge=1)
    config: dict[str, str] = {}

    @model_validator(mode="after")
    def _named_as_its_layer(self) -> Self:
        if (self.name is None) == (self.setting is None):
            raise ValueError("a topic has either a name or a setting that holds it")
        first = (self.name or "").partition("-")[0]
        if first in get_args(Layer) and first != self.layer:
            raise ValueError(f"{self.name} is a name for the layer {first}, not {self.layer}")
        return self

    def spec(self, file: _TopicFile, kafka: KafkaSettings) -> TopicSpec:
        name = self.name or getattr(kafka, str(self.setting))
        config = {**file.defaults.config, RETENTION_MS: str(file.layers[self.layer]), **self.config}
        return TopicSpec(name, self.partitions, self.replication or file.defaults.replication, config, self.keyed)


class _TopicFile(_Part):
    layers: dict[Layer, Span]
    defaults: _Defaults
    topics: list[_Topic]

    @model_validator(mode="after")
    def _every_layer_lasts(self) -> Self:
        if missing := {topic.layer for topic in self.topics} - self.layers.keys():
            raise ValueError(f"layers: {', '.join(sorted(missing))} has no retention")
        return self


def _read() -> _TopicFile:
    path = settings_module.ROOT / "conf" / "topics.yaml"
    try:
        return _TopicFile.model_validate(settings_module.read_yaml(path))
    except ValidationError as error:
        _refuse(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise


def _refuse(problems: Iterable[str]) -> None:
    if found := list(problems):
        raise InvalidSetting(f"{settings_module.ROOT / 'conf' / 'topics.yaml'}: {'; '.join(found)}")
