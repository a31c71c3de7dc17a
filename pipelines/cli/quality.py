"""``sdp quality``: whether a day's rows are what they must be, by Great Expectations."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.options import Env, Json, Set, err, load, print_json, say

if TYPE_CHECKING:
    from pipelines.quality.result import Checked, DayChecked

Day = Annotated[str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="Event day, UTC; yesterday unless given.")]
Docs = Annotated[
    Path | None,
    typer.Option("--docs", metavar="FOLDER", help="Where its pages go; <home>/quality/docs unless given."),
]

_STATES = ("passed", "failed", "skipped")
_STYLES = {"passed": "green", "skipped": "yellow", "failed": "bold red"}


def register(app: typer.Typer) -> None:
    """Add this command to ``sdp``."""
    app.command("quality")(quality)


def quality(day: Day = None, docs: Docs = None, as_json: Json = False, env: Env = None, overrides: Set = None) -> None:
    """Check the rows of a day: complete, in range, unique, as many and as successful as usual.

    Example: sdp quality --day 2026-01-31

    The expectations are those of conf/quality/api6-logs.yaml, their limits the settings quality.*. Changes no table;
    writes pages that a browser opens without network. Exit codes: 0 fine, also if only warnings failed, 1 a critical
    expectation failed, 2 wrong use, 3 infrastructure unavailable.
    """
    wanted = _parse(day) if day else (datetime.now(UTC) - timedelta(days=1)).date()
    settings = load(env, overrides)
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    with err.status(f"checking the rows of {wanted} …"):
        found = bootstrap.quality(settings, docs or settings.home_path / "quality" / "docs")(wanted)
    print_json(as_data(found)) if as_json else show(found)
    if found.failed:
        raise typer.Exit(1)


def as_data(found: DayChecked) -> dict[str, Any]:
    """The outcome as one JSON object."""
    return {
        "day": found.day.isoformat(),
        "rows": found.rows,
        "refused": found.refused,
        "passed": not found.failed,
        "reasons": [_reason(one) for one in found.failed],
        "expectations": [_data(one) for one in found.checked],
        "pages": str(found.pages),
    }


def show(found: DayChecked) -> None:
    """One line per expectation, the verdict with its reasons, and where the pages are."""
    say(f"{found.day}: {found.rows:,} rows, {found.refused:,} refused records")
    width = max(len(one.expectation.id) for one in found.checked)
    for one in found.checked:
        what = one.expectation
        say(f"  {one.state.value:<8}{what.severity.value:<10}{what.id:<{width}}  {one.found}", _style(one))
    _say_verdict(found)
    say(f"pages: {found.pages}")


def _say_verdict(found: DayChecked) -> None:
    total = len(found.checked)
    if found.failed:
        say(f"FAILED: {len(found.failed)} of {total} expectations, critical", _STYLES["failed"])
        for one in found.failed:
            say(f"  {_reason(one)}")
        return
    passed, failed, skipped = (sum(one.state.value == state for one in found.checked) for state in _STATES)
    parts = [f"{passed} of {total} expectations are met, none that is critical failed"]
    parts += [f"{failed} failed with a warning"] * bool(failed) + [f"{skipped} skipped"] * bool(skipped)
    say(", ".join(parts), _STYLES["skipped" if failed else "passed"])


def _reason(one: Checked) -> str:
    return f"{one.expectation.id}: {one.found}. Expected: {one.expectation.means}"


def _style(one: Checked) -> str:
    return "yellow" if one.state.value == "failed" and not one.is_critical_failure else _STYLES[one.state.value]


def _data(one: Checked) -> dict[str, Any]:
    what = one.expectation
    return {
        "id": what.id,
        "of": what.of.value,
        "column": what.arguments.get("column"),
        "severity": what.severity.value,
        "state": one.state.value,
        "means": what.means,
        "found": one.found,
    }


def _parse(day: str) -> date:
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise typer.BadParameter(f"expected a day such as 2026-01-31, not {day!r}") from None
