"""The thresholds of the verdict, and the loss that no threshold forgives."""

from __future__ import annotations

import pytest

from pipelines.reconcile.model import Verdict
from pipelines.reconcile.verdict import doubted, verdict


@pytest.mark.parametrize(
    ("records", "discrepant", "lost", "expected"),
    [
        (0, 0, 0, Verdict.OK),
        (100_000, 0, 0, Verdict.OK),
        (100_000, 99, 0, Verdict.OK),
        (100_000, 99, 1, Verdict.WARNING),
        (10_000_000, 96, 96, Verdict.WARNING),
        (100_000, 100, 0, Verdict.INVESTIGATE),
        (100_000, 1_000, 1_000, Verdict.INVESTIGATE),
        (100_000, 1_001, 0, Verdict.ESCALATE),
        (0, 1, 0, Verdict.ESCALATE),
    ],
)
def test_verdicts(records: int, discrepant: int, lost: int, expected: Verdict) -> None:
    assert verdict(records, discrepant, lost, investigate=0.001, escalate=0.01) is expected


def test_doubt_is_at_least_a_warning_and_never_less_than_it_was() -> None:
    assert [doubted(v) for v in Verdict] == [Verdict.WARNING, *list(Verdict)[1:]]
    assert doubted(None) is None
