"""What is left over is told by its exact name and its age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipelines.maintenance.leftovers import old_checkpoints, old_rooms
from pipelines.maintenance.retirement import first_kept_day

NOW = datetime(2026, 3, 31, 12, 0, 0, tzinfo=UTC)


def test_only_checkpoints_that_were_set_aside_long_ago() -> None:
    old = ["index.replaced-20260301T120000", "ingest.replaced-20200101T000000"]
    others = [
        "ingest",
        "ingest.lease",
        "ingest.rules",
        "ingest.replaced-20260301T120001",
        "ingest.replaced-20260101T250000",
        "ingest.replaced-20200101T000000.tar",
        "ingest.replaced-",
        "replaced-20200101T000000",
        "replay.replaced-20200101T000000",
        "../ingest.replaced-20200101T000000",
    ]
    assert old_checkpoints([*others, *reversed(old)], NOW, days=30) == old


def test_only_rooms_that_nobody_has_touched_for_long() -> None:
    month = timedelta(days=30)
    touched = {
        "submit.abcDE1": NOW - month,
        "submit.abcDE2": NOW - month + timedelta(seconds=1),
        "submit.abcDE": NOW - month,
        "sdp-app-0123456789ab.zip": NOW - month,
    }
    assert old_rooms(touched, NOW, days=30) == ["submit.abcDE1"]


def test_the_first_day_that_is_kept() -> None:
    assert first_kept_day(NOW.date(), 30).isoformat() == "2026-03-01"
