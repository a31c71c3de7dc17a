"""Parts of the report's page: the verdict, what to do next, the figures behind it, trend and reasons."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.reconcile import trend_chart
from pipelines.reconcile.advice import Mended, Step, advise
from pipelines.reconcile.layout import chart, key, number, section, table
from pipelines.reconcile.markup import Markup, tag
from pipelines.reconcile.model import Run, RunState
from pipelines.reconcile.wording import Limits, in_order, percent, shown, side_name, way, window


def verdict(run: Run, mended: Mended | None) -> Markup:
    """What was proved, and what to do next."""
    advice = advise(run, mended)
    return tag(
        "section",
        tag("p", tag("strong", advice.name.upper())),
        tag("p", advice.headline),
        tag("p", "Why it failed: ", tag("code", run.failure)) if run.failure else None,
        _compared_again(mended) if mended and mended.again else None,
        tag("ol", [_step(step) for step in advice.steps]) if advice.steps else tag("p", "Nothing to do."),
        tag("p", "More in the runbook: ", tag("code", advice.page), class_="soft"),
        id="verdict",
        aria_label="Verdict",
        class_=f"verdict {advice.name}",
    )


def _compared_again(mended: Mended) -> Markup:
    return tag("p", "Compared again after the repair, by ", tag("code", ", ".join(mended.again)))


def _step(step: Step) -> Markup:
    return tag("li", step.text, tag("code", step.command) if step.command else None)


def figures(run: Run) -> Markup:
    """Numbers of the run."""
    numbers = tag("dl", [_figure(*figure) for figure in _figures(run)])
    return section("figures", "Figures", numbers, _kinds(run) if run.kinds else None)


def _figures(run: Run) -> list[tuple[str, str, bool]]:
    """(name, value, whether it needs a line of its own). What a failed run has counted says nothing and is left out."""
    seconds = ", ".join(f"{step} {taken:,.1f} s" for step, taken in in_order(run.seconds))
    proven = [
        ("records", f"{run.records:,}", False),
        ("discrepant", f"{run.discrepant:,}", False),
        ("share", percent(run.share), False),
        ("lost, unexplained", f"{run.lost:,}", False),
        ("proven complete until (UTC)", shown(run.complete_until) if run.complete_until else "no hour yet", False),
    ]
    return [
        *(proven if run.state is RunState.DONE else []),
        *([("settled until (UTC)", shown(run.settled_until), False)] if run.settled_until else []),
        ("started (UTC)", shown(run.started_at), False),
        ("window", window(run), True),
        ("compared", way(run), True),
        *([("took", seconds, True)] if seconds else []),
    ]


def _figure(name: str, value: str, is_long: bool) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value), class_="long" if is_long else None)


def _kinds(run: Run) -> Markup:
    rows = [
        tag("tr", tag("th", kind.replace("_", " "), scope="row"), tag("td", side_name(side)), number(count))
        for kind, side, count in run.kinds
    ]
    return table("Findings by kind and side", ["kind", "side", "#findings"], rows)


def trend(run: Run, history: Sequence[Run], limits: Limits) -> Markup:
    """The share of this run and of those before it."""
    runs = [*(past for past in history if past.run_id != run.run_id), run]
    title = f"Discrepancy trend, {trend_chart.DAYS} days"
    if all(one.state is RunState.RUNNING for one in runs):
        return section("trend", title, tag("p", "No run has ended yet."))
    keys = [key(trend_chart.shape(name), str(name), "-7 -7 14 14") for name in trend_chart.SHAPES]
    said = f"Logarithmic; {limits}. A failed run proves nothing and stands at the bottom."
    return section("trend", title, chart("Discrepancy trend", trend_chart.chart(runs, limits), keys, said))


def reasons(top: Sequence[tuple[str, int]]) -> Markup:
    """The most frequent reasons of findings, as bars."""
    title = "Top reasons"
    if not top:
        return section("reasons", title, tag("p", "No finding has a reason."))
    most = max(count for _, count in top) or 1
    rows = [
        tag("tr", tag("th", reason, scope="row"), number(count), tag("td", _bar(count / most), class_="bars"))
        for reason, count in top
    ]
    body = table("Findings by reason", ["reason", "#findings", "to scale"], rows, class_="reasons")
    return section("reasons", title, body)


def _bar(part: float) -> Markup:
    bar = tag("rect", width=max(part * 100, 0.5), height=12, class_="bar")
    return tag("svg", bar, viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true")
