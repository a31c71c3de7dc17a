"""The law of an outbox: sent + recovered = acknowledged + failed + dropped + waiting, and every future resolves."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.errors import RecordDropped, RecordTooLarge, RecordUnreadable, SpoolFull, StillSpooled
from sdk.dispatch import Way
from sdk.outbox import KafkaOutbox
from tests.unit.sdk.brokers import Cluster
from tests.unit.sdk.test_outbox import QUICK, is_away, kill, outbox, put, settings, until, value

SLOW = QUICK | {"stall_s": 60}


def accounted(box: KafkaOutbox) -> int:
    """Records whose end is counted."""
    return box.meter.acknowledged + sum(box.meter.failed.values()) + box.meter.dropped


@hypothesis_settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_spool_too_small_for_an_outage_drops_by_count(seed: int, tmp_path_factory: Any) -> None:
    dice = random.Random(seed)
    cluster = Cluster(room=dice.choice([3, 10, 10**9]))
    cluster.refuses = lambda _: KafkaError._MSG_TIMED_OUT if dice.random() < 0.2 else None
    spool = {"when_full": "drop_oldest", "max_records": dice.randint(1, 12), "write_ahead": dice.random() < 0.5}
    with outbox(cluster, tmp_path_factory.mktemp("spool"), spool, window=5, retry_longest_s=0.02) as box:
        futures = []
        for n in range(60):
            if dice.random() < 0.1:
                cluster.is_up = not cluster.is_up
            if dice.random() < 0.03:
                cluster.clients[-1].break_down()
            if dice.random() < 0.3:
                box.dispatch.carrier.poll(0.002)
            futures.append(box.put("logs", b"k", value(n)))
        cluster.is_up = True
        errors = [future.exception(10) for future in futures]
        assert {type(error) for error in errors} <= {type(None), RecordDropped}
        assert cluster.values == sorted(set(cluster.values), key=cluster.values.index), "nothing twice"
        assert set(cluster.values) == {value(n) for n, error in enumerate(errors) if error is None}
        until(lambda: accounted(box) == box.meter.sent == 60)
        assert box.meter.dropped == sum(error is not None for error in errors)
        assert box.spool.records == 0


def test_what_the_client_gave_up_is_dropped_by_count_and_its_sender_told(tmp_path: Path) -> None:
    codes = [KafkaError._MSG_TIMED_OUT] * 5
    cluster = Cluster(is_up=False, refuses=lambda _: codes.pop() if codes else None)
    changes = {"retry_first_s": 60, "retry_longest_s": 60}
    box = KafkaOutbox(
        settings(tmp_path, {"when_full": "drop_oldest", "max_records": 5}, **changes), "test", connect=cluster.client
    )
    futures = put(box, range(5))
    cluster.is_up = True
    until(lambda: box.meter.retried == 5)
    futures += put(box, range(5, 8))
    assert [type(f.exception(5)) for f in futures[:3]] == [RecordDropped] * 3
    assert (box.meter.sent, accounted(box), box.meter.dropped, box.spool.records) == (8, 3, 3, 5)
    box.close(timeout_s=0)
    assert [type(f.exception(5)) for f in futures[3:]] == [StillSpooled] * 5


def test_written_ahead_and_full_a_put_never_fails_and_lost_protection_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(is_up=False, room=10)
    spool = {"when_full": "drop_oldest", "write_ahead": True, "max_records": 8}
    with outbox(cluster, tmp_path, spool, breaker=SLOW) as box:
        futures = put(box, range(13))
        assert (box.meter.sent, box.spool.records) == (13, 8)
        assert caplog.text.count("copies of what the Kafka client holds are given up") == 1
        cluster.is_up = True
        errors = [future.exception(10) for future in futures]
        assert sum(error is None for error in errors) == len(cluster.values) >= 10
        until(lambda: accounted(box) == 13)


def test_a_record_that_never_fits_costs_no_other(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    with outbox(cluster, tmp_path, {"when_full": "drop_oldest", "max_bytes": 5_000}) as box:
        futures = put(box, range(1))
        until(is_away(box))
        futures += put(box, range(1, 50))
        with pytest.raises(SpoolFull, match="larger than all of it may be"):
            box.put("logs", b"k", bytes(6_000))
        assert (box.spool.records, box.meter.dropped, box.meter.sent) == (50, 0, 50)
        cluster.is_up = True
        assert [f.result(10).offset for f in futures] == list(range(50))


def test_a_record_once_sent_alone_is_not_blamed_for_its_next_batch(tmp_path: Path) -> None:
    codes = [KafkaError._MSG_TIMED_OUT]
    cluster = Cluster(is_up=False, max_bytes=100, refuses=lambda _: codes.pop() if codes else None)
    with outbox(cluster, tmp_path, retry_first_s=0.3) as box:
        small, large = (box.put("logs", b"k", v) for v in (b"small", bytes(200)))
        cluster.is_up = True
        until(lambda: not codes)
        late = box.put("logs", b"k", bytes(201))  # in one batch with the small one, when that is tried again
        assert small.result(10).offset == 0
        for future in (large, late):
            with pytest.raises(RecordTooLarge):
                future.result(10)
        until(lambda: accounted(box) == 3)


def test_what_the_disk_forgets_fails_and_the_rest_is_sent(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    with outbox(cluster, tmp_path, {"segment_bytes": 500}) as box:
        futures = put(box, range(1))
        until(is_away(box))
        futures += put(box, range(1, 40))
        first = min((tmp_path / "test").glob("*.spool"))
        with first.open("r+b") as file:
            file.seek(first.stat().st_size // 2)
            file.write(bytes(20))
        cluster.is_up = True
        errors = [future.exception(10) for future in futures]
        lost = [n for n, error in enumerate(errors) if isinstance(error, RecordUnreadable)]
        assert 2 <= len(lost) < 15
        assert lost == list(range(lost[0], lost[-1] + 1)), "the rest of one file"
        assert cluster.values == [value(n) for n in range(40) if n not in lost]
        assert box.meter.failed == {"unreadable": len(lost)}
        until(lambda: accounted(box) == 40 and box.dispatch.way is Way.DIRECT)
        assert box.put("logs", b"k", b"later").result(5)
    assert first.with_suffix(".damaged").exists()


def test_what_an_earlier_process_left_is_counted(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    box = KafkaOutbox(settings(tmp_path, {"write_ahead": True}), "test", connect=cluster.client)
    put(box, range(5))
    kill(box)
    cluster.is_up = True
    with outbox(cluster, tmp_path) as again:
        put(again, range(5, 7))
        until(lambda: again.meter.acknowledged == 7)
        assert (again.meter.sent, again.meter.recovered) == (2, 5)
