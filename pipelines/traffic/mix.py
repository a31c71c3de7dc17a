"""How large a share of the traffic has which defect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from types import MappingProxyType

from pipelines.errors import UsageError
from pipelines.traffic.defects import Defect, Outcome

MILLION = 1_000_000
MAX_TOTAL = 900_000
"""Parts per million. A duplicate needs a sound record before it, so some must be left."""

Mix = Mapping[Defect, int]
"""Defect → parts per million of all records. Integers, so that counts are exact and add up."""

_HUGE = {Defect.HUGE_VALUE}
"""Kept out of groups: 1 MB each, a share of them would be all there is."""

GROUPS: Mapping[str, tuple[Defect, ...]] = MappingProxyType(
    {
        "invalid": tuple(d for d in Defect if d.outcome in (Outcome.INVALID, Outcome.DUPLICATE)),
        "warnings": tuple(d for d in Defect if d.outcome is Outcome.WARNING and d not in _HUGE),
        "late": tuple(d for d in Defect if d.outcome is Outcome.VALID),
    }
)
"""Names that stand for several defects in equal parts."""


def _spread(total_ppm: int, defects: Iterable[Defect]) -> dict[Defect, int]:
    """Equal parts that add up to the total exactly."""
    chosen = tuple(defects)
    each, rest = divmod(total_ppm, len(chosen))
    return {defect: each + (index < rest) for index, defect in enumerate(chosen)}


PRESETS: Mapping[str, Mix] = MappingProxyType(
    {
        "clean": {},
        "default": _spread(15_000, GROUPS["invalid"])
        | _spread(2_000, GROUPS["warnings"])
        | _spread(2_000, GROUPS["late"])
        | {Defect.HUGE_VALUE: 100},
        "hostile": _spread(500_000, GROUPS["invalid"])
        | _spread(20_000, GROUPS["warnings"])
        | _spread(20_000, GROUPS["late"])
        | {Defect.HUGE_VALUE: 100},
    }
)


def parse_mix(text: str) -> Mix:
    """A preset's name, or ``name=share,…`` with defects or groups and shares like ``0.01`` or ``1%``.

    Raises UsageError for an unknown name, a share that is no number from 0 to 1, or shares of more than 90 % together.
    """
    if text in PRESETS:
        return PRESETS[text]
    shares: dict[Defect, int] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        for defect, ppm in _spread(_ppm(part, share), _named(name)).items():
            shares[defect] = shares.get(defect, 0) + ppm
    if sum(shares.values()) > MAX_TOTAL:
        raise UsageError(f"--mix {text}: the shares must not exceed {MAX_TOTAL / MILLION:.0%} together")
    return shares


def _named(name: str) -> tuple[Defect, ...]:
    if name in GROUPS:
        return GROUPS[name]
    try:
        return (Defect._value2member_map_[name],)  # type: ignore[return-value]
    except KeyError:
        known = ", ".join([*PRESETS, *GROUPS, *Defect])
        raise UsageError(f"--mix: {name!r} is neither a preset, a group nor a defect; there are {known}") from None


def _ppm(part: str, share: str) -> int:
    try:
        number = Fraction(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--mix: expected name=share with a number like 0.01 or 1%, not {part!r}") from None
    if not 0 <= number <= 1:
        raise UsageError(f"--mix: a share lies between 0 and 1, not {part!r}")
    return round(number * MILLION)
