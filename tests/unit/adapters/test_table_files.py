"""Partitions as SQL, and the folders of spark-submit.sh."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

from pipelines.adapters.submit_rooms import SubmitRooms
from pipelines.adapters.table_files import _sql
from pipelines.maintenance.compaction import Partition


def test_partitions_as_sql() -> None:
    hour, day = Partition(date(2026, 1, 2), 0, 9, 9), Partition(date(2026, 1, 3), None, 9, 9)
    assert _sql([hour, day]) == "(date = '2026-01-02' AND hour = 0) OR (date = '2026-01-03')"
    assert _sql([Partition(None, None, 9, 9)]) == ""


def test_a_room_is_as_young_as_the_newest_file_in_it(tmp_path: Path) -> None:
    room = tmp_path / "submit.abcdef"
    room.mkdir()
    (tmp_path / "submit.txt").touch()
    for name, at in (("arguments", 1_000), ("log", 5_000)):
        (room / name).touch()
        os.utime(room / name, (at, at))
    os.utime(room, (2_000, 2_000))
    rooms = SubmitRooms(tmp_path)
    assert rooms.touched_at() == {"submit.abcdef": datetime.fromtimestamp(5_000, UTC)}
    rooms.delete("submit.abcdef")
    rooms.delete("submit.abcdef")
    assert rooms.touched_at() == {}
    assert SubmitRooms(tmp_path / "missing").touched_at() == {}
