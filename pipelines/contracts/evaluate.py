"""Judge one record in plain Python, for producers and gateways (law 7). The stream does the same in SQL."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from math import isnan
from typing import Any

from pipelines.contracts import rules as r
from pipelines.records import Violation

Record = Mapping[str, Any]

SHOWN_CHARS = 80
"""How much of an offending value a message shows."""

MASK = "***"

OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}

_EXACT = 1 << 53
"""Whole numbers up to here are doubles too, so comparing them with a double needs no rounding."""


def evaluator(rules: r.RuleSet) -> Callable[[Record, int], list[Violation]]:
    """Compile a rule set once; the result maps (record, Kafka timestamp in ms) to all its violations, in file order.

    All rules become one function of Python: a call for each of them would take twice the time of what it asks.
    """
    known: dict[str, Any] = {}
    lines = [line for at, rule in enumerate(rules.rules) for line in _lines(f"_{at}", rule, known)]
    exec("\n ".join(["def broken(record, now_ms):", "found = []", *lines, "return found"]), known)  # noqa: S102 - our text
    broken: Callable[[Record, int], list[r.Rule]] = known["broken"]

    def judge(record: Record, kafka_timestamp_ms: int) -> list[Violation]:
        found = broken(record, kafka_timestamp_ms)
        return [_violation(rule, record, rules.personal) for rule in found] if found else []

    return judge


def _violation(rule: r.Rule, record: Record, personal: tuple[str, ...]) -> Violation:
    message = f"{rule.message} (found {_found(rule, record, personal)})"
    return Violation(rule.id, rule.field, message, rule.severity, rule.fingerprint)


def _found(rule: r.Rule, record: Record, personal: tuple[str, ...]) -> str:
    """What a message shows of the record. A personal field hides both sides: = and != would tell one by the other."""
    if not isinstance(rule, r.Compare):
        return _shown(record[rule.field], masked=rule.field in personal)
    masked = rule.field in personal or rule.other in personal
    return f"{_shown(record[rule.field], masked=masked)}; {rule.other} is {_shown(record[rule.other], masked=masked)}"


def _shown(value: Any, *, masked: bool) -> str:
    return "null" if value is None else MASK if masked else str(value)[:SHOWN_CHARS]


def _lines(suffix: str, rule: r.Rule, known: dict[str, Any]) -> Iterator[str]:
    """One rule in the words of Python; what they name by a ``$`` is kept in ``known`` under a name with ``suffix``."""
    test, named = _broken(rule)
    test = f"v is None or {test}" if rule.check == "required" else f"v is not None and ({test})"
    if rule.when is not None:
        test, named = f"({test}) and met$(record)", {**named, "met$": _met(rule.when)}
    known.update({name.replace("$", suffix): value for name, value in {**named, "rule$": rule}.items()})
    yield f"v = record[{rule.field!r}]"
    yield f"if {test}: found.append(rule$)".replace("$", suffix)


def _broken(rule: r.Rule) -> tuple[str, Mapping[str, Any]]:
    """When ``v`` breaks the rule, and what that names. In it stand whole numbers of the rule, but no text."""
    match rule:
        case r.Required():
            return "isinstance(v, str) and not v.lstrip(blank$)", {"blank$": r.BLANK}
        case r.Range(min=low, max=high):
            return _outside_in_words(low, high), {"outside$": _outside(low, high)}
        case r.OneOf(values=values):
            return "v not in allowed$", {"allowed$": frozenset(values)}
        case r.Pattern(regex=regex, whole=whole):
            compiled = re.compile(regex)
            return "match$(v) is None", {"match$": compiled.fullmatch if whole else compiled.search}
        case r.Length(min=low, max=high):
            return f"len(v) < {low}" if high is None else f"not {low} <= len(v) <= {high}", {}
        case r.Ip():
            v4, v6 = (re.compile(p.replace(r"\z", r"\Z")).search for p in (r.IPV4_PATTERN, r.IPV6_PATTERN))
            return "v4$(v) is None and v6$(v) is None", {"v4$": v4, "v6$": v6}
        case r.TimeWindow(before_s=before_s, after_s=after_s):
            return f"not now_ms - {before_s * 1000} <= v <= now_ms + {after_s * 1000}", {}
        case r.Compare(op=op, other=other):
            return "unlike$(v, record)", {"unlike$": _unlike(other, OPERATORS[op])}


def _unlike(other: str, holds: Callable[[int, int], bool]) -> Callable[[Any, Record], bool]:
    def broken(value: Any, record: Record) -> bool:
        against = record[other]
        return against is not None and not holds(order(value, against), 0)

    return broken


def _met(when: r.When) -> Callable[[Record], bool]:
    """Whether a record meets the condition."""
    field, present, allowed = when.field, when.present, when.one_of
    outside = _outside(when.min, when.max)

    def met(record: Record) -> bool:
        value = record[field]
        if value is None or present is False:
            return value is None and present is False
        return (allowed is None or value in allowed) and not outside(value)

    return met


def _outside_in_words(low: int | None, high: int | None) -> str:
    """``_outside`` for the value ``v``, without a call where the bounds allow it."""
    if not _are_exact(low, high):
        return "outside$(v)"
    return " or ".join([f"v < {low}"] * (low is not None) + [f"not v <= {high}"] * (high is not None))


def _outside(low: int | None, high: int | None) -> Callable[[Any], bool]:
    """Whether a number is below ``low`` or above ``high``, as Spark orders them."""
    if not _are_exact(low, high):
        return lambda value: (
            (low is not None and order(value, low) < 0) or (high is not None and order(value, high) > 0)
        )
    return lambda value: (low is not None and value < low) or (high is not None and not value <= high)  # NaN is above


def _are_exact(low: int | None, high: int | None) -> bool:
    return all(bound is None or abs(bound) <= _EXACT for bound in (low, high))


def order(left: Any, right: Any) -> int:
    """-1, 0 or 1, as Spark orders numbers: as doubles if one of them is; NaN equals itself and is above all others.

    0 for equal texts.
    """
    if isinstance(left, float) or isinstance(right, float):
        left, right = float(left), float(right)
        if isnan(left) or isnan(right):
            return int(isnan(left)) - int(isnan(right))
    return int(left > right) - int(left < right)
