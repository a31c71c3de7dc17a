"""The regular expressions that Java and Python understand alike, as a positive list (law 7).

Rules ask only whether a text matches, so the order in which alternatives are tried does not count. What is accepted:

* characters that stand for themselves, ``\\`` before ASCII punctuation or a space, ``\\t \\n \\r \\f \\xhh \\uhhhh``;
* ``.`` (any character but a line feed; the stream tells Java so), ``^`` (the begin of the text);
* classes of characters and ranges, negated or not;
* ``(…)``, ``(?:…)``, ``|``, and ``? * + {n} {n,} {n,m}``, greedy or with ``?`` reluctant.

Java matches a repeated group by recursion: without an upper bound a long text overflows the stack of its thread. So a
group takes no ``*``, ``+`` or ``{n,}``, and the depth of the recursion is held below MOST_STEPS.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

LONGEST = 4_000
"""Characters of a regular expression."""

MOST_REPEATS = 1_000
"""The greatest number in braces, as in RE2."""

MOST_STEPS = 2_000
"""Nodes that Java may be in at the same time. Its default stack of 1 MB overflows at about 8,000, interpreted."""

DEEPEST = 20
"""Groups within groups."""

_SPECIAL = ".^$*+?{}[]\\|()"
_SPECIAL_IN_CLASS = "[]^\\"
_PUNCTUATION = string.punctuation + " "
_ESCAPE = re.compile(r"\\(?:([tnrf])|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4}))")
_QUANTIFIER = re.compile(r"(?:([?*+])|\{([0-9]{1,4})(?:(,)([0-9]{1,4})?)?\})\??")
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_DOUBLED = ("&&", "--", "~~", "||")
"""Set operations, in Java or in a Python to come."""

_HINTS = {
    "$": "$ also matches before a last line break; use whole: true, or write \\$ for the character",
    "{": "{ begins no quantifier such as {3}, {3,} or {0,3}; write \\{ for the character",
    "(?": "of the groups that begin with (? only (?:…) means the same in Java and Python",
}


class NotShared(ValueError):
    """The expression is none, or not one that means the same in Java and Python."""


def check(regex: str) -> None:
    """Raise NotShared, with the place and the reason, unless Java and Python agree on ``regex``."""
    if len(regex) > LONGEST:
        raise NotShared(f"it has {len(regex)} characters, and at most {LONGEST} are allowed")
    reader = _Reader(regex)
    steps = reader.alternatives()
    if not reader.at_end:
        raise reader.refused("there is no ( for this )")
    if steps > MOST_STEPS:
        raise NotShared(f"Java may need {steps} nested steps for it, and at most {MOST_STEPS} are allowed; repeat less")


@dataclass(frozen=True, slots=True)
class _Atom:
    """What a quantifier may stand behind. ``steps``: how deep Java's recursion gets in it.

    ``is_wide``: it matches characters of one and of two UTF-16 units; Java recurses where they take turns.
    """

    steps: int = 1
    is_group: bool = False
    is_wide: bool = False

    @property
    def is_narrow(self) -> bool:
        """Whether Java repeats it in a loop."""
        return not (self.is_group or self.is_wide)


class _Reader:
    """Reads an expression from left to right; ``depth``: how many groups are open."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._text)

    def refused(self, reason: str) -> NotShared:
        """The error for what stands here."""
        return NotShared(f"at character {self._at + 1}: {reason}")

    def alternatives(self) -> int:
        """Read up to the end or a closing bracket. The steps of the deepest alternative."""
        steps = self._sequence()
        while self._took("|"):
            steps = max(steps, self._sequence())
        return steps + 1

    def _sequence(self) -> int:
        begin, steps = self._at, 0
        while not self.at_end and self._text[self._at] not in "|)":
            steps += self._item()
        if self._at == begin:
            raise self.refused("an empty alternative; to leave something out, put ? behind it")
        return steps

    def _item(self) -> int:
        if not self._took("^"):
            return self._repeated(self._atom())
        if _QUANTIFIER.match(self._text, self._at):
            raise self.refused("^ can't be repeated; write \\^ for the character")
        return 1

    def _atom(self) -> _Atom:
        if self._took("."):
            return _Atom(is_wide=True)
        if self._took("["):
            return self._class()
        if self._took("("):
            return self._group()
        return _Atom(is_wide=self._character(_SPECIAL) > "\uffff")

    def _group(self) -> _Atom:
        if not self._took("?:") and self._has("?"):
            raise self.refused(_HINTS["(?"])
        self._depth += 1
        if self._depth > DEEPEST:
            raise self.refused(f"more than {DEEPEST} groups within each other")
        steps = self.alternatives()
        self._depth -= 1
        if not self._took(")"):
            raise self.refused("a ) is missing")
        return _Atom(steps + 2, is_group=True)

    def _repeated(self, atom: _Atom) -> int:
        found = _QUANTIFIER.match(self._text, self._at)
        if found is None:
            if self._has("{"):
                raise self.refused(_HINTS["{"])
            return atom.steps
        most = self._most(found)
        if most is None and atom.is_group:
            raise self.refused("Java's stack overflows where a group repeats without end; write a bound, as in {0,20}")
        self._at = found.end()
        if not self.at_end and self._text[self._at] in "?*+{":
            raise self.refused("a quantifier behind a quantifier")
        return atom.steps + 1 if most is None or atom.is_narrow else most * atom.steps + 1

    def _most(self, quantifier: re.Match[str]) -> int | None:
        """How often it repeats; None for without end."""
        sign, low, comma, high = quantifier.groups()
        if sign:
            return 1 if sign == "?" else None
        is_open = comma and not high
        most = MOST_REPEATS if is_open else int(high or low)
        if not int(low) <= most <= MOST_REPEATS or most == 0:
            raise self.refused(f"of {{n,m}} n may not be above m, nor m 0 or above {MOST_REPEATS}")
        return None if is_open else most

    def _class(self) -> _Atom:
        """Behind ``[``. Wide if negated or with a character of two units, as if there was always one of one unit."""
        is_wide = self._took("^")
        begin = self._at
        while not self._has("]") or self._at == begin:
            if self.at_end:
                raise self.refused("a ] is missing")
            is_wide |= self._range(is_first=self._at == begin) > "\uffff"
        self._at += 1
        return _Atom(is_wide=is_wide)

    def _range(self, *, is_first: bool) -> str:
        """A character or a range of a class. Its last character."""
        self._refuse_doubled()
        if self._has("-") and not is_first and not self._has("-]"):
            raise self.refused("- between characters means a range; write \\- for the character")
        low = self._character(_SPECIAL_IN_CLASS)
        if not self._has("-") or self._has("-]"):
            return low
        self._refuse_doubled()
        self._at += 1
        self._refuse_doubled()
        high = self._character(_SPECIAL_IN_CLASS)
        if high < low:
            raise self.refused("the range ends before it begins")
        return high

    def _refuse_doubled(self) -> None:
        if self._text[self._at : self._at + 2] in _DOUBLED:
            raise self.refused("a doubled sign in a class may be an operation on sets; put a \\ before each")

    def _character(self, special: str) -> str:
        """One character, written as itself (none of ``special``) or escaped."""
        if self.at_end:
            raise self.refused("it ends too early")
        if self._took("\\"):
            return self._escaped()
        here = self._text[self._at]
        if here in special:
            raise self.refused(_HINTS.get(here, f"write \\{here} for the character"))
        return self._one(here)

    def _escaped(self) -> str:
        if not self.at_end and self._text[self._at] in _PUNCTUATION:
            return self._one(self._text[self._at])
        self._at -= 1
        found = _ESCAPE.match(self._text, self._at)
        if found is None:
            escape = self._text[self._at : self._at + 2]
            raise self.refused(f"{escape} is not the same in Java and Python; write the characters out, as [0-9]")
        self._at = found.end() - 1
        control, *codes = found.groups()
        return self._one(_CONTROLS[control] if control else chr(int(codes[0] or codes[1], 16)))

    def _one(self, character: str) -> str:
        """The character whose last letter stands here."""
        if "\ud800" <= character <= "\udfff":
            raise self.refused("half of a surrogate pair is no character; write the character itself")
        self._at += 1
        return character

    def _has(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _took(self, text: str) -> bool:
        has = self._has(text)
        self._at += len(text) if has else 0
        return has
