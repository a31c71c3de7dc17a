"""Topics as they must be, what may be said about one, and how a topic that exists compares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

MIN_INSYNC = "min.insync.replicas"
RETENTION_MS = "retention.ms"
COMPRESSION = "compression.type"
CLEANUP = "cleanup.policy"

SPANS = frozenset({RETENTION_MS, "retention.bytes", "delete.retention.ms", "min.compaction.lag.ms"})
"""Whole numbers of which a smaller one lets records go that would have stayed; -1 is without limit."""

_OTHER_NUMBERS = frozenset(
    {MIN_INSYNC, "max.message.bytes", "segment.bytes", "segment.ms", "segment.index.bytes", "index.interval.bytes"}
)
_WORDS = {
    COMPRESSION: frozenset({"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"}),
    CLEANUP: frozenset({"delete", "compact"}),
}
KNOWN = SPANS | _OTHER_NUMBERS | _WORDS.keys()
"""Settings of a topic that may be declared: those of which we know what a change of them does to records."""

_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_NUMBER = re.compile(r"-1|\d{1,18}")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it must be, or as it is. ``config``: Kafka's own names and texts.

    ``keyed``: readers rely on the order of records with one key, so its partitions must not become more.
    """

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)
    keyed: bool = True

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
    return tuple(Difference(key, *pair) for key, pair in pairs.items() if not is_same(key, *pair))


def is_same(setting: str, one: str, other: str) -> bool:
    """Whether two texts mean the same to Kafka."""
    return _plain(setting, one) == _plain(setting, other)


def flaws(spec: TopicSpec) -> list[str]:
    """What can't be said of a topic; nothing when all is well."""
    found = [] if _NAME.fullmatch(spec.name) else [f"{spec.name!r} is no name for a topic"]
    found += [f"{n} must be at least 1" for n in ("partitions", "replication") if getattr(spec, n) < 1]
    found += [text for item in sorted(spec.config.items()) if (text := _flaw(*item))]
    copies = spec.config.get(MIN_INSYNC, "1")
    if copies.isdecimal() and not 1 <= int(copies) <= max(spec.replication, 1):
        found.append(f"{MIN_INSYNC}: {copies} is not from 1 to the replication, {spec.replication}")
    return found


def _flaw(setting: str, value: str) -> str | None:
    if setting not in KNOWN:
        return f"{setting}: not one of {', '.join(sorted(KNOWN))}"
    if setting in _WORDS:
        words = value.split(",") if setting == CLEANUP else [value]
        unknown = set(words) - _WORDS[setting]
        return f"{setting}: {value!r} is none of {', '.join(sorted(_WORDS[setting]))}" if unknown else None
    if setting in SPANS:
        return None if _NUMBER.fullmatch(value) else f"{setting}: {value!r} is no whole number, and not -1"
    return None if value.isdecimal() else f"{setting}: {value!r} is no whole number"


def _plain(setting: str, value: str) -> object:
    """The value as Kafka understands it, so that two ways to write one are not two values."""
    if setting == CLEANUP:
        return {word.strip() for word in value.split(",")}
    return int(value) if _NUMBER.fullmatch(value) else value
