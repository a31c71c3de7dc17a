"""Arguments of `sdp produce`."""

from __future__ import annotations

import pytest

from pipelines.cli.produce import parse_span, parse_until
from pipelines.errors import UsageError


@pytest.mark.parametrize(
    ("text", "ms"), [("0s", 0), ("250ms", 250), ("90m", 5_400_000), ("24h", 86_400_000), ("1.5d", 129_600_000)]
)
def test_span(text: str, ms: int) -> None:
    assert parse_span(text) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-31T12:00:00", 1_769_860_800_000),
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31T12:00:00.5+01:00", 1_769_857_200_500),
    ],
)
def test_until(text: str, ms: int) -> None:
    assert parse_until(text) == ms


def test_until_now_is_now() -> None:
    assert parse_until("now") > 1_700_000_000_000


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1w"])
def test_wrong_span(text: str) -> None:
    with pytest.raises(UsageError, match="--span"):
        parse_span(text)


def test_wrong_until() -> None:
    with pytest.raises(UsageError, match="--until"):
        parse_until("yesterday")
