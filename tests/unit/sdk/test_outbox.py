"""What an outbox promises, with a cluster in memory: nothing lost, nothing doubled, in order, never silent."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from pipelines import settings as settings_module
from pipelines.errors import (
    BrokerUnavailable,
    ForkedProducer,
    InvalidSetting,
    ProducerClosed,
    RecordDropped,
    RecordRefused,
    RecordTooLarge,
    SpoolFull,
    StillSpooled,
)
from pipelines.settings import Settings
from sdk import metrics, pending
from sdk.breaker import BreakerState
from sdk.delivery import Delivered, Outbox
from sdk.dispatch import Way
from sdk.outbox import POLL_EVERY, KafkaOutbox
from tests.unit.sdk.brokers import Cluster

QUICK = {"failures": 2, "stall_s": 0.05, "open_s": 0.1}


def settings(folder: Path, spool: dict[str, Any] | None = None, **changes: Any) -> Settings:
    own = {"folder": folder, "fsync": "never", "segment_bytes": 2_000, "block_timeout_s": 0.2} | (spool or {})
    return settings_module.load(producer={"breaker": QUICK, "retry_first_s": 0.01, "spool": own} | changes)


@contextmanager
def outbox(
    cluster: Cluster, folder: Path, spool: dict[str, Any] | None = None, **changes: Any
) -> Iterator[KafkaOutbox]:
    made = KafkaOutbox(settings(folder, spool, **changes), "test", connect=cluster.client)
    try:
        yield made
    finally:
        made.close(timeout_s=0.3)


def value(n: int) -> bytes:
    return b"record %d" % n


def put(box: KafkaOutbox, numbers: range) -> list[Future[Delivered]]:
    return [box.put("logs", b"k", value(n)) for n in numbers]


def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for a condition that other threads bring about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def is_away(box: KafkaOutbox) -> Callable[[], bool]:
    def check() -> bool:
        with box.dispatch.lock:  # under it, what the client holds is copied
            return box.dispatch.way is Way.SPOOLING and box.dispatch.breaker.state is BreakerState.OPEN

    return check


def kill(box: KafkaOutbox) -> None:
    """What SIGKILL leaves: the files as they are, and nobody who looks after them."""
    box._stop.set()
    box._courier.join()
    box.spool.abandon()
    box._forked()


def test_it_is_an_outbox(tmp_path: Path) -> None:
    with outbox(Cluster(), tmp_path) as box:
        port: Outbox = box
        assert port.put("t", None, b"").result(5).topic == "t"


def test_a_future_says_where_the_record_is(tmp_path: Path) -> None:
    cluster = Cluster()
    with outbox(cluster, tmp_path) as box:
        put(box, range(3))
        found = box.put("logs", b"key", b"v", timestamp_ms=42, headers=[("h", b"x")]).result(5)
        assert found == Delivered("logs", 0, 3, 42)
        assert (cluster.log[3].key, cluster.log[3].headers) == (b"key", (("h", b"x"),))
        assert abs(box.put("logs", None, b"now").result(5).timestamp_ms - time.time() * 1000) < 5_000
        assert (box.meter.sent, box.meter.acknowledged, sum(box.meter.latencies)) == (5, 5, 5)


def test_what_comes_while_the_cluster_is_away_waits_on_disk_and_is_sent_in_order(tmp_path: Path) -> None:
    cluster = Cluster()
    with outbox(cluster, tmp_path) as box:
        first = put(box, range(5))
        wait(first)
        cluster.is_up = False
        before = put(box, range(5, 10))
        until(is_away(box))
        assert box.spool.records == 5, "what the client holds is copied"
        during = put(box, range(10, 200))
        assert box.spool.records == 195
        assert not any(f.done() for f in before + during)
        cluster.is_up = True
        assert [f.result(10).offset for f in first + before + during] == list(range(200))
        until(lambda: box.dispatch.way is Way.DIRECT)
        after = put(box, range(200, 205))
        assert [f.result(10).offset for f in after] == list(range(200, 205))
        assert cluster.values == [value(n) for n in range(205)]
        assert (box.spool.records, box.meter.retried) == (0, 0)


@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_outages_and_errors_at_any_time_lose_and_double_nothing(seed: int, tmp_path_factory: Any) -> None:
    dice = random.Random(seed)
    cluster = Cluster(room=dice.choice([3, 50, 10**9]))
    cluster.refuses = lambda _: KafkaError.REQUEST_TIMED_OUT if dice.random() < 0.02 else None
    with outbox(cluster, tmp_path_factory.mktemp("spool"), {"block_timeout_s": 20}, window=40) as box:
        futures = []
        for n in range(150):
            if dice.random() < 0.05:
                cluster.is_up = not cluster.is_up
            if dice.random() < 0.05:
                time.sleep(dice.random() * 0.1)
            cluster.is_up |= len(box.dispatch.carrier) >= cluster.room  # else a put would wait for the breaker
            futures.append(box.put("logs", b"k", value(n)))
        cluster.is_up = True
        assert sorted(f.result(20).offset for f in futures) == list(range(150))
        assert sorted(cluster.values) == sorted(value(n) for n in range(150))


def test_a_killed_service_leaves_what_was_spooled_and_the_next_one_sends_it_first(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    box = KafkaOutbox(settings(tmp_path), "test", connect=cluster.client)
    put(box, range(3))
    until(is_away(box))
    put(box, range(3, 50))
    kill(box)
    cluster.is_up = True
    with outbox(cluster, tmp_path) as again:
        last = again.put("logs", b"k", value(50))
        assert last.result(10).offset == 50
    assert cluster.values == [value(n) for n in range(51)]
    with outbox(cluster, tmp_path) as again:
        assert again.spool.records == 0


@pytest.mark.parametrize("fsync", ["record", "interval", "never"])
def test_written_ahead_nothing_is_lost_with_the_process(tmp_path: Path, fsync: str) -> None:
    cluster = Cluster(is_up=False)
    box = KafkaOutbox(settings(tmp_path, {"write_ahead": True, "fsync": fsync}), "test", connect=cluster.client)
    put(box, range(20))
    assert box.dispatch.way is Way.DIRECT, "the breaker has not opened yet"
    kill(box)
    cluster.is_up = True
    with outbox(cluster, tmp_path) as again:
        until(lambda: again.spool.records == 0)
    assert cluster.values == [value(n) for n in range(20)]


def test_written_ahead_and_acknowledged_is_gone(tmp_path: Path) -> None:
    cluster = Cluster()
    with outbox(cluster, tmp_path, {"write_ahead": True}) as box:
        wait(put(box, range(20)))
        assert (box.spool.records, box.dispatch.way) == (0, Way.DIRECT)
    assert list((tmp_path / "test").glob("*.spool")) == []


def test_close_delivers_what_was_accepted(tmp_path: Path) -> None:
    cluster = Cluster()
    box = KafkaOutbox(settings(tmp_path), "test", connect=cluster.client)
    futures = put(box, range(1_000))
    box.close()
    assert all(f.done() for f in futures)
    assert cluster.values == [value(n) for n in range(1_000)]
    box.close()
    with pytest.raises(ProducerClosed):
        put(box, range(1))


def test_callbacks_may_put_records(tmp_path: Path) -> None:
    cluster = Cluster()
    with outbox(cluster, tmp_path) as box:
        left = iter(range(3 * POLL_EVERY))

        def one_more(_: Future[Delivered]) -> None:
            for number in left:
                box.put("logs", b"k", value(number)).add_done_callback(one_more)
                return

        box.put("logs", None, b"first").add_done_callback(one_more)
        until(lambda: box.meter.acknowledged == 3 * POLL_EVERY + 1)
    assert cluster.values == [b"first", *map(value, range(3 * POLL_EVERY))]


def test_close_keeps_what_it_can_not_deliver_and_says_so(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    box = KafkaOutbox(settings(tmp_path), "test", connect=cluster.client)
    futures = put(box, range(5))
    box.close(timeout_s=0)
    for future in futures:
        with pytest.raises(StillSpooled, match=str(tmp_path)):
            future.result(0)
    cluster.is_up = True
    with outbox(cluster, tmp_path) as again:
        until(lambda: again.spool.records == 0)
    assert cluster.values == [value(n) for n in range(5)]


def test_a_retry_comes_after_a_growing_pause(tmp_path: Path) -> None:
    cluster = Cluster(refuses=lambda _: KafkaError.NOT_ENOUGH_REPLICAS)
    with outbox(cluster, tmp_path, retry_first_s=0.02, retry_longest_s=0.1) as box:
        [future] = put(box, range(1))
        until(lambda: box.meter.retried >= 4)
        cluster.refuses = lambda _: None
        assert future.result(10).offset == 0
        assert box.meter.failed == {}


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._UNKNOWN_TOPIC])
@pytest.mark.parametrize("is_spooled", [False, True])
def test_a_refused_record_fails_and_the_others_go_on(tmp_path: Path, code: int, is_spooled: bool) -> None:
    cluster = Cluster(is_up=not is_spooled, refuses=lambda stored: code if stored.of_topic == "bad" else None)
    with outbox(cluster, tmp_path) as box:
        good = put(box, range(2))
        if is_spooled:
            until(is_away(box))
        bad = box.put("bad", b"k", b"v")
        good += put(box, range(2, 4))
        cluster.is_up = True
        with pytest.raises(RecordRefused, match="topic bad") as caught:
            bad.result(10)
        assert caught.value.reason == KafkaError(code).name()
        assert [f.result(10).offset for f in good] == [0, 1, 2, 3]
        assert box.meter.failed == {KafkaError(code).name(): 1}
        until(lambda: box.spool.records == 0)


def test_a_record_that_the_client_refuses_at_once_fails_by_its_future(tmp_path: Path) -> None:
    with outbox(Cluster(), tmp_path) as box, pytest.raises(RecordRefused):
        box.put("no topic", None, b"").result(5)


def test_a_record_too_large_fails_and_its_batch_does_not(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False, max_bytes=100)
    with outbox(cluster, tmp_path) as box:
        good = put(box, range(20))
        large = [box.put("logs", b"k", bytes(size)) for size in (101, 500)]
        good += put(box, range(20, 40))
        cluster.is_up = True
        for future in large:
            with pytest.raises(RecordTooLarge):
                future.result(10)
        good += put(box, range(40, 50))
        assert sorted(f.result(10).offset for f in good) == list(range(50))
        assert sorted(cluster.values) == sorted(value(n) for n in range(50))


def test_a_client_that_fails_for_good_is_replaced(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    with outbox(cluster, tmp_path) as box:
        futures = put(box, range(10))
        cluster.clients[0].break_down()
        futures += put(box, range(10, 20))
        cluster.is_up = True
        assert sorted(f.result(10).offset for f in futures) == list(range(20))
        assert len(cluster.clients) == 2


def test_full_and_block_waits_for_room(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    with outbox(cluster, tmp_path, {"max_records": 10, "block_timeout_s": 10}) as box:
        futures = put(box, range(10))
        until(is_away(box))
        threading.Timer(0.2, lambda: setattr(cluster, "is_up", True)).start()
        futures += put(box, range(10, 15))
        assert [f.result(10).offset for f in futures] == list(range(15))


@pytest.mark.parametrize("policy", ["block", "raise"])
def test_full_and_no_room_comes(tmp_path: Path, policy: str) -> None:
    cluster = Cluster(is_up=False)
    with outbox(cluster, tmp_path, {"max_records": 10, "when_full": policy}) as box:
        put(box, range(1))
        until(is_away(box))
        put(box, range(1, 10))
        began = time.monotonic()
        with pytest.raises(SpoolFull, match="10 records"):
            put(box, range(10, 11))
        assert (time.monotonic() - began >= 0.2) == (policy == "block")
        cluster.is_up = True
        until(lambda: box.spool.records == 0)
        assert cluster.values == [value(n) for n in range(10)], "what was refused was not sent"


def test_full_and_drop_oldest_counts_and_tells_what_it_drops(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    with outbox(cluster, tmp_path, {"max_records": 10, "when_full": "drop_oldest"}) as box:
        held = put(box, range(2))
        until(is_away(box))
        futures = put(box, range(2, 30))
        for future in futures[:20]:
            with pytest.raises(RecordDropped):
                future.result(5)
        assert (box.meter.dropped, box.spool.records) == (20, 10)
        cluster.is_up = True
        assert [f.result(10).offset for f in held + futures[20:]] == list(range(10))
        assert cluster.values == [value(n) for n in (0, 1, *range(22, 30))]


@pytest.mark.parametrize("policy", ["raise", "drop_oldest"])
def test_a_client_without_room_overflows_to_disk(tmp_path: Path, policy: str) -> None:
    cluster = Cluster(is_up=False, room=5)
    with outbox(cluster, tmp_path, {"when_full": policy}, breaker=QUICK | {"stall_s": 60}) as box:
        futures = put(box, range(50))
        assert box.spool.records == 50
        cluster.is_up = True
        assert [f.result(10).offset for f in futures] == list(range(50))


def test_a_client_without_room_makes_block_wait(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False, room=5)
    with outbox(cluster, tmp_path, breaker=QUICK | {"stall_s": 60}) as box:
        put(box, range(5))
        with pytest.raises(SpoolFull, match="no room for a record"):
            put(box, range(5, 6))


def test_futures_that_nobody_holds_cost_no_memory(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    with outbox(cluster, tmp_path) as box:
        put(box, range(1))
        until(is_away(box))
        heard: list[int] = []
        box.put("logs", b"k", value(1)).add_done_callback(lambda f: heard.append(f.result().offset))
        held = put(box, range(2, 1_000))[500]
        gc.collect()
        assert len(box.dispatch.shelf._futures) <= 3, "the client's, the one with a callback, the one that is held"
        cluster.is_up = True
        assert held.result(10).offset == 502
        until(lambda: heard == [1])


def test_a_future_can_not_be_cancelled(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    with outbox(cluster, tmp_path) as box:
        [future] = put(box, range(1))
        assert not future.cancel()
        cluster.is_up = True
        assert future.result(10).offset == 0


def test_asyncio(tmp_path: Path) -> None:
    cluster = Cluster()

    async def many(box: KafkaOutbox) -> list[Delivered]:
        return await asyncio.gather(*(box.put_async("logs", None, value(n)) for n in range(50)))

    with outbox(cluster, tmp_path, {"fsync": "record", "write_ahead": True}) as box:
        assert [d.offset for d in asyncio.run(many(box))] == list(range(50))


def test_asyncio_waits_for_room_beside_the_loop(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False, room=1)

    async def two(box: KafkaOutbox) -> int:
        tasks = [asyncio.create_task(box.put_async("logs", None, value(n))) for n in range(2)]
        turns = 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            turns += 1
            cluster.is_up |= turns > 1_000
        return turns

    with outbox(cluster, tmp_path, {"block_timeout_s": 20}, breaker=QUICK | {"stall_s": 60}) as box:
        assert asyncio.run(two(box)) > 1_000


def test_asyncio_many_that_wait_for_room_wait_together_and_hinder_nobody(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)

    async def many(box: KafkaOutbox) -> tuple[set[type], float, float]:
        began = time.monotonic()
        tasks = [asyncio.create_task(box.put_async("logs", None, b"x")) for _ in range(60)]
        await asyncio.sleep(0)
        await asyncio.to_thread(int)  # as a DNS look-up of the service
        aside_s = time.monotonic() - began
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return {type(result) for result in results}, aside_s, time.monotonic() - began

    with outbox(cluster, tmp_path, {"max_records": 1, "block_timeout_s": 0.4}) as box:
        put(box, range(1))
        until(is_away(box))
        kinds, aside_s, all_s = asyncio.run(many(box))
        assert kinds == {SpoolFull}
        assert aside_s < 0.4 <= all_s < 1.5


def test_asyncio_syncs_beside_the_executor_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, may_end = Cluster(), threading.Event()
    real = os.fdatasync

    def slow(fd: int) -> None:
        may_end.wait(5)
        real(fd)

    async def many(box: KafkaOutbox) -> list[int]:
        tasks = [asyncio.create_task(box.put_async("logs", None, b"x")) for _ in range(60)]
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.to_thread(may_end.set), 2)
        return [(await task).offset for task in tasks]

    with outbox(cluster, tmp_path, {"fsync": "record", "write_ahead": True, "segment_bytes": 1 << 20}) as box:
        monkeypatch.setattr(os, "fdatasync", slow)
        assert sorted(asyncio.run(many(box))) == list(range(60))


def test_many_threads(tmp_path: Path) -> None:
    cluster = Cluster()
    with outbox(cluster, tmp_path, {"fsync": "record", "write_ahead": True}) as box:
        threads = [threading.Thread(target=put, args=(box, range(n * 100, n * 100 + 100))) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(cluster.values) == sorted(value(n) for n in range(800))
    assert box.meter.acknowledged == 800


def test_a_child_after_a_fork_is_told_and_the_parent_goes_on(tmp_path: Path) -> None:
    cluster = Cluster()
    with outbox(cluster, tmp_path) as box:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                box.put("logs", None, b"from the child")
            except ForkedProducer:
                box.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert box.put("logs", None, b"from the parent").result(5).offset == 0


def test_a_fork_while_locks_are_held_hangs_nothing_in_the_child(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with outbox(Cluster(), tmp_path / "parent") as box:
        metrics.expose(box, registry)
        with box.dispatch.lock, pending._first_look:
            child = os.fork()
            if child == 0:
                signal.alarm(5)
                code = 1
                try:
                    shown = generate_latest(registry)
                    own = KafkaOutbox(settings(tmp_path / "child"), "own", connect=Cluster().client)
                    own.put("logs", None, b"").result(3)
                    code = 0 if b'producer="test"' not in shown else 2
                finally:
                    os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert b'sdp_producer_sent_total{producer="test"}' in generate_latest(registry)


def test_an_option_that_the_client_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"no\.such\.option"):
        KafkaOutbox(settings(tmp_path, options={"no.such.option": 1}), "test")


def test_repr_shows_no_secret(tmp_path: Path) -> None:
    with outbox(Cluster(), tmp_path, options={"ssl.key.password": "hunter2"}) as box:
        assert "hunter2" not in f"{box!r} {box.__dict__!r} {box.dispatch.__dict__!r} {settings(tmp_path)!r}"


def test_no_room_to_keep_what_the_client_gives_back_is_said(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    box = KafkaOutbox(settings(tmp_path, {"max_records": 2}), "test", connect=cluster.client)
    futures = put(box, range(4))
    box.close(timeout_s=0)
    errors = [type(f.exception(0)) for f in futures]
    assert sorted(e.__name__ for e in errors) == ["BrokerUnavailable"] * 2 + ["StillSpooled"] * 2
    assert BrokerUnavailable in errors
    assert box.meter.failed == {"spool_full": 2}
