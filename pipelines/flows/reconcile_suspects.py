"""What the first level of a reconciliation hands to the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.reconcile.figures import Figures, Place
from pipelines.reconcile.hours import Window
from pipelines.reconcile.retired import Gone
from pipelines.reconcile.witnesses import Bounds
from pipelines.records import OffsetRange


@dataclass(slots=True)
class Suspects:
    """What the first level could not explain.

    ``places``: table and documents differ. ``whole``: one of them differs from its job's ledger. ``short``: those where
    this is the table. ``refused``: batches that have lost or gained invalid rows. ``strays``: indices with documents
    of other days. ``points``: coordinates to compare whatever the figures say, instead of all these. ``gone``: what
    was removed for its age.
    """

    windows: Sequence[Window]
    bounds: Bounds
    table: Figures = field(default_factory=Figures)
    documents: Figures = field(default_factory=Figures)
    places: set[Place] = field(default_factory=set)
    whole: set[Place] = field(default_factory=set)
    short: set[Place] = field(default_factory=set)
    refused: tuple[OffsetRange, ...] = ()
    strays: set[str] = field(default_factory=set)
    points: tuple[tuple[int, int], ...] = ()
    deep: bool = False
    gone: Gone = field(default_factory=Gone)
