"""What a maintenance task did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done or, in a dry run, would be. ``detail``: how much of what, for a person."""

    action: str
    target: str
    detail: str


Told = Callable[[Step], None]
"""Hears each step once it is done."""
