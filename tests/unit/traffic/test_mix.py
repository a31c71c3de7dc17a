"""Shares of defects: presets, groups, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UsageError
from pipelines.traffic.defects import Defect, Outcome
from pipelines.traffic.mix import PRESETS, parse_mix

INVALID = {Outcome.INVALID, Outcome.DUPLICATE}


def invalid_ppm(mix: str) -> int:
    return sum(ppm for defect, ppm in parse_mix(mix).items() if defect.outcome in INVALID)


def test_presets() -> None:
    assert parse_mix("clean") == {}
    assert invalid_ppm("default") == 15_000
    assert invalid_ppm("hostile") == 500_000
    assert set(parse_mix("default")) == set(Defect)
    assert all(ppm >= 100 for ppm in PRESETS["default"].values())


def test_explicit_shares() -> None:
    assert parse_mix("null_value=0.01, late_days=5%") == {Defect.NULL_VALUE: 10_000, Defect.LATE_DAYS: 50_000}


@given(st.integers(0, 900_000))
def test_groups_add_up_exactly(ppm: int) -> None:
    assert invalid_ppm(f"invalid={ppm / 1_000_000:.6f}") == ppm


def test_groups_spare_the_huge_value() -> None:
    assert Defect.HUGE_VALUE not in parse_mix("warnings=0.1")


@pytest.mark.parametrize(
    "text",
    ["", "unknown", "null_value", "null_value=", "null_value=x", "nope=0.1", "null_value=2", "invalid=0.95", "late=-1"],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--mix"):
        parse_mix(text)
