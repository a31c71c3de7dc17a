"""What the numbers of a reconciliation mean."""

from __future__ import annotations

from pipelines.reconcile.model import Verdict


def doubted(word: Verdict | None) -> Verdict | None:
    """The verdict where something is wrong that is no record's: at least a warning."""
    return Verdict.WARNING if word is Verdict.OK else word


def verdict(records: int, discrepant: int, lost: int, *, investigate: float, escalate: float) -> Verdict:
    """The verdict of a run. Source: spec/1.

    ``investigate``, ``escalate``: shares, 0 to 1; from the first on, and above the second. ``lost``: records that are
    missing somewhere without an explanation: at least a warning, whatever their share.
    """
    share = discrepant / records if records else float(discrepant > 0)
    if share > escalate:
        return Verdict.ESCALATE
    if discrepant and share >= investigate:
        return Verdict.INVESTIGATE
    return Verdict.WARNING if lost else Verdict.OK
