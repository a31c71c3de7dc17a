"""Business rules as data: the vocabulary, the file format and the fingerprints.

A rule file declares each rule once (law 7). ``pipelines.ingest.validate`` compiles a set into one Spark projection;
``pipelines.contracts.evaluate`` judges a single record in plain Python. Both take their meaning from the docstrings:

* A rule says when a record is *wrong*. A null field breaks only ``required``.
* Lengths are Unicode code points. Blank means: only the ASCII white space ``SPACE TAB LF VT FF CR``, or nothing.
* Patterns are searched, or matched whole with ``whole: true``, and limited to what the regular expressions of Java and
  Python share.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from pipelines.records import Severity

BLANK = " \t\n\x0b\x0c\r"
"""Characters that count as blank."""

MAX_RULES = 61
"""One bit each in the long that the Spark projection carries; two are its own, one is the sign."""

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


class _Rule(BaseModel):
    """What every rule says: who it is, which field it is about, how bad a breach is and whom to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: RuleId
    field: str
    severity: Severity
    message: str = Field(min_length=1, max_length=200)
    owner: str = Field(min_length=1)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change whenever the meaning of the rule changes."""
        return _digest(self.model_dump(mode="json"))


class Required(_Rule):
    """The field is neither null nor blank."""

    check: Literal["required"]


class Range(_Rule):
    """``min ≤ field ≤ max``; either bound may be left out."""

    check: Literal["range"]
    min: int | None = None
    max: int | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("range needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class OneOf(_Rule):
    """The field is one of the listed texts."""

    check: Literal["one_of"]
    values: tuple[str, ...] = Field(min_length=1)


_NOT_SHARED = re.compile(r"\\[dDwWsSbBzZA]|\(\?P|\$")
"""Parts of a regular expression that mean different things in Java and in Python."""


class Pattern(_Rule):
    """The regular expression is found in the field, or, if ``whole``, matches all of it."""

    check: Literal["pattern"]
    regex: str
    whole: bool = False

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if odd := _NOT_SHARED.search(value):
            raise ValueError(f"{odd[0]} means different things in Java and Python; write the characters out, as [0-9]")
        return value


class Length(_Rule):
    """``min ≤ length ≤ max`` in code points."""

    check: Literal["length"]
    min: int = Field(0, ge=0)
    max: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _bounds(self) -> Length:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class Ip(_Rule):
    """The field is an IPv4 address in dotted decimals or an IPv6 address without a zone."""

    check: Literal["ip"]


class TimeWindow(_Rule):
    """``kafka_timestamp - before_s ≤ field ≤ kafka_timestamp + after_s``; the field is Unix time in milliseconds."""

    check: Literal["time_window"]
    before_s: int = Field(ge=0)
    after_s: int = Field(ge=0)


Rule = Annotated[Required | Range | OneOf | Pattern | Length | Ip | TimeWindow, Field(discriminator="check")]

TEXT, NUMBER = "text", "number"
CHECK_TYPES: dict[str, tuple[str, ...]] = {
    "required": (TEXT, NUMBER),
    "range": (NUMBER,),
    "one_of": (TEXT,),
    "pattern": (TEXT,),
    "length": (TEXT,),
    "ip": (TEXT,),
    "time_window": (NUMBER,),
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
        return _digest([self.subject, self.personal, [r.fingerprint for r in self.rules]])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
