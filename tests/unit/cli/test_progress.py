"""Progress without a terminal: plain lines, the first and the last at once, those between at intervals."""

from __future__ import annotations

from dataclasses import dataclass

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


def test_a_stage_says_when_it_begins_and_ends(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as begin:
        stage = begin("local stack", 4)
        assert capsys.readouterr().err == "local stack: begun\n"
        clock.now += 3
        stage.show(completed=2, note="kafka: ready")
        assert capsys.readouterr().err == ""
        stage.end()
    assert capsys.readouterr() == ("", "local stack: 4 of 4, done in 3 s\n")


def test_between_there_is_a_line_every_few_seconds(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as begin:
        stage = begin("ingest", None)
        for second in range(1, 21):
            clock.now += 1
            stage.show(completed=1_000 * second, note=f"batch {second}")
        stage.show(note="stopping")
    lines = capsys.readouterr().err.splitlines()
    assert LINE_EVERY_S == 5
    assert lines == ["ingest: begun", *(f"ingest: {n},000, batch {n}" for n in (5, 10, 15, 20))]


def test_a_stage_of_one_part_counts_nothing(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as begin:
        stage = begin("prove", 1)
        clock.now += 5
        stage.show(note="counting")
        stage.end()
    assert capsys.readouterr().err.splitlines() == ["prove: begun", "prove: counting", "prove: done in 5 s"]


def test_what_is_done_stays_when_only_a_note_is_new(clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as begin:
        stage = begin("produce", 9_000)
        stage.show(completed=1_500)
        clock.now += 5
        stage.show(note="waiting [really]")
        stage.end()
    assert capsys.readouterr().err.splitlines()[1:] == [
        "produce: 1,500 of 9,000, waiting [really]",
        "produce: 9,000 of 9,000, done in 5 s",
    ]


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
