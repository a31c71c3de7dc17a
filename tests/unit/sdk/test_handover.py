"""Nothing waits for the producer, nothing is raised, nothing is lost without being counted and said."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest

from pipelines.errors import BrokerUnavailable
from pipelines.settings import ROOT
from sdk.handover import QUEUE_FULL, Handover, Losses
from tests.unit.sdk.capturing import Sink

AWAY = BrokerUnavailable("Kafka", "broker:9092", "it sleeps")


class Stuck:
    """A producer that does not return before it is told to."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.records: list[Mapping[str, Any]] = []

    def send(self, record: Mapping[str, Any]) -> None:
        self.entered.set()
        assert self.go_on.wait(30)
        self.records.append(record)


def test_records_arrive_in_order() -> None:
    sink = Sink()
    handover = Handover(sink, limit=10_000)
    for number in range(5_000):
        handover.offer(partial(dict, n=number))
    assert handover.close(30)
    assert [r["n"] for r in sink.records] == list(range(5_000))
    assert handover.losses.counts == {}


def test_a_producer_that_blocks_makes_nobody_wait_and_the_loss_is_counted() -> None:
    sink = Stuck()
    handover = Handover(sink, limit=3)
    handover.offer(partial(dict, n=0))
    assert sink.entered.wait(30)
    for number in range(1, 10):
        handover.offer(partial(dict, n=number))
    assert handover.waiting == 3
    assert handover.losses.counts == {QUEUE_FULL: 6}
    assert not handover.drain(0.01)
    sink.go_on.set()
    assert handover.close(30)
    assert [r["n"] for r in sink.records] == [0, 1, 2, 3]


def test_errors_of_the_producer_are_counted_and_the_next_record_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    sink.refuse = [AWAY, RuntimeError("odd")]
    handover = Handover(sink, limit=10)
    for number in range(5):
        handover.offer(partial(dict, n=number))
    assert handover.close(30)
    assert [r["n"] for r in sink.records] == [2, 3, 4]
    assert handover.losses.counts == {"BrokerUnavailable": 1, "RuntimeError": 1}


