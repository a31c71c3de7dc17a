"""A spool on a disk that fails or forgets: what can be read is read in order, the rest is counted, said and kept."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pipelines.errors import SpoolUnavailable
from sdk.segment import Item
from sdk.spool import Spool
from tests.unit.sdk.bad_disk import failing
from tests.unit.sdk.test_spool import everything, files, item, opened, settings


def record(n: int) -> Item:
    """All of one size."""
    return item(100 + n, size=100)


def full(folder: Path, count: int) -> bytes:
    """A folder with one file of equal records; returns the file's bytes."""
    with opened(folder, segment_bytes=1 << 20) as spool:
        for n in range(count):
            spool.append(record(n))
    return files(folder)[0].read_bytes()


def overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as disk:
        disk.seek(at)
        disk.write(data)


@pytest.mark.parametrize("byte", [0, 3, 5, 9, 40, 137])
def test_damage_within_the_only_file_is_said_and_the_file_kept(
    tmp_path: Path, byte: int, caplog: pytest.LogCaptureFixture
) -> None:
    size = len(full(tmp_path, 20)) // 20
    file = files(tmp_path)[0]
    overwrite(file, 7 * size + byte, bytes([file.read_bytes()[7 * size + byte] ^ 1]))
    damaged = file.read_bytes()
    with opened(tmp_path) as spool:
        assert f"is damaged behind byte {7 * size}: the {13 * size} bytes there are not sent" in caplog.text
        assert everything(spool) == [record(n) for n in range(7)]
        for n in range(7):
            spool.settle(n)
    assert file.with_suffix(".damaged").read_bytes()[7 * size :] == damaged[7 * size :]
    assert files(tmp_path) == []


def test_damage_of_today_does_not_replace_that_of_yesterday(tmp_path: Path) -> None:
    for _ in range(2):
        full(tmp_path, 3)
        overwrite(files(tmp_path)[0], 2, b"\xff")
        with opened(tmp_path) as spool:
            assert spool.records == 0
    assert len(list(tmp_path.glob("*.damaged"))) == 2


def test_a_page_of_zeros_within_the_only_file_is_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full(tmp_path, 100)
    overwrite(files(tmp_path)[0], 4096, bytes(4096))
    with opened(tmp_path) as spool:
        assert "is damaged behind byte" in caplog.text
        assert 0 < spool.records < 4096 // 100


def test_a_write_cut_short_is_removed_once_and_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = full(tmp_path, 10)
    with files(tmp_path)[0].open("ab") as file:
        file.write(content[:37])
    with opened(tmp_path) as spool:
        assert files(tmp_path)[0].read_bytes() == content
        assert "ended within a record, 37 bytes are cut off" in caplog.text
        spool.append(record(10))
    caplog.clear()
    with opened(tmp_path) as spool:
        for number, each in spool.lend(20):
            assert each == record(number)
            spool.settle(number)
        assert number == 10
    assert caplog.text == ""
    with opened(tmp_path):
        assert [each.name for each in tmp_path.iterdir()] == ["lock"]


def test_a_long_end_of_zeros_is_read_through_quickly(tmp_path: Path) -> None:
    full(tmp_path, 3)
    with files(tmp_path)[0].open("ab") as file:
        file.write(bytes(4 << 20))
    with opened(tmp_path) as spool:
        assert len(everything(spool)) == 3


def test_what_a_living_spool_can_not_read_any_more_leaves_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lost: list[int] = []
    with opened(tmp_path, segment_bytes=500) as spool:
        spool.on_lost = lost.append
        for n in range(20):
            spool.append(record(n))
        second = files(tmp_path)[1]
        assert second.stem == f"{3:020d}"
        overwrite(second, second.stat().st_size // 3 + 2, b"\xff\xff")
        kept = [record(n) for n in range(20) if n not in (4, 5)]
        assert everything(spool) == kept
        assert (spool.records, spool.unread, lost) == (18, 0, [2])
        assert "2 records that waited there are lost" in caplog.text
        spool.rewind()
        assert everything(spool) == kept, "counted once"
        assert lost == [2]
        for number in range(20):
            spool.settle(number)
        assert (spool.records, spool.bytes) == (0, 0)
        assert len(list(tmp_path.glob("*.damaged"))) == 1


def test_nothing_is_written_behind_damage(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=1 << 20) as spool:
        for n in range(3):
            spool.append(record(n))
        overwrite(files(tmp_path)[0], files(tmp_path)[0].stat().st_size // 3 + 1, b"\xff")
        assert everything(spool) == [record(0)]
        spool.append(item(3))
        assert everything(spool) == [item(3)]
    with opened(tmp_path) as spool:
        assert everything(spool) == [record(0), item(3)]


@pytest.mark.parametrize("broken", range(1, 8))
def test_a_read_that_fails_strands_nothing(tmp_path: Path, broken: int) -> None:
    with opened(tmp_path, segment_bytes=300) as spool:
        for n in range(20):
            spool.append(item(n))
        found, errors = list[Item](), 0
        with failing("pread", on=lambda count: count == broken):
            while len(found) < 20:
                try:
                    lent = spool.lend(20)
                except SpoolUnavailable:
                    errors += 1
                else:
                    assert lent, "the rest is never read"
                    found += [each for _, each in lent]
        assert found == [item(n) for n in range(20)]
        assert spool.unread == 0
        assert errors <= 1


def test_a_record_whose_end_could_not_be_written_is_not_lent_again(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for n in range(2):
            spool.append(item(n))
        spool.lend(1)
        with failing("pwrite"):
            spool.settle(0)
        spool.rewind()
        assert everything(spool) == [item(1)]
        assert (spool.records, spool.unread) == (1, 0)


def test_dropping_does_not_close_the_file_that_another_thread_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, settings(fsync="record"))
    number = spool.append(item(0))
    syncs, may_end, real, errors = threading.Event(), threading.Event(), os.fdatasync, list[Exception]()

    def slow(fd: int) -> None:
        syncs.set()
        may_end.wait(5)
        real(fd)

    def sync() -> None:
        try:
            spool.sync(number)
        except SpoolUnavailable as error:
            errors.append(error)

    monkeypatch.setattr(os, "fdatasync", slow)
    threads = [threading.Thread(target=sync), threading.Thread(target=spool.drop_oldest)]
    threads[0].start()
    assert syncs.wait(5)
    threads[1].start()
    threads[1].join(0.1)  # it waits for the other one, or has done its damage
    may_end.set()
    for thread in threads:
        thread.join()
    assert errors == []
    spool.close()
    assert files(tmp_path) == []
