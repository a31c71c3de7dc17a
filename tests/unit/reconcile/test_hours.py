"""Which hours are settled, which window is looked at, and up to where everything is proven."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reconcile.hours import (
    ceil_hour,
    complete_until,
    default_window,
    floor_hour,
    from_ms,
    hours_of,
    in_ms,
    late_since,
    merged,
    never_looked_at,
    settled_until,
)

DAY = datetime(2026, 3, 1, tzinfo=UTC)
GRACE = timedelta(minutes=15)


def at(hour: float) -> datetime:
    return DAY + timedelta(hours=hour)


def test_hours_are_cut_and_counted_whole() -> None:
    assert (floor_hour(at(5.5)), ceil_hour(at(5.5)), ceil_hour(at(5))) == (at(5), at(6), at(5))
    assert hours_of((at(1), at(4))) == [at(1), at(2), at(3)]
    assert hours_of((at(4), at(1))) == []
    assert from_ms(in_ms(at(7))) == at(7)


@pytest.mark.parametrize(
    ("now", "behind", "settled"),
    [
        (12.5, 0.0, 12.0),
        (12.2, 0.0, 11.0),  # the grace of hour 11 is not over
        (12.25, 0.0, 12.0),
        (12.5, 0.3, 11.0),  # a job has read up to 12:12 only
        (12.5, 6.0, 6.0),
        (12.5, 500.0, 12.0 - 168),
    ],
)
def test_an_hour_is_settled_when_its_grace_is_over_and_both_jobs_have_passed_it(
    now: float, behind: float, settled: float
) -> None:
    asked: list[datetime] = []

    def has_passed(moment: datetime) -> bool:
        asked.append(moment)
        return moment <= at(now - behind)

    assert settled_until(at(now), GRACE, has_passed) == at(settled)
    assert len(asked) <= 10


def test_the_default_is_what_is_not_proven_yet() -> None:
    assert default_window(at(12.5), at(12), at(9)) == (at(9), at(12))
    assert default_window(at(12.5), at(12), None) == (at(-12), at(12))
    assert default_window(at(12.5), at(12), at(-100)) == (at(-12), at(12))


def test_with_nothing_new_it_is_today_or_yesterday() -> None:
    assert default_window(at(12.5), at(12), at(12)) == (at(0), at(12))
    assert default_window(at(0.5), at(0), at(0)) == (at(-24), at(0))


HOURS = st.integers(0, 40)
WINDOWS = st.lists(st.tuples(HOURS, HOURS))


@given(WINDOWS)
def test_merging_keeps_every_hour_once(pairs: list[tuple[int, int]]) -> None:
    windows = [(at(a), at(b)) for a, b in pairs]
    kept = [h for w in merged(windows) for h in hours_of(w)]
    assert kept == sorted({h for w in windows for h in hours_of(w)})


@given(WINDOWS, st.lists(HOURS))
def test_nothing_below_the_watermark_is_unproven_or_open(pairs: list[tuple[int, int]], open_: list[int]) -> None:
    windows, open_hours = [(at(a), at(b)) for a, b in pairs], [at(h) for h in open_]
    proven = {h for w in windows for h in hours_of(w)}
    until = complete_until(windows, open_hours)
    if not proven:
        assert until is None
        return
    assert until is not None
    below = {h for h in (at(n) for n in range(41)) if min(proven) <= h < until}
    assert below <= proven
    assert not below & set(open_hours)
    assert until not in proven or until in open_hours


@given(st.lists(st.tuples(HOURS, HOURS, st.lists(HOURS, max_size=2))))
def test_only_open_findings_move_the_watermark_back(runs: list[tuple[int, int, list[int]]]) -> None:
    """Whatever hours anybody asks for, in whatever order."""
    proven: list[tuple[datetime, datetime]] = []
    before = None
    for start, end, open_ in runs:
        proven.append((at(start), at(end)))
        until = complete_until(proven, [at(h) for h in open_], before)
        if before is not None:
            assert until is not None
            assert until >= before or until in {at(h) for h in open_}
        before = until


def test_hours_proven_before_or_after_a_gap_leave_the_watermark_where_it_is() -> None:
    proven = [(at(20), at(24)), (at(24), at(30))]
    assert complete_until(proven, (), at(24)) == at(30)
    assert complete_until([(at(0), at(4)), *proven], (), at(24)) == at(30)
    assert complete_until([(at(0), at(4)), *proven], [at(2)], at(24)) == at(30)
    assert complete_until([*proven, (at(33), at(40))], (), at(30)) == at(30)
    assert complete_until([*proven, (at(33), at(40))], [at(22)], at(30)) == at(22)
    assert complete_until([(at(33), at(40))], (), at(30)) == at(30), "the runs that proved it are forgotten"
    assert never_looked_at([(at(0), at(4)), *proven, (at(33), at(40))], at(24)) == (at(30), at(33))
    assert never_looked_at([(at(0), at(4)), *proven], at(24)) is None
    assert never_looked_at([(at(0), at(4)), *proven], None) == (at(4), at(20))
    assert never_looked_at([], None) is None


def test_late_records_are_those_that_the_last_run_could_not_know() -> None:
    week = timedelta(days=7)
    assert late_since(at(50), None, None) == at(50) - week
    assert late_since(at(50), at(2), None) == at(2) - week
    assert late_since(at(50), at(2), at(-9)) == at(-9) - week, "what no job had read when it began may be older"
