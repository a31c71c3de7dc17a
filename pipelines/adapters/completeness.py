"""The completeness watermark: a property of the valid table, where whoever reads the table can see it."""

from __future__ import annotations

from datetime import UTC, datetime

from pipelines.adapters.tables import Tables
from pipelines.records import COMPLETE_UNTIL, VALID


class Completeness:
    """Reads and sets it."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def until(self) -> datetime | None:
        """The hour up to which everything is proven complete; None as long as nothing is."""
        text = self._tables.property(VALID, COMPLETE_UNTIL)
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)

    def set(self, until: datetime | None) -> None:
        """Move it, also back: an hour may turn out not to be complete."""
        text = None if until is None else f"{until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._tables.set_property(VALID, COMPLETE_UNTIL, text)
