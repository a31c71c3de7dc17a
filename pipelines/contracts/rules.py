"""Business rules as data: the vocabulary, the file format and the fingerprints.

A rule file declares each rule once (law 7). ``pipelines.ingest.validate`` compiles a set into one Spark projection;
``pipelines.contracts.evaluate`` judges a single record in plain Python. Both take their meaning from the docstrings:

* A rule says when a record is *wrong*. A null field breaks only ``required``.
* A rule with a condition (``when``) counts only for records that meet it.
* Numbers are ordered as in Spark: exactly, but as doubles where one of the two is a float or double; NaN is equal to
  itself and larger than any other number.
* Lengths are Unicode code points. Blank means: only the ASCII white space ``SPACE TAB LF VT FF CR``, or nothing.
* Patterns are searched, or matched whole with ``whole: true``, and limited to what Java and Python understand alike
  (``pipelines.contracts.regex``).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from pipelines.records import Severity

BLANK = " \t\n\x0b\x0c\r"
"""Characters that count as blank."""

MAX_RULES = 60
"""One bit each in the long that the Spark projection carries; three are its own, one is the sign."""

IPV4 = r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_H = r"[0-9A-Fa-f]{1,4}"
_TAIL = rf"(?:{_H}:{_H}|{IPV4})"
IPV6 = "|".join(
    [
        rf"(?:{_H}:){{6}}{_TAIL}",
        rf"::(?:{_H}:){{5}}{_TAIL}",
        rf"(?:{_H})?::(?:{_H}:){{4}}{_TAIL}",
        rf"(?:(?:{_H}:){{0,1}}{_H})?::(?:{_H}:){{3}}{_TAIL}",
        rf"(?:(?:{_H}:){{0,2}}{_H})?::(?:{_H}:){{2}}{_TAIL}",
        rf"(?:(?:{_H}:){{0,3}}{_H})?::{_H}:{_TAIL}",
        rf"(?:(?:{_H}:){{0,4}}{_H})?::{_TAIL}",
        rf"(?:(?:{_H}:){{0,5}}{_H})?::{_H}",
        rf"(?:(?:{_H}:){{0,6}}{_H})?::",
    ]
)
"""IPv6 as RFC 3986 section 3.2.2 writes it, IPv4-embedded forms included, without a zone."""
IPV4_PATTERN = rf"\A{IPV4}\z"
IPV6_PATTERN = rf"\A(?:{IPV6})\z"

RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Bound = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""What a long of the stream can be held against."""
Chars = Annotated[int, Field(ge=0, le=2**29 - 1)]
"""A number of characters, of which each may take four bytes."""
Seconds = Annotated[int, Field(ge=0, le=10**12)]
"""A span that, added to a timestamp in milliseconds, is still a long."""


class When(BaseModel):
    """A condition on a field of the record: met where every given part holds. A null meets only ``present: false``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: str
    present: bool | None = None
    min: Bound | None = None
    max: Bound | None = None
    one_of: tuple[str, ...] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _parts(self) -> When:
        asks_for_value = any(part is not None for part in (self.min, self.max, self.one_of))
        if self.present is None and not asks_for_value:
            raise ValueError("when needs present, min, max or one_of")
        if self.present is False and asks_for_value:
            raise ValueError("a null meets only present: false, so nothing meets it together with min, max or one_of")
        _refuse_crossed(self.min, self.max)
        return self

    @model_serializer(mode="wrap")
    def _given_parts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Parts that are not given are left out, so that later releases can add some and change no fingerprint."""
        return {name: part for name, part in handler(self).items() if part is not None}


class _Rule(BaseModel):
    """What every rule says: who it is, which field it is about, how bad a breach is and whom to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: RuleId
    field: str
    severity: Severity
    message: str = Field(min_length=1, max_length=200)
    owner: str = Field(min_length=1)
    when: When | None = None

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change whenever the meaning of the rule changes."""
        return _digest(self.definition)

    @cached_property
    def definition(self) -> str:
        """The rule as canonical JSON, of which the fingerprint is the SHA-256."""
        return _canonical(self.model_dump(mode="json"))

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that the verdict depends on."""
        return (self.field,) if self.when is None else (self.field, self.when.field)

    @model_serializer(mode="wrap")
    def _without_absent_condition(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A rule without ``when`` is written as it was before there were conditions, and keeps its fingerprint."""
        return {name: part for name, part in handler(self).items() if name != "when" or part is not None}


