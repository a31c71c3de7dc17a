"""Chart: the share of discrepant records of each run over 30 days, beside the two thresholds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pipelines.reconcile.axes import LEFT, RIGHT, WIDTH, grid
from pipelines.reconcile.markup import Markup, tag
from pipelines.reconcile.model import Run, RunState, Verdict
from pipelines.reconcile.wording import Limits, outcome, percent, shown, utc

TOP, PLOT, NOTHING, AXIS = 12, 170, 26, 22
DAYS = 30
LOWEST, HIGHEST = -6, -1
"""Powers of ten that the axis shows at least: 0.0001 % to 10 %."""
SHAPES: dict[str, str] = {
    Verdict.OK: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    Verdict.WARNING: "M0-5l5 9h-10z",
    Verdict.INVESTIGATE: "M-4-4h8v8h-8z",
    Verdict.ESCALATE: "M0-6l6 6l-6 6l-6-6z",
    RunState.FAILED: "M-4-4l8 8M4-4l-8 8",
}
"""Outcome → its mark around the origin: told apart by shape as well as by colour."""


def shape(name: str) -> Markup:
    """The mark of an outcome."""
    return tag("path", d=SHAPES[name], class_=f"at-{name}")


def chart(runs: Sequence[Run], limits: Limits) -> Markup:
    """The chart with its title and a text in its place. ``runs``: at least one that has ended, in any order."""
    ended = sorted((run for run in runs if run.state is not RunState.RUNNING), key=lambda run: utc(run.started_at))
    end = utc(ended[-1].started_at)
    shown_runs = [run for run in ended if utc(run.started_at) >= end - timedelta(days=DAYS)]
    lowest, highest = _decades(
        [limits.investigate, limits.escalate, *(r.share for r in shown_runs if r.state is RunState.DONE)]
    )
    placed = [(run, _x(run, end), _y(run, lowest, highest)) for run in shown_runs]
    line = " ".join(f"{x:.1f},{y:.1f}" for run, x, y in placed if run.state is RunState.DONE)
    return tag(
        "svg",
        tag("title", "Share of discrepant records of each run, last 30 days", id="trend-chart-title"),
        tag("desc", _in_words(shown_runs, limits), id="trend-desc"),
        _axes(end, lowest, highest, limits),
        tag("polyline", points=line, class_="trend"),
        [_point(run, x, y) for run, x, y in placed],
        viewBox=f"0 0 {WIDTH} {TOP + PLOT + NOTHING + AXIS}",
        role="img",
        aria_labelledby="trend-chart-title trend-desc",
        class_="chart",
    )


def _decades(shares: Iterable[float]) -> tuple[int, int]:
    powers = [math.log10(share) for share in shares if share]
    return min([LOWEST, *(math.floor(p) for p in powers)]), max([HIGHEST, *(math.ceil(p) for p in powers)])


def _x(run: Run, end: datetime) -> float:
    part = 1 - (end - utc(run.started_at)) / timedelta(days=DAYS)
    return LEFT + 6 + part * (WIDTH - LEFT - RIGHT - 12)


def _y(run: Run, lowest: int, highest: int) -> float:
    proven = run.state is RunState.DONE
    return _height(run.share, lowest, highest) if proven and run.share else TOP + PLOT + NOTHING


def _height(share: float, lowest: int, highest: int) -> float:
    return TOP + (highest - math.log10(share)) / (highest - lowest) * PLOT


def _axes(end: datetime, lowest: int, highest: int, limits: Limits) -> Markup:
    floor = TOP + PLOT + NOTHING
    thresholds = (("investigate", limits.investigate), ("escalate", limits.escalate))
    decades = [(percent(10.0**power), _height(10.0**power, lowest, highest)) for power in range(lowest, highest + 1)]
    return tag(
        "g",
        [grid(y, text) for text, y in [("0%", floor), *decades]],
        [_threshold(name, _height(share, lowest, highest)) for name, share in thresholds],
        [_day(end, days) for days in range(0, DAYS + 1, 5)],
    )


def _threshold(name: str, y: float) -> Markup:
    return tag(
        "g",
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_=f"threshold at-{name}"),
        tag("text", name, x=LEFT + 4, y=y - 4, class_="heading"),
    )


def _day(end: datetime, days_ago: int) -> Markup:
    x = WIDTH - RIGHT - 6 - days_ago / DAYS * (WIDTH - LEFT - RIGHT - 12)
    text = f"{end - timedelta(days=days_ago):%m-%d}"
    return tag("text", text, x=min(x, WIDTH - RIGHT - 14), y=TOP + PLOT + NOTHING + 18, text_anchor="middle")


def _point(run: Run, x: float, y: float) -> Markup:
    name = outcome(run)
    said = f"{name}, {percent(run.share)} discrepant" if run.state is RunState.DONE else "failed, proves nothing"
    text = f"{shown(run.started_at)} UTC: {said}"
    return tag("g", tag("title", text), shape(name), transform=f"translate({x:.1f} {y:.1f})")


def _in_words(runs: Sequence[Run], limits: Limits) -> str:
    outcomes = Counter(outcome(run) for run in runs)
    parts = ", ".join(f"{outcomes[name]} {name}" for name in SHAPES if outcomes[name])
    worst = max((run for run in runs if run.state is RunState.DONE), key=lambda run: run.share, default=None)
    highest = f" Highest share: {percent(worst.share)}, {shown(worst.started_at)} UTC." if worst else ""
    return f"Runs: {parts}.{highest} Thresholds: {limits}."
