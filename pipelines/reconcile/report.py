"""The report of a run: one HTML page that needs no network, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pipelines.reconcile import page_details, page_figures
from pipelines.reconcile.advice import Mended, advise
from pipelines.reconcile.markup import Markup, tag
from pipelines.reconcile.model import Finding, Run
from pipelines.reconcile.style import CSS
from pipelines.reconcile.wording import Limits, iso, outcome, shown, total_findings, window

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Even if a value got through unescaped, a browser would neither run nor fetch anything."""
PARTS = {
    "verdict": "Verdict",
    "figures": "Figures",
    "findings": "Findings",
    "hours": "Hours",
    "trend": "Trend",
    "reasons": "Reasons",
    "offsets": "Offsets and ledger",
    "notes": "Notes",
}


@dataclass(frozen=True, slots=True)
class Report:
    """A run and what belongs to it.

    ``findings``: the first ones, some hundred at most; how many there are says ``run.kinds``. ``history``: the runs of
    30 days, with or without this one. ``top_reasons``: reason of a finding → findings, most first. ``mended``: by a
    repair at once; the findings are as they were before it.
    """

    run: Run
    findings: Sequence[Finding] = ()
    history: Sequence[Run] = ()
    top_reasons: Sequence[tuple[str, int]] = ()
    limits: Limits = field(default_factory=Limits)
    mended: Mended | None = None


def html(report: Report) -> str:
    """The page, self-contained, to be written as UTF-8."""
    run = report.run
    title = f"Reconciliation of {run.topic}: {outcome(run).upper()}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(CSS)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', _header(run), _main(report), _footer(run)), lang='en')}\n"


def _header(run: Run) -> Markup:
    links = [tag("li", tag("a", text, href=f"#{name}")) for name, text in PARTS.items()]
    return tag(
        "header",
        tag("h1", f"Reconciliation of {run.topic}"),
        tag("p", window(run), class_="soft"),
        tag("nav", tag("ul", links), aria_label="Parts of this page"),
    )


def _main(report: Report) -> Markup:
    run = report.run
    return tag(
        "main",
        page_figures.verdict(run, report.mended),
        page_figures.figures(run),
        page_details.findings(run, report.findings),
        page_details.hours(run),
        page_figures.trend(run, report.history, report.limits),
        page_figures.reasons(report.top_reasons),
        page_details.offsets(run),
        page_details.notes(run),
    )


def _footer(run: Run) -> Markup:
    ended = f", ended {shown(run.finished_at)}" if run.finished_at else ""
    return tag("footer", tag("p", "Run ", tag("code", run.run_id), f", started {shown(run.started_at)}{ended} UTC."))


def as_json(report: Report) -> dict[str, Any]:
    """The same for programs: plain values, times as ISO text in UTC.

    Texts are as they were stored: ``json.dumps`` as it is by default escapes what is no valid UTF-8.
    """
    run, advice = report.run, advise(report.run, report.mended)
    return {
        "run": _plain(asdict(run)) | {"share": run.share, "kinds": _counts(run.kinds, "kind", "side", "findings")},
        "outcome": advice.name,
        "headline": advice.headline,
        "next": [{"text": step.text, "command": step.command} for step in advice.steps],
        "runbook": advice.page,
        "thresholds": {"investigate_from": report.limits.investigate, "escalate_above": report.limits.escalate},
        "findings_total": total_findings(run),
        "findings": [_plain(asdict(one)) for one in report.findings],
        "history": [_past(past) for past in report.history],
        "top_reasons": _counts(report.top_reasons, "reason", "findings"),
        "repair": asdict(report.mended) if report.mended else None,
    }


def _past(run: Run) -> dict[str, Any]:
    names = ("run_id", "started_at", "window_from", "window_until", "records", "discrepant", "lost", "share")
    return {**_plain({name: getattr(run, name) for name in names}), "outcome": outcome(run)}


def _counts(rows: Sequence[tuple[Any, ...]], *names: str) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return iso(value) if isinstance(value, datetime) else value
