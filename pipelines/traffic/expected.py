"""What must become of the traffic, counted while it is generated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pipelines.traffic.defects import Defect, Outcome
from pipelines.traffic.generate import Message


class Expected:
    """Counts of messages by defect, and the totals that follow from each defect's outcome.

    ``valid + invalid == count``; ``duplicates`` are part of ``invalid``, ``warnings`` part of ``valid``.
    """

    def __init__(self) -> None:
        self._by_defect: Counter[Defect | None] = Counter()

    def add(self, messages: Iterable[Message]) -> None:
        """Count messages."""
        self._by_defect.update(message.defect for message in messages)

    @property
    def count(self) -> int:
        return self._by_defect.total()

    @property
    def valid(self) -> int:
        return self.count - self.invalid

    @property
    def invalid(self) -> int:
        return self._of(Outcome.INVALID) + self.duplicates

    @property
    def duplicates(self) -> int:
        return self._of(Outcome.DUPLICATE)

    @property
    def warnings(self) -> int:
        return self._of(Outcome.WARNING)

    @property
    def defects(self) -> dict[Defect, int]:
        """Defect → messages, in the order of the enum, those that occur."""
        return {defect: self._by_defect[defect] for defect in Defect if self._by_defect[defect]}

    def as_json(self) -> dict[str, Any]:
        """All counts as plain values."""
        totals = {name: getattr(self, name) for name in ("count", "valid", "invalid", "duplicates", "warnings")}
        return totals | {"defects": {str(defect): number for defect, number in self.defects.items()}}

    def _of(self, outcome: Outcome) -> int:
        return sum(n for defect, n in self._by_defect.items() if defect is not None and defect.outcome is outcome)
