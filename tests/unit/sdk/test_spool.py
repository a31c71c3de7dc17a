"""Laws of the spool: whatever byte a crash falls on, a prefix comes back, in order, and nothing twice after its end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import SpoolFull, SpoolInUse, SpoolUnavailable
from pipelines.settings import SpoolSettings
from sdk.segment import Item, State
from sdk.spool import Spool

ITEMS = st.builds(
    Item,
    topic=st.text(min_size=1, max_size=20),
    key=st.none() | st.binary(max_size=20),
    value=st.binary(max_size=200),
    timestamp_ms=st.integers(-1, 2**62),
    headers=st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3).map(tuple),
    accepted_ms=st.integers(0, 2**62),
)


def item(n: int, size: int = 20) -> Item:
    return Item("logs", b"k%d" % n, (b"%d " % n).ljust(size, b"."), n, (), n)


def fill(spool: Spool) -> None:
    for n in range(100):
        spool.append(item(n, size=100))


def settings(**changes: Any) -> SpoolSettings:
    return SpoolSettings(**{"fsync": "never", "segment_bytes": 300} | changes)


@contextmanager
def opened(folder: Path, **changes: Any) -> Iterator[Spool]:
    spool = Spool(folder, settings(**changes))
    try:
        yield spool
    finally:
        spool.abandon()  # as a crash would: nothing is written at the end


def everything(spool: Spool) -> list[Item]:
    return [each for _, each in spool.lend(10**6)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


@given(items=st.lists(ITEMS, max_size=30), cut=st.integers(0, 10**6), segment_bytes=st.integers(1, 2_000))
def test_a_crash_at_any_byte_of_the_last_write_leaves_a_prefix(items: list[Item], cut: int, segment_bytes: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        written = []
        with opened(folder, segment_bytes=segment_bytes) as spool:
            for each in items:
                spool.append(each)
                last = files(folder)[-1]
                written.append((last, last.stat().st_size))
        if items:
            cut %= last.stat().st_size + 1
            os.truncate(last, cut)
        whole = [n for n, (file, end) in enumerate(written) if file != last or end <= cut]
        with opened(folder) as spool:
            assert everything(spool) == items[: len(whole)]
            assert (spool.records, spool.unread) == (len(whole), 0)


@given(items=st.lists(ITEMS, min_size=1, max_size=20), whole=st.integers(0, 19), part=st.integers(1, 10**6))
def test_a_torn_record_costs_itself_only(items: list[Item], whole: int, part: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        ends = [0]
        with opened(folder, segment_bytes=1 << 20) as spool:
            for each in items:
                spool.append(each)
                ends.append(files(folder)[0].stat().st_size)
        kept = whole % len(items)
        os.truncate(files(folder)[0], ends[kept] + part % (ends[kept + 1] - ends[kept]))
        with opened(folder) as spool:
            assert everything(spool) == items[:kept]
            assert spool.append(items[-1]) == kept
        with opened(folder) as spool:
            assert everything(spool) == [*items[:kept], items[-1]]


@given(
    count=st.integers(1, 40),
    steps=st.lists(st.tuples(st.integers(0, 8), st.lists(st.integers(0, 39), max_size=8), st.booleans()), max_size=8),
    segment_bytes=st.integers(1, 800),
)
def test_what_was_settled_never_comes_back_and_the_rest_does_in_order(
    count: int, steps: list[tuple[int, list[int], bool]], segment_bytes: int
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        spool = Spool(folder, settings(segment_bytes=segment_bytes))
        for n in range(count):
            spool.append(item(n))
        settled: set[int] = set()
        lent: set[int] = set()
        for lend, settle, crash in steps:
            lent |= {number for number, _ in spool.lend(lend)}
            for number in settle:
                spool.settle(number)
            settled |= lent & set(settle)
            if crash:
                spool.abandon()
                spool = Spool(folder, settings(segment_bytes=segment_bytes))
            else:
                spool.rewind()
            lent.clear()
            assert spool.records == count - len(settled)
            assert everything(spool) == [item(n) for n in range(count) if n not in settled]
            spool.rewind()
        spool.abandon()


def test_zeros_behind_the_end_are_no_records(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append(item(0))
    with files(tmp_path)[0].open("ab") as file:
        file.write(bytes(1_000))
    with opened(tmp_path) as spool:
        assert everything(spool) == [item(0)]


def test_a_damaged_file_is_kept_aside_and_the_next_ones_are_read(tmp_path: Path, caplog: Any) -> None:
    with opened(tmp_path, segment_bytes=1) as spool:
        for n in range(3):
            spool.append(item(n))
    damaged = files(tmp_path)[1]
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    with opened(tmp_path) as spool:
        assert "is damaged behind byte 0" in caplog.text
        assert everything(spool) == [item(0), item(2)]
        assert damaged.with_suffix(".damaged").read_bytes() == data


def test_one_process_holds_a_folder(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(SpoolInUse, match=f"process {os.getpid()}"):
        Spool(tmp_path, settings())
    with opened(tmp_path) as spool:
        assert spool.records == 0


def test_limits_count_what_waits(tmp_path: Path) -> None:
    with opened(tmp_path, max_records=3) as spool:
        for n in range(3):
            spool.append(item(n))
        with pytest.raises(SpoolFull, match="3 records"):
            spool.append(item(3))
        spool.settle(spool.lend(1)[0][0])
        spool.append(item(3))
        assert [i.accepted_ms for i in everything(spool)] == [1, 2, 3]


def test_bytes_are_limited(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=1_000) as spool:
        with pytest.raises(SpoolFull):
            fill(spool)
        assert 0 < spool.bytes <= 1_000
        assert sum(f.stat().st_size for f in files(tmp_path)) == spool.bytes


def test_files_go_when_nothing_waits_in_them(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=200) as spool:
        for n in range(20):
            spool.append(item(n, size=50))
        assert len(files(tmp_path)) == 10
        for number, _ in spool.lend(20):
            spool.settle(number)
        assert len(files(tmp_path)) == 1, "the one that is written to"
    with opened(tmp_path):
        assert files(tmp_path) == []


def test_the_oldest_that_waits_is_dropped_first(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for n in range(4):
            spool.append(item(n))
        assert spool.drop_oldest() == (0, "logs")
        spool.lend(1)
        assert spool.drop_oldest() == (2, "logs")
        spool.lend(1)
        assert spool.drop_oldest() == (1, None), "lent ones only when no other is left, and their borrower keeps them"
        assert (spool.holds(1), spool.holds(3)) == (False, True)
        assert spool.oldest_ms() == 3
        assert spool.drop_oldest() == (3, None)
        assert spool.drop_oldest() is None
        assert (spool.records, spool.bytes, files(tmp_path)) == (0, 0, [])


def test_what_is_given_back_waits_in_its_old_place(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for n in range(6):
            spool.append(item(n))
        spool.lend(5)
        spool.settle(3)
        spool.unlend(2)
        assert everything(spool) == [item(2), item(4), item(5)]
        spool.settle(0)
        spool.rewind()
        assert everything(spool) == [item(1), item(2), item(4), item(5)]


def test_lent_records_may_only_be_added_behind_lent_ones(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append(item(0), lent=True)
        spool.append(item(1))
        with pytest.raises(AssertionError):
            spool.append(item(2), lent=True)
        assert [i for _, i in spool.lend(10)] == [item(1)]
        spool.rewind()
        assert everything(spool) == [item(0), item(1)]


def test_given_up_is_as_final_as_acknowledged(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for n in range(2):
            spool.append(item(n))
        spool.lend(1)
        spool.settle(0, State.GIVEN_UP)
    with opened(tmp_path) as spool:
        assert everything(spool) == [item(1)]


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolUnavailable, match="the spool at"):
        Spool(tmp_path / "file" / "spool", settings())


FULL_DISK = """
import sys
from pathlib import Path
from pipelines.errors import SpoolFull
from tests.unit.sdk.test_spool import everything, item, opened
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
with opened(Path(sys.argv[1]), segment_bytes=1 << 20) as spool:
    n = 0
    try:
        while True:
            spool.append(item(n))
            n += 1
    except SpoolFull as error:
        print(n, error)
    assert everything(spool) == [item(k) for k in range(n)]
"""


def test_a_full_disk_is_said_and_costs_nothing_that_was_accepted(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write is cut short in the middle of a record."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    accepted = int(done.stdout.split()[0])
    assert "File too large" in done.stdout
    assert accepted > 50
    with opened(tmp_path) as spool:
        assert everything(spool) == [item(n) for n in range(accepted)]


def test_memory_does_not_grow_with_what_waits(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=16 << 20) as spool:
        for n in range(1_000):
            spool.append(item(n, size=200))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for n in range(100_000):
            spool.append(item(n, size=200))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4_096, "KiB"
