"""Judge one record in plain Python, for producers and gateways (law 7). The stream does the same in SQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.contracts import rules as r
from pipelines.records import Violation

Broken = Callable[[Any, int], bool]
"""(value of the field, Kafka timestamp in ms) → whether the rule is broken. A null value is handled before."""

SHOWN_CHARS = 80
"""How much of an offending value a message shows."""

MASK = "***"


def evaluator(rules: r.RuleSet) -> Callable[[Mapping[str, Any], int], list[Violation]]:
    """Compile a rule set once; the result maps (record, Kafka timestamp in ms) to all its violations, in file order."""
    compiled = [(rule, _broken(rule)) for rule in rules.rules]

    def judge(record: Mapping[str, Any], kafka_timestamp_ms: int) -> list[Violation]:
        found = []
        for rule, broken in compiled:
            value = record[rule.field]
            is_broken = rule.check == "required" if value is None else broken(value, kafka_timestamp_ms)
            if is_broken:
                found.append(_violation(rule, value, masked=rule.field in rules.personal))
        return found

    return judge


def _violation(rule: r.Rule, value: Any, *, masked: bool) -> Violation:
    shown = "null" if value is None else MASK if masked else str(value)[:SHOWN_CHARS]
    return Violation(rule.id, rule.field, f"{rule.message} (found {shown})", rule.severity, rule.fingerprint)


def _broken(rule: r.Rule) -> Broken:
    match rule:
        case r.Required():
            return lambda value, _: isinstance(value, str) and not value.lstrip(r.BLANK)
        case r.Range(min=low, max=high):
            return lambda value, _: (low is not None and value < low) or (high is not None and value > high)
        case r.OneOf(values=values):
            allowed = frozenset(values)
            return lambda value, _: value not in allowed
        case r.Pattern(regex=regex, whole=whole):
            compiled = re.compile(regex)
            found = compiled.fullmatch if whole else compiled.search
            return lambda value, _: found(value) is None
        case r.Length(min=low, max=high):
            return lambda value, _: len(value) < low or (high is not None and len(value) > high)
        case r.Ip():
            v4, v6 = (re.compile(p.replace(r"\z", r"\Z")).search for p in (r.IPV4_PATTERN, r.IPV6_PATTERN))
            return lambda value, _: v4(value) is None and v6(value) is None
        case r.TimeWindow(before_s=before_s, after_s=after_s):
            return lambda value, now_ms: not now_ms - before_s * 1000 <= value <= now_ms + after_s * 1000
