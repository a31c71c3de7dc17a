"""The report of a run in a folder: what it is made of, and how it gets there."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from pipelines.errors import UsageError
from pipelines.reconcile.model import Finding, Run
from pipelines.reconcile.report import Report, as_json, html
from pipelines.reconcile.trend_chart import DAYS
from pipelines.reconcile.wording import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHOWN_FINDINGS = 200
NO_HISTORY = "The runs before this one could not be read: the trend shows this one only."


class Book(Protocol):
    """Runs and findings that are kept."""

    def runs(self, since: datetime) -> list[Run]: ...
    def sample(self, run_id: str, limit: int) -> list[Finding]: ...
    def reasons(self, run_id: str, limit: int = 20) -> list[tuple[str, int]]: ...


def gathered(book: Book, run: Run, limits: Limits) -> Report:
    """A run with its findings and those runs before it that the trend shows."""
    return Report(run, book.sample(run.run_id, SHOWN_FINDINGS), _before(book, run), book.reasons(run.run_id), limits)


def of_failed(book: Callable[[], Book], run: Run, limits: Limits) -> Report:
    """The same of a run that has nothing but a reason: what made it fail may be what the history is kept in."""
    try:
        return Report(run, history=_before(book(), run), limits=limits)
    except Exception:  # noqa: BLE001 the first error is the one that counts
        return Report(replace(run, notes=(*run.notes, NO_HISTORY)), limits=limits)


def _before(book: Book, run: Run) -> list[Run]:
    found = book.runs(run.started_at - timedelta(days=DAYS))
    return [past for past in found if past.started_at <= run.started_at]


def made(folder: Path) -> Path:
    """The folder, which exists from now on. Raises UsageError."""
    with _spoken(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(folder: Path, report: Report) -> Path:
    """Write page and JSON, each all or nothing, and say where the page is. The run's id must be a checked one.

    Raises UsageError.
    """
    page = folder / f"{report.run.run_id}.html"
    _put(page.with_name(f"{report.run.run_id}.json"), json.dumps(as_json(report), indent=2) + "\n")
    _put(page, html(report))
    return page


def _put(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    with _spoken(path.parent):
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)


@contextmanager
def _spoken(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"--report {folder}: {error.strerror or error}") from error
