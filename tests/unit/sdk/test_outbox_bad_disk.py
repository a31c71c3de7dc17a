"""An outbox whose disk fails: its senders are told, nothing hangs, and when the disk works again all is as before."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from prometheus_client import CollectorRegistry

from pipelines.errors import InvalidSetting, SpoolFull, SpoolUnavailable, StillSpooled
from sdk import metrics
from sdk.outbox import KafkaOutbox
from tests.unit.sdk.bad_disk import failing
from tests.unit.sdk.brokers import Cluster
from tests.unit.sdk.test_outbox import is_away, outbox, put, settings, until


def test_an_error_in_a_report_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    codes = [KafkaError._MSG_TIMED_OUT]
    cluster = Cluster(is_up=False, refuses=lambda _: codes.pop() if codes else None)
    with outbox(cluster, tmp_path, {"fsync": "record", "when_full": "raise"}) as box:
        futures = put(box, range(2))
        with failing("fdatasync"):
            cluster.is_up = True
            until(lambda: not codes and box.dispatch.is_drained)
        assert sorted(f.result(5).offset for f in futures) == [0, 1]
        assert "may not survive a loss of power" in caplog.text
        assert box._courier.is_alive()


def test_close_tells_everybody_and_lets_go(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    box = KafkaOutbox(settings(tmp_path, {"fsync": "interval"}), "test", connect=cluster.client)
    futures = put(box, range(1))
    until(is_away(box))
    futures += put(box, range(1, 3))
    with failing("fdatasync"), pytest.raises(SpoolUnavailable, match="Input/output error"):
        box.close(timeout_s=0)
    assert [type(f.exception(5)) for f in futures] == [StillSpooled] * 3
    box.close()
    cluster.is_up = True
    with outbox(cluster, tmp_path) as again:
        until(lambda: again.meter.acknowledged == 3)


def test_metrics_are_shown(tmp_path: Path) -> None:
    cluster, registry = Cluster(is_up=False), CollectorRegistry()
    with outbox(cluster, tmp_path) as box:
        metrics.expose(box, registry)
        put(box, range(1))
        until(is_away(box))
        put(box, range(1, 6))
        with box.dispatch.lock:
            box.spool.rewind()  # else the age of what is lent is known in memory
        labels = {"producer": "test"}
        with failing("pread"):
            assert math.isnan(registry.get_sample_value("sdp_producer_spool_age_seconds", labels) or 0)
            assert registry.get_sample_value("sdp_producer_spooled_records", labels) == 6
        assert registry.get_sample_value("sdp_producer_spool_age_seconds", labels) or 0 > 0


def test_an_outbox_that_could_not_be_made_lets_go_of_its_spool(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting):
        KafkaOutbox(settings(tmp_path, options={"no.such.option": 1}), "test")
    unreadable = tmp_path / "test" / f"{5:020d}.spool"
    unreadable.mkdir()
    with pytest.raises(SpoolUnavailable):
        KafkaOutbox(settings(tmp_path), "test", connect=Cluster().client)
    unreadable.rmdir()
    with failing("pwrite"), pytest.raises(SpoolUnavailable):
        KafkaOutbox(settings(tmp_path), "test", connect=Cluster().client)
    with outbox(Cluster(), tmp_path) as box:
        assert box.put("logs", None, b"").result(5)


def test_a_full_disk_says_so_when_nothing_may_be_dropped(tmp_path: Path) -> None:
    cluster = Cluster(is_up=False)
    with outbox(cluster, tmp_path, {"when_full": "raise"}) as box:
        put(box, range(1))
        until(is_away(box))
        with failing("pwrite"), pytest.raises(SpoolUnavailable) as caught:
            put(box, range(1, 2))
        assert not isinstance(caught.value, SpoolFull)
        assert box.meter.sent == 1
        cluster.is_up = True
        until(lambda: cluster.values == [b"record 0"])
    assert [each.name for each in (tmp_path / "test").iterdir()] == ["lock"]
