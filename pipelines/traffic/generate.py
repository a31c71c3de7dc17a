"""The generator: a plan in, messages out, always the same for the same plan."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from pipelines.contracts.wire import frame
from pipelines.errors import UsageError
from pipelines.traffic.clock import Timeline, timeline
from pipelines.traffic.corrupt import DAY_MS, HOUR_MS, YEAR_9999_MS, Case, corrupt
from pipelines.traffic.defects import Defect, Outcome
from pipelines.traffic.encoding import LogRecord, log_bytes, long_bytes, varint_bytes
from pipelines.traffic.mix import MILLION, Mix
from pipelines.traffic.population import Population, population

SCHEMA_VERSION = 1
"""Version of the subject whose ten fields the generator writes."""

BLOCK = 10_000
"""Records that are drawn together. A block has a generator of its own, so blocks don't depend on one another."""

RECENT = 500
"""A duplicate repeats one of so many records before it."""

DEFECT_HEADER = "traffic-defect"
"""Kafka header that names the defect, so that a test can tell what a row once was. Sound records have no headers."""

Headers = tuple[tuple[str, bytes], ...]


class Message(NamedTuple):
    """One Kafka message. ``timestamp_ms`` is its CreateTime; ``defect`` is None for a sound record."""

    key: bytes
    value: bytes | None
    timestamp_ms: int
    headers: Headers
    defect: Defect | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to generate. Event times fill the ``span_ms`` before ``until_ms`` (Unix time)."""

    count: int
    seed: int
    mix: Mix
    span_ms: int
    until_ms: int
    schema_id: int

    def __post_init__(self) -> None:
        if self.count < 0 or self.span_ms < 0:
            raise UsageError("--count and --span must not be negative")
        if self.until_ms - self.span_ms < DAY_MS or self.until_ms > YEAR_9999_MS:
            raise UsageError("event times must lie between 2 January 1970 and the year 9999: check --until and --span")


def generate(plan: Plan) -> Iterator[Message]:
    """All messages of the plan, in the order in which they are to be sent."""
    for block in blocks(plan):
        yield from block


def blocks(plan: Plan) -> Iterator[list[Message]]:
    """All messages of the plan in lists of about BLOCK."""
    people = population(plan.seed)
    times = timeline(max(plan.count, 1), plan.span_ms, plan.until_ms)
    number = max(1, plan.count // BLOCK)
    bounds = [index * plan.count // number for index in range(number + 1)]
    for index in range(number):
        yield _Block(plan, people, times, bounds[index], bounds[index + 1]).messages()


class _Block:
    """Records ``start`` to ``end`` of a plan: all sound at first, then some get their defects."""

    def __init__(self, plan: Plan, people: Population, times: Timeline, start: int, end: int) -> None:
        self.plan, self.people, self.start, self.end = plan, people, start, end
        self.rng = Random(f"{plan.seed}:{plan.count}:{plan.span_ms}:{plan.until_ms}:{start}")
        self.draws = [self.rng.getrandbits(64) for _ in range(start, end)]
        self.event_ms = [times.at(start + i) - ((bits >> 45) & 511) for i, bits in enumerate(self.draws)]

    def messages(self) -> list[Message]:
        ids = self.rng.randbytes(16 * len(self.draws)).hex()
        messages = sound_messages(self.people, self.plan.schema_id, self.draws, self.event_ms, ids)
        defects = self._places()
        sound = [place for place in range(len(messages)) if place not in defects]
        for place, defect in defects.items():
            headers = ((DEFECT_HEADER, defect.encode()),)
            if defect.outcome is Outcome.DUPLICATE:
                first = self._recent(sound, place)
                message = self._repeated(messages, first, place, defect)
            else:
                message = messages[place]._replace(value=self._corrupted(messages[place], place, defect))
            messages[place] = message._replace(headers=headers, defect=defect)
        return messages

    def _places(self) -> dict[int, Defect]:
        """Place in the block → defect. As many as the shares say over the whole plan; never the first place."""
        due = [
            d
            for d, ppm in self.plan.mix.items()
            for _ in range(self.end * ppm // MILLION - self.start * ppm // MILLION)
        ]
        places = sorted(self.rng.sample(range(1, len(self.draws)), len(due)))
        self.rng.shuffle(due)
        return dict(zip(places, due, strict=True))

    def _record(self, place: int, key: bytes) -> LogRecord:
        return self.people.record(self.draws[place], self.event_ms[place], key.decode())

    def _corrupted(self, message: Message, place: int, defect: Defect) -> bytes | None:
        record = self._record(place, message.key)
        return corrupt(defect, Case(record, message.timestamp_ms, self.plan.schema_id, self.rng))

    def _recent(self, sound: list[int], place: int) -> int:
        """The place of a sound record not long before."""
        before = bisect_left(sound, place)
        return sound[self.rng.randrange(max(0, before - RECENT), before)]

    def _repeated(self, messages: list[Message], first: int, place: int, defect: Defect) -> Message:
        """The first message again: same key and event time, sent when it's this place's turn, an hour later at most."""
        original = messages[first]
        sent_ms = min(messages[place].timestamp_ms, original.timestamp_ms + HOUR_MS)
        again = original._replace(timestamp_ms=max(sent_ms, original.timestamp_ms + 1))
        if defect is Defect.DUPLICATE_SAME_CONTENT:
            return again
        record = self._record(first, original.key)
        record["response_time_ms"] += self.rng.randrange(1, 500)
        record["payload_size"] += self.rng.randrange(0, 500)
        return again._replace(value=frame(self.plan.schema_id, log_bytes(record)))


def sound_messages(
    people: Population, schema_id: int, draws: Sequence[int], event_ms: Sequence[int], ids: str
) -> list[Message]:
    """The sound message of each draw. This loop is the speed of the generator: lookups and one join a record.

    ``ids``: 32 hex digits a record; they become request ids in the form of a version 4 UUID.
    """
    header, high_bytes = frame(schema_id, b""), _HighBytes()
    routes, client_bytes = people.routes, people.client_bytes
    messages = []
    for index, bits in enumerate(draws):
        at = 32 * index
        key = (
            f"{ids[at : at + 8]}-{ids[at + 8 : at + 12]}-4{ids[at + 13 : at + 16]}"
            f"-{_VARIANT[ids[at + 16]]}{ids[at + 17 : at + 20]}-{ids[at + 20 : at + 32]}"
        ).encode()
        pool = routes[bits & 4095]
        answer = (bits >> 21) & 1023
        time = event_ms[index] << 1
        value = b"".join(
            (
                header,
                _LOW_BYTES[time & 16_383],
                high_bytes[time >> 14],
                _KEY_LENGTH,
                key,
                pool.path_bytes[(bits >> 12) & 511],
                pool.head_bytes[answer],
                client_bytes[(bits >> 31) & 16_383],
                pool.tail_bytes[answer],
            )
        )
        messages.append(Message(key, value, event_ms[index] + 5 + ((bits >> 54) & 255), (), None))
    return messages


class _HighBytes(dict[int, bytes]):
    """Varint of the high bits of a time; they change every 8 seconds, so few are ever computed."""

    def __missing__(self, high: int) -> bytes:
        self[high] = varint_bytes(high)
        return self[high]


_LOW_BYTES = [bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(16_384)]
"""The first two bytes of a varint that has more."""

_KEY_LENGTH = long_bytes(36)
_VARIANT = {digit: "89ab"[index % 4] for index, digit in enumerate("0123456789abcdef")}
