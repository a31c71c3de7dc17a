"""A reconciliation told with fakes: how far back it asks, and what it says of the watermark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from pipelines.flows.reconcile import Reconcile, Wanted
from pipelines.flows.trouble import Patience
from pipelines.reconcile.model import Past

NOW = datetime(2026, 3, 12, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Enough(Exception):
    """The test has seen what it wanted."""


class FakeFirst:
    """Notes how far back it is asked."""

    def ledger(self, window: Any, since: datetime, now: datetime) -> Any:
        self.since = since
        raise Enough


class FakeHistory:
    def __init__(self, past: Past) -> None:
        self._past = past

    def prepare(self) -> None: ...

    def past(self, run_id: str | None) -> Past:
        return self._past


def reconciling(first: FakeFirst, history: FakeHistory) -> Reconcile:
    return Reconcile(
        topic="logs",
        first=cast(Any, first),
        records=cast(Any, None),
        history=cast(Any, history),
        patience=lambda: Patience("a test", 0),
        publish=lambda *_: None,
        grace=timedelta(minutes=15),
        investigate=0.001,
        escalate=0.01,
        now=lambda: NOW,
    )


def test_late_records_are_looked_for_from_the_last_run_on() -> None:
    first, last = FakeFirst(), NOW - timedelta(days=5)
    past = Past(((last - 48 * HOUR, last),), last=last, settled=last - HOUR, complete_until=last)
    with pytest.raises(Enough):
        reconciling(first, FakeHistory(past)).run(Wanted())
    assert first.since == last - HOUR - timedelta(days=7)
