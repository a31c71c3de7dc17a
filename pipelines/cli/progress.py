"""Progress of a long command: a bar for a person, a line every few seconds for a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from threading import Event, Lock, Thread
from time import monotonic
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipelines.cli.options import err

LINE_EVERY_S = 5.0


class Counted(Protocol):
    """How far something is. ``failed`` ones are among those that are done, or beside them."""

    @property
    def acknowledged(self) -> int: ...
    @property
    def failed(self) -> int: ...


OnProgress = Callable[[Counted], None]


class Stage(Protocol):
    """One part of a command that takes long. May be told from several threads."""

    def show(self, *, completed: int | None = None, note: str = "") -> None:
        """So much is done by now (as before if not given), and what happens at the moment."""

    def show_tasks(self, done: int, of: int) -> None:
        """So far is Spark, where nobody knows the total before it is done."""

    def end(self) -> None:
        """All of it is done."""


@contextmanager
def reporter(total: int, doing: str = "sent") -> Iterator[OnProgress]:
    """A function that shows how many of ``total`` records are done, on standard error."""
    if err.is_terminal:
        with _bar() as bar:
            task = bar.add_task(doing, total=total, pace=0.0)
            began = monotonic()
            yield lambda sent: bar.update(
                task, completed=sent.acknowledged, pace=sent.acknowledged / max(monotonic() - began, 0.001)
            )
    else:
        yield _Lines(total, doing)


@contextmanager
def stages() -> Iterator[Callable[[str, int | None], Stage]]:
    """A function that begins a named stage of ``total`` parts, None where nobody knows; shown on standard error."""
    if err.is_terminal:
        with _board() as board:
            yield lambda name, total: _BarStage(board, board.add_task(name, total=total, note=""))
    else:
        with ExitStack() as begun:
            yield lambda name, total: begun.enter_context(closing(_LineStage(name, total)))


def _bar() -> Progress:
    pace = TextColumn("{task.fields[pace]:,.0f}/s")
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), pace, TimeRemainingColumn(), console=err
    )


def _board() -> Progress:
    name, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    return Progress(SpinnerColumn(), name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), note, console=err)


class _TaskNotes:
    def show_tasks(self: Stage, done: int, of: int) -> None:
        self.show(note=f"{done} of {of} Spark tasks are done")


class _BarStage(_TaskNotes):
    def __init__(self, board: Progress, task: TaskID) -> None:
        self._board, self._task = board, task

    def show(self, *, completed: int | None = None, note: str = "") -> None:
        self._board.update(self._task, completed=completed, note=note)

    def end(self) -> None:
        """Without a total the bar would go on moving: what is done by now is all there was."""
        task = self._board.tasks[self._task]
        total = task.completed if task.total is None else task.total
        self._board.update(self._task, total=total, completed=total, note="")


class _LineStage(_TaskNotes):
    """Says by itself how far it is: a step may take minutes, and a silent log looks like a process that hangs."""

    def __init__(self, name: str, total: int | None) -> None:
        self._name, self._total, self._completed, self._note = name, total, 0, ""
        self._began = monotonic()
        self._lock, self._over = Lock(), Event()
        self._say("begun")
        Thread(target=self._repeat, name=f"progress of {name}", daemon=True).start()

    def show(self, *, completed: int | None = None, note: str = "") -> None:
        with self._lock:
            if completed is not None:
                self._completed = completed
            self._note = note

    def end(self) -> None:
        with self._lock:
            self._over.set()
            if self._total is not None:
                self._completed = self._total
            self._say(self._count(), f"done in {self._elapsed()}")

    def close(self) -> None:
        """Say nothing more; also of a stage that was cut off."""
        with self._lock:
            self._over.set()

    def _repeat(self) -> None:
        while not self._over.wait(LINE_EVERY_S):
            with self._lock:
                if not self._over.is_set():
                    self._say(self._count(), self._note, f"{self._elapsed()} so far")

    def _elapsed(self) -> str:
        return f"{monotonic() - self._began:.0f} s"

    def _count(self) -> str:
        if self._total is None:
            return f"{self._completed:,}"
        return f"{self._completed:,} of {self._total:,}" if self._total > 1 else ""

    def _say(self, *parts: str) -> None:
        _print(f"{self._name}: {', '.join(filter(None, parts))}")


class _Clock:
    """Says how long it has run, and when its next line is due."""

    def __init__(self) -> None:
        self.began = monotonic()
        self._next = self.began + LINE_EVERY_S

    @property
    def elapsed_s(self) -> float:
        return monotonic() - self.began

    def is_due(self) -> bool:
        now = monotonic()
        if now < self._next:
            return False
        self._next = now + LINE_EVERY_S
        return True


class _Lines:
    def __init__(self, total: int, doing: str) -> None:
        self._total, self._doing, self._clock = total, doing, _Clock()

    def __call__(self, sent: Counted) -> None:
        if not self._clock.is_due():
            return
        pace = sent.acknowledged / self._clock.elapsed_s
        failed = f", {sent.failed:,} failed" if sent.failed else ""
        _print(f"{self._doing} {sent.acknowledged:,} of {self._total:,} ({pace:,.0f}/s{failed})")


def _print(text: str) -> None:
    err.print(text, markup=False, highlight=False, soft_wrap=True)
