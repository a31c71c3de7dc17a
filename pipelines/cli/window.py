"""Spans of time as commands take them: ``2h`` means two hours before now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

Since = Annotated[
    str, typer.Option("--since", help="Where to begin: 90s, 15m, 2h, 7d before now, or an ISO time (UTC).")
]
Until = Annotated[str, typer.Option("--until", help="Where to end, left out itself; in the same words.")]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")


def parse_when(text: str, now: datetime) -> datetime:
    """``now``, a span before it (90s, 15m, 2h, 7d, 1w), or an ISO time, which is UTC unless it says otherwise.

    ``now`` carries a zone; so does the result. Raises typer.BadParameter.
    """
    try:
        if text == "now":
            return now
        if span := _SPAN.fullmatch(text):
            return now - timedelta(**{_UNITS[span[2]]: float(span[1])})
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"expected now, a span such as 90s, 15m, 2h or 7d, or a time such as 2026-01-31T12:00:00, not {text!r}"
        ) from None


def parse_window(since: str, until: str, now: datetime) -> tuple[datetime, datetime]:
    """Both ends of a window, the earlier one first. Raises typer.BadParameter if they are the other way round."""
    begin, end = parse_when(since, now), parse_when(until, now)
    if begin >= end:
        raise typer.BadParameter(f"--since {since} is not before --until {until}")
    return begin, end
