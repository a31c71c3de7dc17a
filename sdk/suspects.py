"""Which record of a refused batch is the one that is too large?"""

from __future__ import annotations

from collections import deque

from sdk.pending import Pending


class Suspects:
    """Records whose batch was too large. Kafka refuses the whole batch, so they are sent again by halves."""

    def __init__(self) -> None:
        self._refused: list[Pending] = []
        self._groups: deque[list[Pending]] = deque()

    def __bool__(self) -> bool:
        return bool(self._refused or self._groups)

    def add(self, pending: Pending) -> None:
        """A record of a refused batch. One that was alone in its batch is guilty and does not belong here."""
        self._refused.append(pending)

    def next_group(self) -> list[Pending]:
        """Records to send while nothing else is under way; one that is alone is marked so."""
        if self._refused:
            middle = (len(self._refused) + 1) // 2
            halves = self._refused[:middle], self._refused[middle:]
            self._groups.extendleft(half for half in reversed(halves) if half)
            self._refused = []
        group = self._groups.popleft()
        for pending in group:
            pending.is_alone = len(group) == 1
        return group

    def put_back(self, group: list[Pending]) -> None:
        """The client had no room for these."""
        self._groups.appendleft(group)

    def take_all(self) -> list[Pending]:
        """All of them; none is left."""
        found = [*self._refused, *(p for group in self._groups for p in group)]
        self._refused = []
        self._groups.clear()
        return found
