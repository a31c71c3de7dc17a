"""The further parts of the report's page: findings, hours, offsets, notes."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.reconcile import hours_chart
from pipelines.reconcile.advice import RUNBOOK
from pipelines.reconcile.layout import NONE, chart, key, number, section, table
from pipelines.reconcile.markup import Markup, joined, tag
from pipelines.reconcile.model import Finding, HourCounts, OffsetsCheck, Run, RunState
from pipelines.reconcile.wording import COUNTED, counted, hour_result, phrase, shown, total_findings, unequal
from pipelines.records import FINDINGS

_TABLE = f"sdp.{FINDINGS}"
_OFFSETS = ("earliest", "latest", "first", "until", "covered", "uncovered", "doubled", "lost")
_OFFSET_HEADINGS = (
    *("job, partition", "#Kafka from", "#Kafka until", "#ledger from", "#ledger until"),
    *("#in one batch", "#in no batch", "#in several", "#accepted as lost", "result"),
)


def findings(run: Run, first_ones: Sequence[Finding]) -> Markup:
    """One row per record that is not the same everywhere."""
    total = total_findings(run)
    if not first_ones:
        return section("findings", "Findings", tag("p", _no_findings(run, total)))
    caption = f"{counted(len(first_ones), 'finding')}, all there are."
    if total > len(first_ones):
        caption = f"The first {len(first_ones):,} of {total:,}. All are in {_TABLE}, by run_ids {run.run_id}."
    headings = ("record", "finding", "hour (UTC)", "difference, reason", "document", "state")
    rows = [_finding(one) for one in first_ones]
    causes = tag("p", "Causes and cures of each kind: ", tag("code", f"{RUNBOOK}#kinds-of-findings"), class_="soft")
    return section("findings", "Findings", table(caption, headings, rows, class_="findings"), causes)


def _no_findings(run: Run, total: int) -> str:
    if run.state is not RunState.DONE:
        return "None, which means nothing: the run came to no result."
    return f"None of {total:,} here; they are in {_TABLE}." if total else "None."


def _finding(one: Finding) -> Markup:
    record = f"{one.kafka_topic}-{one.kafka_partition}@{one.kafka_offset}"
    return tag(
        "tr",
        tag("th", tag("code", record), scope="row"),
        tag("td", phrase(one.kind, one.side), _small("request", one.request_id), class_="text"),
        tag("td", shown(one.hour), _small("first seen", shown(one.first_seen))),
        tag("td", _difference(one), class_="text"),
        tag("td", tag("code", one.es_index or NONE), _small("id", one.es_id), class_="text"),
        tag("td", str(one.state), _small("by", one.closed_by)),
    )


def _small(name: str, value: str | None) -> Markup | None:
    return None if value is None else tag("small", f"{name} {value}")


def _difference(one: Finding) -> Markup:
    reason = tag("div", one.reason) if one.reason else None
    if one.field is None:
        return joined(reason or NONE)
    expected, found = (tag("code", _value(value)) for value in (one.expected, one.found))
    return joined(tag("div", tag("code", one.field), ": expected ", expected, ", found ", found), reason)


def _value(value: str | None) -> str:
    """An empty text must not look like no value, nor like nothing at all."""
    return NONE if value is None else value or '""'


def hours(run: Run) -> Markup:
    """Counts by event hour: those that differ in a table, all in the chart and behind a click."""
    if not run.hours:
        return section("hours", "Hours", tag("p", "No hour was compared."))
    keys = [
        key(tag("rect", width=12, height=12, class_=f"side{n}"), name, "0 0 12 12")
        for n, (_, name) in enumerate(COUNTED, start=1)
    ]
    said = (
        "Four equal bars: as many records on all sides; a loss and a duplicate may still cancel. "
        "A triangle: records of the hour have open findings."
    )
    differing = [hour for hour in run.hours if unequal(hour)]
    return section(
        "hours",
        "Hours",
        chart("Records by event hour", hours_chart.chart(run.hours), keys, said),
        _hours_table("Hours that differ", run, differing) if differing else tag("p", "No hour differs."),
        tag(
            "details",
            tag("summary", f"Show {counted(len(run.hours), 'hour')}"),
            _hours_table("All hours", run, run.hours),
        ),
    )


def _hours_table(caption: str, run: Run, rows: Sequence[HourCounts]) -> Markup:
    headings = ("hour (UTC)", *(f"#{name}" for _, name in COUNTED), "#invalid rows", "#open findings", "result")
    return table(caption, headings, [_hour(run, hour) for hour in rows])


def _hour(run: Run, hour: HourCounts) -> Markup:
    return tag(
        "tr",
        tag("th", shown(hour.hour), scope="row"),
        [number(getattr(hour, name)) for name, _ in COUNTED],
        [number(hour.invalid), number(hour.discrepant)],
        tag("td", hour_result(run, hour)),
        class_="differs" if hour.discrepant else None,
    )


def offsets(run: Run) -> Markup:
    """What Kafka has and what the ledger accounts for, by job and partition."""
    if not run.offsets:
        return section("offsets", "Offsets and ledger", tag("p", "No offset was compared."))
    caption = "Every offset that a job has read must be in exactly one of its batches."
    return section(
        "offsets", "Offsets and ledger", table(caption, _OFFSET_HEADINGS, [_partition(check) for check in run.offsets])
    )


def _partition(check: OffsetsCheck) -> Markup:
    return tag(
        "tr",
        tag("th", f"{check.job} {check.partition}", scope="row"),
        [number(getattr(check, name)) for name in _OFFSETS],
        tag("td", _result(check), class_="text"),
        class_="differs" if check.uncovered or check.doubled else None,
    )


def _result(check: OffsetsCheck) -> str:
    text = "does not add up" if check.uncovered or check.doubled else "adds up"
    if check.earliest > check.first:
        text += f"; Kafka has deleted those before {check.earliest:,}, the ledger stands for them"
    if check.latest > check.until:
        text += f"; {check.latest - check.until:,} not read yet"
    return text


def notes(run: Run) -> Markup:
    """What a reader must know besides."""
    return section(
        "notes", "Notes", tag("ul", [tag("li", note) for note in run.notes]) if run.notes else tag("p", "None.")
    )
