"""What a regular expression may hold: all that is accepted compiles in Python without a warning, the rest is named."""

from __future__ import annotations

import re
import string
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.regex import NotShared, check
from pipelines.contracts.rules import IPV4, IPV6

ACCEPTED = [
    "^/",
    "x",
    r"[^\x00-\x1f]*",
    "^10[.]",
    "^192[.]0[.]2[.]",
    "a|ab",
    "^/v[0-9]+/[a-z_]+(?:/[0-9a-f-]{36})?",
    r"(GET|PUT) .*",
    "[-a]",
    "[a-]",
    "[a-f0-9-]",
    r"[\]\[\^\-\\]",
    r"\{id\}",
    r"a{3}b{3,}c{0,3}?d+?e*?f??",
    r"\u00e9é🦊[🦊-🦎]",
    r"\t\n\r\f",
    "a&b#c ~-",
    "(?:(?:a|b){1,3}c?){1,20}",
    "[a-z]{1000}",
    ".{0,1000}",
    "".join(f"\\{c}" for c in string.punctuation + " "),
    "[" + "".join(f"\\{c}" for c in string.punctuation + " ") + "]",
    "x" * 1_900,
    IPV4,
    IPV6,
]


@pytest.mark.parametrize("regex", ACCEPTED)
def test_what_both_share_is_accepted(regex: str) -> None:
    check(regex)
    re.compile(regex)


NOT_SHARED = [
    ("^/v6/[a-z]+/{id}", "at character 13: { begins no quantifier such as {3}, {3,} or {0,3}; write \\{"),
    ("a{,3}", "at character 2: { begins no quantifier"),
    ("(?a)b", "at character 2: of the groups that begin with (? only (?:…)"),
    ("(?i)^é", "at character 2: of the groups"),
    ("(?(1)x|y)", "at character 2: of the groups"),
    ("(?P<a>b)", "at character 2: of the groups"),
    ("(?=a)", "at character 2: of the groups"),
    ("(?<!a)b", "at character 2: of the groups"),
    ("(?>a)", "at character 2: of the groups"),
    ("[[a]", "at character 2: write \\[ for the character"),
    (r"\0", r"at character 1: \0 is not the same in Java and Python"),
    (r"\U0001F600", r"at character 1: \U is not"),
    (r"x\v", r"at character 2: \v is not"),
    (r"(a)\1", r"at character 4: \1 is not"),
    (r"a\d", r"at character 2: \d is not the same in Java and Python; write the characters out, as [0-9]"),
    (r"\w", r"at character 1: \w"),
    (r"[\s]", r"at character 2: \s"),
    (r"\bx", r"at character 1: \b"),
    (r"[\b]", r"at character 2: \b"),
    (r"a\Z", r"at character 2: \Z"),
    (r"\Qa\E", r"at character 1: \Q"),
    (r"\p{L}", r"at character 1: \p"),
    (r"\N{DIGIT ONE}", r"at character 1: \N"),
    (r"\x1", r"at character 1: \x"),
    (r"\é", r"at character 1: \é"),
    ("a\\", "at character 2: \\ is not"),
    ("a$", "at character 2: $ also matches before a last line break; use whole: true"),
    ("", "at character 1: an empty alternative"),
    ("a|", "at character 3: an empty alternative"),
    ("(|a)", "at character 2: an empty alternative"),
    ("()", "at character 2: an empty alternative"),
    ("(a", "at character 3: a ) is missing"),
    ("a)", "at character 2: there is no ( for this )"),
    ("[a", "at character 3: a ] is missing"),
    ("[", "at character 2: a ] is missing"),
    ("[]a]", "at character 2: write \\] for the character"),
    ("[^]a]", "at character 3: write \\] for the character"),
    (r"[\[^a]", "at character 4: write \\^ for the character"),
    ("[a&&b]", "at character 3: a doubled sign in a class"),
    ("[a||b]", "at character 3: a doubled sign"),
    ("[a~~b]", "at character 3: a doubled sign"),
    ("[--a]", "at character 2: a doubled sign"),
    ("[!--]", "at character 3: a doubled sign"),
    ("[!-&&b]", "at character 4: a doubled sign"),
    ("[a-z-9]", "at character 5: - between characters means a range"),
    ("[z-a]", "at character 5: the range ends before it begins"),
    ("a]", "at character 2: write \\] for the character"),
    ("a}", "at character 2: write \\} for the character"),
    ("*a", "at character 1: write \\* for the character"),
    ("a|+", "at character 3: write \\+ for the character"),
    ("^*", "at character 2: ^ can't be repeated"),
    ("a*+", "at character 3: a quantifier behind a quantifier"),
    ("a++", "at character 3: a quantifier behind a quantifier"),
    ("a{2}{3}", "at character 5: a quantifier behind a quantifier"),
    ("a???", "at character 4: a quantifier behind a quantifier"),
    ("a{3,2}", "at character 2: of {n,m} n may not be above m"),
    ("a{0}", "at character 2: of {n,m}"),
    ("a{1001}", "at character 2: of {n,m} n may not be above m, nor m 0 or above 1000"),
    ("a{1001,}", "at character 2: of {n,m}"),
    ("a{99999999999999}", "at character 2: { begins no quantifier"),
    (r"\ud83e\udd8a", "at character 6: half of a surrogate pair is no character"),
    ("\ud83e", "at character 1: half of a surrogate pair"),
    ("(?:[a-z]|-)*", "at character 12: Java's stack overflows where a group repeats without end; write a bound"),
    ("(?:/[a-z]+)+", "at character 12: Java's stack overflows"),
    ("(a){2,}", "at character 4: Java's stack overflows"),
    ("(?:[a-z]|-){0,1000}", "Java may need 4002 nested steps for it, and at most 2000 are allowed; repeat less"),
    (".{0,1000}.{0,1000}", "Java may need 2003 nested steps"),
    ("(" * 21 + "a" + ")" * 21, "at character 22: more than 20 groups within each other"),
    ("(" * 1_000, "at character 22: more than 20 groups"),
    ("x" * 4_001, "it has 4001 characters, and at most 4000 are allowed"),
]


@pytest.mark.parametrize(("regex", "reason"), NOT_SHARED)
def test_what_they_do_not_share_is_refused_with_place_and_reason(regex: str, reason: str) -> None:
    with pytest.raises(NotShared) as caught:
        check(regex)
    assert str(caught.value).startswith(reason)


signs = st.sampled_from([*"ab-^&|~.$*+?{}[]()\\,019 #é🦊:=!<P", "(?:", "{1,2}", "\\x41", "[^", "a-z", "\\d", "\ud800"])


@given(st.lists(signs, max_size=12).map("".join))
def test_whatever_is_accepted_compiles_without_a_warning(regex: str) -> None:
    try:
        check(regex)
    except NotShared:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        re.compile(regex)
