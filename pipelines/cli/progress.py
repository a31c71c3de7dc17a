"""Progress of a long command: a bar for a person, a line every few seconds for a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.cli.options import err

if TYPE_CHECKING:
    from pipelines.flows.produce import Progress as Sent

LINE_EVERY_S = 5.0

OnProgress = Callable[["Sent"], None]


@contextmanager
def reporter(total: int) -> Iterator[OnProgress]:
    """A function that shows how many of ``total`` records are acknowledged, on standard error."""
    if err.is_terminal:
        with _bar() as bar:
            task = bar.add_task("sent", total=total, pace=0.0)
            began = monotonic()
            yield lambda sent: bar.update(
                task, completed=sent.acknowledged, pace=sent.acknowledged / max(monotonic() - began, 0.001)
            )
    else:
        yield _Lines(total)


def _bar() -> Progress:
    pace = TextColumn("{task.fields[pace]:,.0f}/s")
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), pace, TimeRemainingColumn(), console=err
    )


class _Lines:
    def __init__(self, total: int) -> None:
        self.total, self.began = total, monotonic()
        self.next = self.began + LINE_EVERY_S

    def __call__(self, sent: Sent) -> None:
        now = monotonic()
        if now < self.next:
            return
        self.next = now + LINE_EVERY_S
        pace = sent.acknowledged / (now - self.began)
        failed = f", {sent.failed:,} failed" if sent.failed else ""
        err.print(
            f"sent {sent.acknowledged:,} of {self.total:,} ({pace:,.0f}/s{failed})", markup=False, highlight=False
        )