class Required(_Rule):
    """The field is neither null nor blank."""

    check: Literal["required"]


class Range(_Rule):
    """``min ≤ field ≤ max``; either bound may be left out."""

    check: Literal["range"]
    min: Bound | None = None
    max: Bound | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("range needs min, max or both")
        _refuse_crossed(self.min, self.max)
        return self


class OneOf(_Rule):
    """The field is one of the listed texts."""

    check: Literal["one_of"]
    values: tuple[str, ...] = Field(min_length=1)


class Pattern(_Rule):
    """The regular expression is found in the field, or, if ``whole``, matches all of it.

    A file may hold only what ``pipelines.contracts.regex`` accepts. That is checked where a file is read and not here:
    sets that have judged a batch must stay readable whatever is accepted later.
    """

    check: Literal["pattern"]
    regex: str
    whole: bool = False


class Length(_Rule):
    """``min ≤ length ≤ max`` in code points."""

    check: Literal["length"]
    min: Chars = 0
    max: Chars | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Length:
        _refuse_crossed(self.min, self.max)
        return self


class Ip(_Rule):
    """The field is an IPv4 address in dotted decimals or an IPv6 address without a zone."""

    check: Literal["ip"]


class TimeWindow(_Rule):
    """``kafka_timestamp - before_s ≤ field ≤ kafka_timestamp + after_s``; the field is Unix time in milliseconds."""

    check: Literal["time_window"]
    before_s: Seconds
    after_s: Seconds


ORDERING = ("<", "<=", ">=", ">")
"""Operators of ``compare`` that texts don't have."""


class Compare(_Rule):
    """``field op other``, both numbers or both texts; texts only with ``=`` and ``!=``. A null breaks nothing."""

    check: Literal["compare"]
    op: Literal["<", "<=", "=", "!=", ">=", ">"]
    other: str

    @model_validator(mode="after")
    def _two_fields(self) -> Compare:
        if self.other == self.field:
            raise ValueError(f"{self.field} is compared with itself")
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        return (*super().fields, self.other)


Rule = Annotated[Required | Range | OneOf | Pattern | Length | Ip | TimeWindow | Compare, Field(discriminator="check")]

TEXT, NUMBER = "text", "number"
CHECK_TYPES: dict[str, tuple[str, ...]] = {
    "required": (TEXT, NUMBER),
    "range": (NUMBER,),
    "one_of": (TEXT,),
    "pattern": (TEXT,),
    "length": (TEXT,),
    "ip": (TEXT,),
    "time_window": (NUMBER,),
    "compare": (TEXT, NUMBER),
}
"""Which kind of field each check can be put on."""


class RuleSet(BaseModel):
    """All rules of one subject, in the order of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: str
    personal: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = Field(max_length=MAX_RULES)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over all rules and their order."""
        return _digest(_canonical([self.subject, self.personal, [r.fingerprint for r in self.rules]]))

    @cached_property
    def definition(self) -> str:
        """The whole set as canonical JSON; ``RuleSet.model_validate_json`` reads it back."""
        return _canonical(self.model_dump(mode="json"))

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Every field that a verdict depends on, each once, in the order of the rules."""
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.fields))


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A rule set that has judged some batch, and the first one that it judged."""

    rules: RuleSet
    first_query: str
    first_batch_id: int
    first_used_at: datetime


@dataclass(frozen=True, slots=True)
class Changes:
    """What makes one rule set differ from another, by the ids of its rules."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    reordered: bool
    personal: bool

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.reordered or self.personal)


def changes(before: RuleSet, after: RuleSet) -> Changes:
    """How ``after`` differs from ``before``; a rule has changed if its fingerprint has."""
    old, new = ({rule.id: rule.fingerprint for rule in rules.rules} for rules in (before, after))
    return Changes(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(name for name in new if name in old and new[name] != old[name]),
        reordered=[name for name in new if name in old] != [name for name in old if name in new],
        personal=before.personal != after.personal,
    )


def _refuse_crossed(low: int | None, high: int | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low} is greater than max {high}")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
