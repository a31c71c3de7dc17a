"""Judge one record in plain Python, for producers and gateways (law 7). The stream does the same in SQL."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from math import isnan
from typing import Any

from pipelines.contracts import rules as r
from pipelines.records import Violation

Record = Mapping[str, Any]
Broken = Callable[[Any, Record, int], bool]
"""(value of the field, its record, Kafka timestamp in ms) → whether the rule is broken. Null is handled before."""

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
    """Compile a rule set once; the result maps (record, Kafka timestamp in ms) to all its violations, in file order."""
    compiled = [
        (rule, rule.field, rule.check == "required", _broken(rule), _met(rule.when) if rule.when else None)
        for rule in rules.rules
    ]

    def judge(record: Record, kafka_timestamp_ms: int) -> list[Violation]:
        found = []
        for rule, field, null_is_broken, broken, met in compiled:
            value = record[field]
            is_broken = null_is_broken if value is None else broken(value, record, kafka_timestamp_ms)
            if is_broken and (met is None or met(record)):
                found.append(_violation(rule, record, rules.personal))
        return found

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


def _broken(rule: r.Rule) -> Broken:
    match rule:
        case r.Required():
            return lambda value, _record, _now_ms: isinstance(value, str) and not value.lstrip(r.BLANK)
        case r.Range(min=low, max=high):
            outside = _outside(low, high)
            return lambda value, _record, _now_ms: outside(value)
        case r.OneOf(values=values):
            allowed = frozenset(values)
            return lambda value, _record, _now_ms: value not in allowed
        case r.Pattern(regex=regex, whole=whole):
            compiled = re.compile(regex)
            found = compiled.fullmatch if whole else compiled.search
            return lambda value, _record, _now_ms: found(value) is None
        case r.Length(min=low, max=high):
            return lambda value, _record, _now_ms: len(value) < low or (high is not None and len(value) > high)
        case r.Ip():
            v4, v6 = (re.compile(p.replace(r"\z", r"\Z")).search for p in (r.IPV4_PATTERN, r.IPV6_PATTERN))
            return lambda value, _record, _now_ms: v4(value) is None and v6(value) is None
        case r.TimeWindow(before_s=before_s, after_s=after_s):
            return lambda value, _record, now_ms: not now_ms - before_s * 1000 <= value <= now_ms + after_s * 1000
        case r.Compare(op=op, other=other):
            return _unlike(other, OPERATORS[op])


def _unlike(other: str, holds: Callable[[int, int], bool]) -> Broken:
    def broken(value: Any, record: Record, _now_ms: int) -> bool:
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


def _outside(low: int | None, high: int | None) -> Callable[[Any], bool]:
    """Whether a number is below ``low`` or above ``high``, as Spark orders them."""
    if any(bound is not None and abs(bound) > _EXACT for bound in (low, high)):
        return lambda value: (
            (low is not None and order(value, low) < 0) or (high is not None and order(value, high) > 0)
        )
    return lambda value: (low is not None and value < low) or (high is not None and not value <= high)  # NaN is above


def order(left: Any, right: Any) -> int:
    """-1, 0 or 1, as Spark orders numbers: as doubles if one of them is; NaN equals itself and is above all others.

    0 for equal texts.
    """
    if isinstance(left, float) or isinstance(right, float):
        left, right = float(left), float(right)
        if isnan(left) or isnan(right):
            return int(isnan(left)) - int(isnan(right))
    return int(left > right) - int(left < right)
