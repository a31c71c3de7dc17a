"""The story of `sdp produce`, told with fakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Event
from time import monotonic

from pipelines.contracts.topics import TopicReport
from pipelines.flows.produce import CHUNK, Ports, Prepared, Progress, prepare, produce, with_schema
from pipelines.traffic.generate import Message, Plan, generate
from pipelines.traffic.mix import PRESETS

PLAN = Plan(5_000, 1, PRESETS["hostile"], 3_600_000, 1_700_000_000_000, schema_id=3)


class FakeSender:
    """Acknowledges on flush; refuses what it is told to refuse."""

    topic = "fake"
    gave_up = False

    def __init__(self, refused: int = 0, stop_after: int | None = None, stop: Event | None = None) -> None:
        self.accepted, self.steps, self.sent = 0, [], []  # type: ignore[var-annotated]
        self.delivered: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.refused, self.stop_after, self.stop = refused, stop_after, stop

    def send(self, messages: Sequence[Message]) -> None:
        self.sent.extend(messages)
        self.accepted += len(messages)
        self.steps.append("sent")
        if self.stop is not None and self.stop_after is not None and self.accepted >= self.stop_after:
            self.stop.set()

    def poll(self) -> None: ...

    def flush(self) -> None:
        self.steps.append("flushed")
        self.delivered[0] = self.accepted - self.refused
        if self.refused:
            self.failures["no room"] = self.refused


def test_everything_is_sent_in_order_then_flushed() -> None:
    sender, seen = FakeSender(), list[Progress]()
    produced = produce(PLAN, sender, 0, Event(), seen.append)
    assert sender.sent == list(generate(PLAN))
    assert sender.steps == ["sent"] * 3 + ["flushed"]
    assert (produced.acknowledged, produced.stopped) == (5_000, False)
    assert seen[-1] == Progress(accepted=5_000, acknowledged=5_000, failed=0)


def test_a_stop_counts_exactly_what_was_sent() -> None:
    stop = Event()
    produced = produce(PLAN, FakeSender(stop_after=1, stop=stop), 0, stop)
    assert (produced.expected.count, produced.acknowledged, produced.stopped) == (CHUNK, CHUNK, True)


def test_a_sender_that_gave_up_is_not_asked_again() -> None:
    sender = FakeSender()
    sender.gave_up = True
    produced = produce(PLAN, sender, 0, Event())
    assert (sender.steps, produced.stopped) == (["flushed"], True)


def test_failures_are_reported_with_their_reason() -> None:
    produced = produce(PLAN, FakeSender(refused=7), 0, Event())
    assert produced.failures == {"no room": 7}
    assert produced.acknowledged == 4_993
    assert produced.as_json()["acknowledged"] == 4_993


def test_rate_is_kept() -> None:
    plan = Plan(60, 1, {}, 1000, 1_700_000_000_000, schema_id=3)
    began = monotonic()
    sender = FakeSender()
    produce(plan, sender, 200, Event())
    assert monotonic() - began >= 60 / 200 - 0.01
    assert len(sender.steps) == 60 / 20 + 1


class FakeRegistry:
    def register(self, subject: str, avsc: str) -> int:
        assert subject == "api6-logs-value"
        assert "API6Log" in avsc
        return 41


def test_prepare_makes_topics_then_registers_every_version() -> None:
    topics = [TopicReport("t", created=True, partitions=1, replication=1)]
    prepared = prepare(Ports(lambda: topics, FakeRegistry(), "api6-logs-value"))
    assert prepared.topics == topics
    assert prepared.schema_ids[1] == 41


def test_the_plan_takes_the_id_of_the_version_it_writes() -> None:
    assert with_schema(PLAN, Prepared([], {1: 5, 2: 6})).schema_id == 5
