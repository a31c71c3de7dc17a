"""What was removed for its age differs from the ledger, and is no suspect; what differs elsewhere still is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from pipelines.flows.reconcile_figures import INDEX, INGEST, Compared, Said
from pipelines.reconcile.figures import SUMMED, Figures, Place
from pipelines.reconcile.hours import in_ms
from pipelines.reconcile.ledger import Job
from pipelines.reconcile.retired import Gone
from pipelines.records import OffsetRange

FIRST = datetime(2026, 3, 1, 23, tzinfo=UTC)
SECOND = FIRST + timedelta(hours=1)
OLD, YOUNG = Place(0, in_ms(FIRST)), Place(0, in_ms(SECOND))
REFUSED = (OffsetRange("logs", 0, 0, 10), OffsetRange("logs", 1, 0, 10))


def holding(*places: Place) -> Figures:
    figures = Figures()
    for place in places:
        figures.add(place, 3, [7.0] * len(SUMMED))
    return figures


def compared(table: Figures, documents: Figures) -> Compared:
    said = Said("logs", {INGEST: Job(), INDEX: Job()}, {}, ())
    windows = [(FIRST, SECOND + timedelta(hours=1))]
    return Compared("logs", said, windows, table, documents, {}, {}, ())


def test_a_retired_day_is_no_suspect() -> None:
    found = compared(holding(YOUNG), holding(YOUNG))
    found.short, found.ahead = {OLD}, {OLD}
    assert found.differs
    found.leave_out(Gone(rows=frozenset({date(2026, 3, 1)})))
    assert found.suspects(SECOND, deep=False) is None
    assert [note for note in found.notes if "rows of 2026-03-01 were removed for their age" in note] == found.notes


def test_rows_are_still_compared_with_the_ledger_where_only_the_index_is_retired() -> None:
    found = compared(holding(OLD, YOUNG), holding(YOUNG))
    found.ahead = {OLD}
    gone = Gone(documents=frozenset({date(2026, 3, 1)}))
    found.leave_out(gone)
    assert found.suspects(SECOND, deep=False) is None
    found.short = {OLD}
    found.leave_out(gone)
    suspects = found.suspects(SECOND, deep=False)
    assert suspects is not None
    assert (suspects.places, suspects.whole, suspects.gone) == (set(), {OLD}, gone)


def test_days_that_are_kept_stay_suspect() -> None:
    found = compared(holding(OLD), holding(YOUNG))
    found.short, found.refused = {OLD, YOUNG}, REFUSED
    found.leave_out(Gone(rows=frozenset({date(2026, 3, 1)}), refused=frozenset({1})))
    suspects = found.suspects(SECOND, deep=False)
    assert suspects is not None
    assert (suspects.places, suspects.short, suspects.refused) == ({YOUNG}, {YOUNG}, REFUSED[:1])


def test_with_nothing_different_nobody_asks_what_was_retired() -> None:
    assert not compared(holding(OLD, YOUNG), holding(OLD, YOUNG)).differs
