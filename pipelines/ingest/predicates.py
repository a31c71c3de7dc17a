"""One rule → one Spark condition: whether a decoded record breaks it (law 7).

``pipelines.contracts.evaluate`` says the same of one record in Python. Null, an absent value, breaks nothing but
``required``.
"""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.contracts import rules as r
from pipelines.contracts.evaluate import OPERATORS

_OCTET = r"(?:1\d?\d?|2[0-4]\d|25[0-5]|[2-9]\d?|0)"
_V4 = r"\A" + r"\.".join([_OCTET] * 4) + r"\z"
_GROUP = r"\p{XDigit}{1,4}+"
_V6_IN_FULL = r"\A" + ":".join([_GROUP] * 8) + r"\z"
_V6_SHORTENED = rf"\A(?!(?:[^:]*:){{8}})(?:{_GROUP}(?::{_GROUP})*+)?::(?:{_GROUP}(?::{_GROUP})*+)?\z"
"""The common forms of an address in words that Java matches fast; what they miss is held against the whole grammar."""


def is_broken(rule: r.Rule) -> Column:
    """Whether the rule is broken by a record that meets its condition; null counts as no."""
    return _broken(rule) if rule.when is None else _met(rule.when) & _broken(rule)


def _met(when: r.When) -> Column:
    """Whether a record meets the condition; null, which counts as no, for an absent value."""
    value = F.col(when.field)
    parts = []
    if when.present is not None:
        parts.append(value.isNotNull() if when.present else value.isNull())
    if when.min is not None:
        parts.append(~_ordered("<", value, when.min))
    if when.max is not None:
        parts.append(~_ordered(">", value, when.max))
    if when.one_of is not None:
        parts.append(value.isin(*when.one_of))
    return reduce(Column.__and__, parts)


def _broken(rule: r.Rule) -> Column:
    """Whether the rule is broken; null, which counts as no, for an absent value."""
    value = F.col(rule.field)
    if isinstance(rule, r.Required):
        return value.isNull() | _is_blank(value)
    match rule:
        case r.Range(min=low, max=high):
            too_low = F.lit(False) if low is None else _ordered("<", value, low)
            return too_low if high is None else too_low | _ordered(">", value, high)
        case r.OneOf(values=values):
            return ~value.isin(*values)
        case r.Pattern():
            prefix = None if rule.whole else _literal_prefix(rule.regex)
            return ~(value.rlike(java_regex(rule)) if prefix is None else value.startswith(prefix))
        case r.Length(min=low, max=high):
            return _is_shorter(value, low) if high is None else _is_shorter(value, low) | _is_longer(value, high)
        case r.Ip():
            is_v6 = value.rlike(_V6_IN_FULL) | value.rlike(_V6_SHORTENED) | value.rlike(r.IPV6_PATTERN)
            return ~F.when(value.contains(":"), is_v6).otherwise(value.rlike(_V4))
        case r.TimeWindow(before_s=before_s, after_s=after_s):
            now_ms = F.unix_millis("kafka_timestamp")
            is_too_old = _compared("<", value, now_ms - before_s * 1000)
            return is_too_old | _compared(">", value, now_ms + after_s * 1000)
        case r.Compare(op=op, other=other):
            return ~_compared(op, value, F.col(other))
    raise AssertionError(rule)


_EXACT_IN_FLOAT = 1 << 24
"""Whole numbers up to here are floats too."""


def _ordered(op: str, value: Column, bound: int) -> Column:
    """``value op bound``, as doubles if the field is a float: Spark alone would round a large bound to a float.

    ``typeof`` is a constant, so what it decides is decided when the plan is made.
    """
    holds = _operated(op, value, bound)
    if abs(bound) <= _EXACT_IN_FLOAT:
        return holds
    as_doubles = _operated(op, value.cast("double"), F.lit(bound).cast("double"))
    return F.when(F.typeof(value) == "float", as_doubles).otherwise(holds)


def _compared(op: str, left: Column, right: Column) -> Column:
    """``left op right``, as doubles if one of them is a float or double; Spark alone would round a long to a float."""
    is_floating = F.typeof(left).isin("float", "double") | F.typeof(right).isin("float", "double")
    as_doubles = _operated(op, left.cast("double"), right.cast("double"))
    return F.when(is_floating, as_doubles).otherwise(_operated(op, left, right))


def _operated(op: str, left: Column, right: Column | int) -> Column:
    holds: Column = OPERATORS[op](left, right)
    return holds


def _is_longer(value: Column, chars: int) -> Column:
    """Characters are counted only where the bytes, at least one for each, leave it open."""
    return (F.octet_length(value) > chars) & (F.char_length(value) > chars)


def _is_shorter(value: Column, chars: int) -> Column:
    """A character has at most four bytes."""
    octets = F.octet_length(value)
    return (octets < chars) if chars <= 1 else (octets < 4 * chars) & (F.char_length(value) < chars)


def _is_blank(value: Column) -> Column:
    """Whether only BLANK characters are in it, or none. A first visible ASCII character decides nearly always."""
    starts_visible = F.ascii(value).between(33, 126)
    return ~starts_visible & ~value.rlike(f"[^{r.BLANK}]")


def java_regex(rule: r.Pattern) -> str:
    """What Java must find. With ``(?d)`` its ``.`` is any character but a line feed, as Python's is."""
    flag = "(?d)" if "." in rule.regex else ""
    if not rule.whole:
        return flag + rule.regex
    return rf"{flag}\A(?:{rule.regex})\z" if "|" in rule.regex else rf"{flag}\A{rule.regex}\z"


def _literal_prefix(regex: str) -> str | None:
    """The text behind ``^`` if nothing in it is special: a comparison of bytes is cheaper than a search."""
    rest = regex.removeprefix("^")
    is_literal = regex.startswith("^") and rest and all(c.isalnum() or c in "/_-:" for c in rest)
    return rest if is_literal else None