def test_what_can_not_be_made_a_record_is_counted() -> None:
    sink = Sink()
    handover = Handover(sink, limit=10)
    handover.offer(lambda: {"n": 1 // 0})
    handover.offer(partial(dict, n=2))
    assert handover.close(30)
    assert [r["n"] for r in sink.records] == [2]
    assert handover.losses.counts == {"not_built": 1}


def test_losses_are_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    losses = Losses(every_s=60, now=lambda: now[0])
    losses.add("a", AWAY)
    for _ in range(100):
        losses.add("a", AWAY)
    now[0] = 59.0
    losses.add("b")
    assert [r.message for r in caplog.records] == [f"1 API6 log records were not sent: a 1; the last: {AWAY}"]
    now[0] = 60.0
    losses.add("b", RuntimeError("odd"))
    assert caplog.records[1].message == "102 API6 log records were not sent: a 100, b 2; the last: odd"
    losses.add("a")
    losses.say()
    losses.say()
    assert caplog.records[2].message.startswith("1 API6 log records were not sent: a 1")
    assert len(caplog.records) == 3
    assert losses.counts == {"a": 102, "b": 2}


def test_the_thread_ends_with_close_and_a_later_record_starts_another() -> None:
    sink = Sink()
    handover = Handover(sink, limit=10)
    assert handover.close()  # there was nothing yet
    handover.offer(partial(dict, n=1))
    assert handover.drain()
    [thread] = [t for t in threading.enumerate() if t.ident == sink.thread]
    assert handover.close()
    thread.join(30)
    assert not thread.is_alive()
    handover.offer(partial(dict, n=2))
    assert handover.close()
    assert [r["n"] for r in sink.records] == [1, 2]


def test_many_threads_lose_nothing() -> None:
    sink = Sink()
    handover = Handover(sink, limit=100_000)

    def offer(name: int) -> None:
        for number in range(1_000):
            handover.offer(partial(dict, thread=name, n=number))

    threads = [threading.Thread(target=offer, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handover.close(30)
    assert len(sink.records) == 8_000
    for name in range(8):
        assert [r["n"] for r in sink.records if r["thread"] == name] == list(range(1_000))


def test_a_thread_that_dies_has_a_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    dying: list[threading.Thread] = []

    class Deadly(Losses):
        def add(self, reason: str, error: BaseException | None = None) -> None:
            dying.append(threading.current_thread())
            raise SystemExit

    sink = Sink()
    sink.refuse = [RuntimeError("odd"), RuntimeError("odd again")]
    handover = Handover(sink, limit=10, losses=Deadly())
    for number in range(4):
        handover.offer(partial(dict, n=number))
    assert handover.close(30)
    assert [r["n"] for r in sink.records] == [2, 3]
    for thread in dying:
        thread.join(30)


def test_what_ends_a_thread_elsewhere_ends_none_of_ours() -> None:
    class Leaving(Sink):
        def send(self, record: Mapping[str, Any]) -> None:
            super().send(record)
            raise SystemExit

    sink = Leaving()
    handover = Handover(sink, limit=10)
    for number in range(3):
        handover.offer(partial(dict, n=number))
    assert handover.close(30)
    assert [r["n"] for r in sink.records] == [0, 1, 2]
    assert handover.losses.counts == {"SystemExit": 3}


def test_a_record_that_falls_into_close_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(SimpleQueue[Any]):
        """Does something just before the next item is in it."""

        first: Callable[[], object] | None = None

        def put(self, item: Any, *_: Any) -> None:
            first, self.first = self.first, None
            if first is not None:
                first()
            super().put(item)

    monkeypatch.setattr("sdk.handover.SimpleQueue", Late)
    sink = Sink()
    handover = Handover(sink, limit=10)
    handover.offer(partial(dict, n=1))
    handover._queue.first = handover.close  # type: ignore[attr-defined]
    handover.offer(partial(dict, n=2))
    assert handover.drain(30)
    assert [r["n"] for r in sink.records] == [1, 2]


def test_log_handlers_of_the_service_that_raise_are_no_matter_of_a_request() -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise LookupError

    logger, handler = logging.getLogger("sdk.handover"), Raises()
    logger.addHandler(handler)
    try:
        losses = Losses(every_s=0)
        losses.add("a")
        losses.say()
    finally:
        logger.removeHandler(handler)
    assert losses.counts == {"a": 1}


def test_records_wait_while_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[threading.Thread] = []

    def fails(thread: threading.Thread) -> None:
        starts.append(thread)
        raise RuntimeError("can't start new thread")

    sink = Sink()
    handover = Handover(sink, limit=100)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", fails)
        for number in range(50):
            handover.offer(partial(dict, n=number))
        assert len(starts) == 1  # not one for each record
        limited.setattr("sdk.handover.START_AGAIN_S", 0.0)
        assert not handover.close(30)
        handover.offer(partial(dict, n=50))
        assert len(starts) == 3
    handover.offer(partial(dict, n=51))
    assert handover.close(30)
    assert [r["n"] for r in sink.records] == list(range(52))
    assert [r.message.split(",")[0] for r in caplog.records] == ["API6 log records wait"]


LIMITED = """
import resource, threading, time
from functools import partial
from tests.unit.sdk.capturing import Sink
from sdk.handover import Handover
threading.stack_size(512 << 20)
pages = int(open("/proc/self/statm").read().split()[0])
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), hard))
sink, begun = Sink(), time.monotonic()
handover = Handover(sink, limit=3)
for number in range(5):
    handover.offer(partial(dict, n=number))
assert handover.losses.counts == {"no_thread": 2}, handover.losses.counts
assert not handover.drain(30)
assert time.monotonic() - begun < 10  # there is nobody to wait for
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
assert handover.drain(30)
assert [r["n"] for r in sink.records] == [0, 1, 2], sink.records
"""

FORKING = """
import os, sys
from functools import partial
from tests.unit.sdk.capturing import Sink
from sdk.handover import Handover
sink = Sink()
handover = Handover(sink, limit=10)
handover.offer(partial(dict, n=1))
assert handover.drain(30)
child = os.fork()
handover.offer(partial(dict, n=2))
assert handover.drain(30)
expected = [1, 2]  # the child has the parent's list, and a thread of its own
assert [r["n"] for r in sink.records] == expected, sink.records
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    os._exit(0)
"""

ENDING = """
import logging
from functools import partial
from tests.unit.sdk.capturing import Sink
from sdk.handover import Handover
class Printing(Sink):
    def send(self, record):
        print(record["n"], flush=True)
        return super().send(record)
handover = Handover(Printing(), limit=1000)
for number in range(100):
    handover.offer(partial(dict, n=number))
"""

IN_HAND = """
import threading, time
from functools import partial
from sdk.handover import Handover
begun = threading.Event()
class Slow:
    def send(self, record):
        begun.set()
        time.sleep(0.2)
        print(record["n"], flush=True)
handover = Handover(Slow(), limit=10)
handover.offer(partial(dict, n=7))
assert begun.wait(30)
"""

STUCK = """
import atexit, time
ends = []
atexit.register(lambda: print(time.monotonic() - ends[0]))  # runs last
import logging, threading
import sdk.handover
from sdk.capture import Capture
from sdk.log_handler import Api6LogHandler
sdk.handover.EXIT_DRAIN_S = 0.5
class Stuck:
    def send(self, record):
        threading.Event().wait()
capture, logger = Capture(Stuck()), logging.getLogger("shop")
handlers = [Api6LogHandler(capture) for _ in range(4)]
logger.addHandler(handlers[0])
logger.setLevel("INFO")
facts = {"api_endpoint": "/", "http_method": "GET", "status_code": 200, "response_time_ms": 1}
for _ in range(3):
    logger.info("done", extra=facts)
ends.append(time.monotonic())
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_child_of_fork_has_a_thread_of_its_own() -> None:
    run(FORKING)


def test_a_process_that_ends_hands_over_what_waits() -> None:
    assert run(ENDING).split() == [str(number) for number in range(100)]


def test_a_process_that_ends_waits_for_the_record_that_is_being_sent() -> None:
    assert run(IN_HAND) == "7\n"


def test_a_process_that_ends_waits_once_whatever_log_handlers_it_has() -> None:
    assert 0.4 < float(run(STUCK)) < 1.5


def test_a_process_that_may_have_no_more_threads() -> None:
    run(LIMITED)


def test_its_log_lines_come_from_the_sdk(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Losses().add("a")
    assert [r.name for r in caplog.records] == ["sdk.handover"]
