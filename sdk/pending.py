"""A record on its way, seen from its sender: the future of its delivery."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sdk.delivery import Delivered
from sdk.segment import Item


class Pending(Future[Delivered]):
    """Resolves when the record is acknowledged. It can't be cancelled: what was accepted is delivered.

    ``item``: the record while it is in memory; ``number``: its place in the spool, if it has one; ``is_alone``: whether
    it is alone in its batch. A record that waits on disk costs memory only while its sender holds the future or has put
    a callback on it.
    """

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item: Item | None = item
        self.number: int | None = None
        self.is_alone = False
        self.is_listened = False
        self._resting: set[Pending] | None = None

    def cancel(self) -> bool:
        return False

    def add_done_callback(self, fn: Callable[[Future[Delivered]], Any]) -> None:
        self.is_listened = True
        resting = self._resting
        if resting is not None:
            resting.add(self)
            if self._resting is None:  # sent on in this moment
                resting.discard(self)
        super().add_done_callback(fn)

    def rest(self, listened: set[Pending]) -> None:
        """The record is on disk only. ``listened`` holds those that must not be forgotten."""
        self.item = None
        self._resting = listened

    def wake(self, item: Item, number: int) -> None:
        """The record is in memory again."""
        self.item, self.number, self._resting = item, number, None
