"""Progress without a terminal: plain lines, the first and the last at once, those between at intervals."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic

import pytest
from rich.console import Console

from pipelines.cli import progress
from pipelines.cli.progress import LINE_EVERY_S, reporter, stages
from pipelines.flows.produce import Progress


@dataclass
class FakeClock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    found = FakeClock()
    monkeypatch.setattr(progress, "monotonic", found)
    monkeypatch.setattr(progress, "err", Console(stderr=True, force_terminal=False))
    return found


@pytest.fixture
def said(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> SimpleQueue[str]:
    """Lines as they come; those between a hundred times as often."""
    lines = SimpleQueue[str]()
    monkeypatch.setattr(progress, "_print", lines.put)
    monkeypatch.setattr(progress, "LINE_EVERY_S", LINE_EVERY_S / 100)
    return lines


def lines_until(said: SimpleQueue[str], wanted: str) -> list[str]:
    """Lines up to the one that is wanted, which is not among them."""
    return list(iter(lambda: said.get(timeout=30), wanted))


def until_gone(name: str) -> None:
    """Wait for the end of the threads of this name."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(30)
            assert not thread.is_alive()


def test_a_stage_says_when_it_begins_and_ends(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as begin:
        stage = begin("local stack", 4)
        assert capsys.readouterr().err == "local stack: begun\n"
        clock.now += 3
        stage.show(completed=2, note="kafka: ready")
        assert capsys.readouterr().err == ""
        stage.end()
    assert capsys.readouterr() == ("", "local stack: 4 of 4, done in 3 s\n")


def test_between_there_is_a_line_every_few_seconds(clock: FakeClock, said: SimpleQueue[str]) -> None:
    assert LINE_EVERY_S == 5
    with stages() as begin:
        began = monotonic()
        stage = begin("ingest", None)
        assert lines_until(said, "ingest: begun") == []
        stage.show(completed=1_000, note="batch [1]")
        clock.now += 90
        lines_until(said, "ingest: 1,000, batch [1], 90 s so far")
        for _ in range(2):
            assert lines_until(said, "ingest: 1,000, batch [1], 90 s so far") == []
        assert monotonic() - began >= 3 * 0.05


def test_a_stage_that_nobody_reports_on_is_not_silent(said: SimpleQueue[str]) -> None:
    with stages() as begin:
        begin("Spark", 1)
        assert lines_until(said, "Spark: 0 s so far") == ["Spark: begun"]


def test_nothing_is_said_of_a_stage_after_its_end(said: SimpleQueue[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 1e-6)
    with stages() as begin:
        for number in range(20):
            begin(f"part {number}", 1).end()
            until_gone(f"progress of part {number}")
            lines_until(said, f"part {number}: done in 0 s")
            assert said.empty()


def test_an_interrupt_ends_the_lines(said: SimpleQueue[str]) -> None:
    def cut_off() -> None:
        with stages() as begin:
            begin("cut off", None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    until_gone("progress of cut off")
    assert lines_until(said, "cut off: begun") == []


def test_a_stage_of_one_part_counts_nothing(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as begin:
        stage = begin("prove", 1)
        clock.now += 5
        stage.end()
    assert capsys.readouterr().err.splitlines() == ["prove: begun", "prove: done in 5 s"]


def test_what_is_done_stays_when_only_a_note_is_new(said: SimpleQueue[str]) -> None:
    with stages() as begin:
        stage = begin("produce", 9_000)
        stage.show(completed=1_500)
        stage.show(note="waiting")
        lines_until(said, "produce: 1,500 of 9,000, waiting, 0 s so far")


def test_records_that_are_sent_are_shown_with_their_pace(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(9_000) as on_progress:
        on_progress(Progress(1_000, 900, 0))
        clock.now += 10
        on_progress(Progress(5_000, 4_000, 0))
        clock.now += 10
        on_progress(Progress(9_000, 8_000, 1_000))
    assert capsys.readouterr().err.splitlines() == [
        "sent 4,000 of 9,000 (400/s)",
        "sent 8,000 of 9,000 (400/s, 1,000 failed)",
    ]


def test_a_terminal_gets_a_board(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "err", Console(stderr=True, force_terminal=True, width=120))
    with stages() as begin:
        stack, ingest = begin("local stack", 4), begin("ingest", None)
        stack.show(completed=1, note="kafka: ready")
        stack.end()
        ingest.show(completed=1_200, note="batch 0")
        ingest.end()
    shown = capsys.readouterr().err
    for name, count in (("local stack", "4/4"), ("ingest", "1200/1200")):
        assert count in [line for line in shown.splitlines() if name in line][-1]
