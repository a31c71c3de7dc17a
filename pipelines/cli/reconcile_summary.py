"""A run of ``sdp reconcile`` on one screen."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from pipelines.cli.options import print_table, say, spelt_out
from pipelines.reconcile.advice import Mended, advise
from pipelines.reconcile.model import Run, RunState, Verdict
from pipelines.reconcile.wording import (
    COUNTED,
    counted,
    hour_result,
    percent,
    shown,
    side_name,
    total_findings,
    unequal,
    way,
    window,
)

SHOWN_HOURS = 12
_STYLES = {Verdict.OK.value: "bold green", Verdict.WARNING.value: "bold yellow", RunState.RUNNING.value: "bold yellow"}


def show(run: Run, mended: Mended | None = None) -> None:
    """Verdict, window, findings, hours that differ, watermark, and the command that comes next."""
    advice = advise(run, mended)
    _say(f"{advice.name.upper()}: {advice.headline}", _STYLES.get(advice.name, "bold red"))
    _say(f"run {run.run_id}: {window(run)}; {way(run)}")
    if run.state is RunState.DONE:
        _show_figures(run)
    for note in run.notes:
        _say(f"note: {note}")
    if run.failure:
        _say(f"failed: {run.failure}")
    elif run.state is RunState.DONE:
        until = run.complete_until
        _say(f"complete until {shown(until)} UTC" if until else "nothing is proven complete yet")
    for step in advice.steps:
        _say(f"next: {step.command or step.text}")


def _show_figures(run: Run) -> None:
    figures = f"{counted(run.records)}, {run.discrepant:,} discrepant ({percent(run.share)}), {run.lost:,} lost"
    _say(f"{figures}; {counted(total_findings(run), 'finding')}")
    if run.kinds:
        print_table(_kinds(run))
    if any(map(unequal, run.hours)):
        print_table(_hours(run))


def _kinds(run: Run) -> Table:
    table = _table("finding", "side", "#findings")
    for kind, side, findings in run.kinds:
        table.add_row(_cell(kind.replace("_", " ")), _cell(side_name(side)), f"{findings:,}")
    return table


def _hours(run: Run) -> Table:
    """Those that differ only, the worst ones where there are many."""
    differing = [hour for hour in run.hours if unequal(hour)]
    worst = sorted(differing, key=lambda hour: (-hour.discrepant, hour.hour))[:SHOWN_HOURS]
    table = _table("hour (UTC)", *(f"#{name}" for _, name in COUNTED), "#open findings", "result")
    for hour in sorted(worst, key=lambda hour: hour.hour):
        counts = (f"{getattr(hour, name):,}" for name, _ in COUNTED)
        table.add_row(shown(hour.hour), *counts, f"{hour.discrepant:,}", hour_result(run, hour))
    if len(differing) > len(worst):
        table.caption = f"the worst {len(worst)} of {len(differing):,} hours that differ; --report has all"
    return table


def _table(*headings: str) -> Table:
    table = Table(caption_justify="left")
    for heading in headings:
        is_number = heading.startswith("#")
        table.add_column(heading.removeprefix("#"), justify="right" if is_number else "left", overflow="fold")
    return table


def _cell(value: str) -> Text:
    return Text(spelt_out(value))


def _say(text: str, style: str | None = None) -> None:
    say(spelt_out(text), style)
