"""What each kind of rule calls wrong, written out by hand, and when a fingerprint changes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.evaluate import evaluator
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.rules import Changes, RuleSet, changes
from pipelines.records import Severity, Violation

NOW_MS = 1_700_000_000_000
KINDS = {"a": "text", "b": "text", "n": "number"}


def rule(check: str, field: str = "a", **rest: Any) -> dict[str, Any]:
    base = {"id": "r", "field": field, "check": check, "severity": "critical", "message": "m", "owner": "us"}
    return base | rest


def rule_set(*rules: dict[str, Any], personal: tuple[str, ...] = ()) -> RuleSet:
    return RuleSet.model_validate({"subject": "s", "personal": personal, "rules": rules})


def is_broken(one: dict[str, Any], value: Any) -> bool:
    return bool(evaluator(rule_set(one))({one["field"]: value}, NOW_MS))


REQUIRED = rule("required")
RANGE = rule("range", "n", min=100, max=599)
ONE_OF = rule("one_of", values=["GET", "PUT"])
STARTS_WITH_SLASH = rule("pattern", regex="^/")
CONTAINS_X = rule("pattern", regex="x")
LENGTH = rule("length", min=1, max=3)
IP = rule("ip")
WINDOW = rule("time_window", "n", before_s=60, after_s=10)


@pytest.mark.parametrize(
    ("one", "value"),
    [
        (REQUIRED, "x"),
        (REQUIRED, " x "),
        (REQUIRED, "\u00a0"),  # a no-break space is no ASCII white space
        (REQUIRED, "\x00"),
        (REQUIRED, 0),
        (RANGE, 100),
        (RANGE, 599),
        (rule("range", "n", min=0), 0),
        (rule("range", "n", min=0), 2**63 - 1),
        (rule("range", "n", max=0), -(2**63)),
        (rule("range", "n", min=7, max=7), 7),
        (ONE_OF, "GET"),
        (STARTS_WITH_SLASH, "/"),
        (STARTS_WITH_SLASH, "/a\nb"),
        (CONTAINS_X, "axb"),
        (LENGTH, "a"),
        (LENGTH, "abc"),
        (LENGTH, "🦊🦊🦊"),  # three code points, twelve bytes, six UTF-16 units
        (LENGTH, "   "),
        (rule("length", max=2), ""),
        (rule("length", min=2), "x" * 100_000),
        (WINDOW, NOW_MS),
        (WINDOW, NOW_MS - 60_000),
        (WINDOW, NOW_MS + 10_000),
        (rule("time_window", "n", before_s=0, after_s=0), NOW_MS),
    ],
)
def test_right(one: dict[str, Any], value: Any) -> None:
    assert not is_broken(one, value)


@pytest.mark.parametrize(
    ("one", "value"),
    [
        (REQUIRED, None),
        (REQUIRED, ""),
        (REQUIRED, " "),
        (REQUIRED, " \t\n\x0b\x0c\r"),
        (RANGE, 99),
        (RANGE, 600),
        (RANGE, -100),
        (rule("range", "n", min=0), -1),
        (rule("range", "n", max=0), 1),
        (ONE_OF, "get"),
        (ONE_OF, "GET "),
        (ONE_OF, ""),
        (STARTS_WITH_SLASH, "a/"),
        (STARTS_WITH_SLASH, ""),
        (STARTS_WITH_SLASH, "a\n/b"),  # ^ is the start of the text, not of a line
        (CONTAINS_X, "X"),
        (LENGTH, ""),
        (LENGTH, "abcd"),
        (LENGTH, "e\u0301e\u0301"),  # two letters on paper, four code points
        (WINDOW, NOW_MS - 60_001),
        (WINDOW, NOW_MS + 10_001),
        (WINDOW, 0),
        (WINDOW, -(2**63)),
        (WINDOW, 2**63 - 1),
    ],
)
def test_wrong(one: dict[str, Any], value: Any) -> None:
    assert is_broken(one, value)


@pytest.mark.parametrize("one", [RANGE, ONE_OF, STARTS_WITH_SLASH, LENGTH, IP, WINDOW])
def test_a_null_breaks_only_required(one: dict[str, Any]) -> None:
    assert not is_broken(one, None)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "255.255.255.255",
        "192.0.2.7",
        "::",
        "::1",
        "1::",
        "2001:DB8::ff00:42:8329",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7::",
        "::ffff:192.0.2.7",
        "64:ff9b::192.0.2.7",
    ],
)
def test_addresses(address: str) -> None:
    assert not is_broken(IP, address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.4\n",
        "\n1.2.3.4",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.4/24",
        "1.2.3.4:80",
        "١.2.3.4",  # an Arabic digit
        "::1\n",
        ":::",
        ":1",
        "1::2::3",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "g::",
        "fe80::1%eth0",
        "[::1]",
        "::ffff:256.0.0.1",
    ],
)
def test_no_addresses(address: str) -> None:
    assert is_broken(IP, address)


# Compare

NAN, INF = float("nan"), float("inf")
OPERATORS = ("<", "<=", "=", "!=", ">=", ">")


def holds(left: Any, op: str, right: Any) -> bool:
    one = rule("compare", "n", op=op, other="m")
    return not evaluator(rule_set(one))({"n": left, "m": right}, NOW_MS)


@pytest.mark.parametrize(
    ("left", "right", "true"),
    [
        (1, 2, "< <= !="),
        (2, 2, "<= = >="),
        (2, 1, "!= >= >"),
        (-(2**63), 2**63 - 1, "< <= !="),
        (2**53, 2**53 + 1, "< <= !="),  # longs are compared exactly
        (float(2**53), 2**53 + 1, "<= = >="),  # with a double the long is a double too
        (0.5, 1, "< <= !="),
        (0.0, -0.0, "<= = >="),
        (NAN, NAN, "<= = >="),
        (NAN, INF, "!= >= >"),
        (NAN, 2**63 - 1, "!= >= >"),
        (-INF, -(2**63), "< <= !="),
        (INF, NAN, "< <= !="),
    ],
)
def test_numbers_are_compared_as_spark_does(left: Any, right: Any, true: str) -> None:
    assert [op for op in OPERATORS if holds(left, op, right)] == true.split()


@pytest.mark.parametrize(
    ("left", "right", "is_equal"), [("a", "a", True), ("a", "A", False), ("", "", True), ("é", "e\u0301", False)]
)
def test_texts_are_equal_code_point_by_code_point(left: str, right: str, is_equal: bool) -> None:
    assert (holds(left, "=", right), holds(left, "!=", right)) == (is_equal, not is_equal)


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize(("left", "right"), [(None, 1), (1, None), (None, None)])
def test_a_null_on_either_side_breaks_no_comparison(left: Any, op: str, right: Any) -> None:
    assert holds(left, op, right)


@pytest.mark.parametrize(
    ("one", "is_wrong"),
    [
        (rule("range", "n", min=0), False),
        (rule("range", "n", max=2**63 - 1), True),
        (rule("range", "n", max=5), True),
        (rule("time_window", "n", before_s=1, after_s=1), True),
    ],
)
def test_nan_is_larger_than_every_bound(one: dict[str, Any], is_wrong: bool) -> None:
    assert is_broken(one, NAN) == is_wrong


def test_a_bound_is_a_double_where_the_field_is_one() -> None:
    one = rule("range", "n", min=2**53 + 1)
    assert is_broken(one, 2**53)
    assert not is_broken(one, float(2**53))


# Conditions


def counts(when: dict[str, Any], value: Any) -> bool:
    """Whether a rule that every record breaks counts for a record with this value."""
    one = rule("length", min=9, when={"field": "n"} | when)
    return bool(evaluator(rule_set(one))({"a": "x", "n": value}, NOW_MS))


@pytest.mark.parametrize(
    ("when", "met", "not_met"),
    [
        ({"present": True}, [0, "", " ", NAN], [None]),
        ({"present": False}, [None], [0, "", NAN]),
        ({"min": 500}, [500, 2**63 - 1, 500.0, INF, NAN], [499, 499.9, -500, None]),
        ({"max": 500}, [500, -(2**63), -INF], [501, 500.1, NAN, None]),
        ({"min": 1, "max": 3}, [1, 3], [0, 4, NAN, None]),
        ({"min": 7, "max": 7}, [7], [6, 8]),
        ({"min": 2**53 + 1}, [2**53 + 1, float(2**53)], [2**53]),
        ({"one_of": ["GET", ""]}, ["GET", ""], ["get", "GET ", None]),
        ({"present": True, "min": 5}, [5], [4, None]),
    ],
)
def test_a_rule_counts_only_where_its_condition_is_met(
    when: dict[str, Any], met: list[Any], not_met: list[Any]
) -> None:
    assert [value for value in met + not_met if counts(when, value)] == met


def test_a_condition_can_be_on_the_field_itself_and_on_any_check() -> None:
    when = {"field": "n", "min": 500}
    rules = rule_set(
        rule("required", "b", id="r1", when=when),
        rule("range", "n", id="r2", max=599, when=when),
        rule("one_of", id="r3", values=["y"], when=when),
        rule("pattern", id="r4", regex="y", when=when),
        rule("length", id="r5", max=0, when=when),
        rule("ip", id="r6", when=when),
        rule("time_window", "n", id="r7", before_s=0, after_s=0, when=when),
        rule("compare", "n", id="r8", op="<", other="n2", when=when),
    )
    judge = evaluator(rules)
    assert [v.code for v in judge({"a": "x", "b": None, "n": 600, "n2": 1}, NOW_MS)] == [f"r{k}" for k in range(1, 9)]
    assert judge({"a": "x", "b": None, "n": 499, "n2": 1}, NOW_MS) == []


def test_a_comparison_shows_both_values() -> None:
    one = rule("compare", "n", op="<", other="m")
    [violation] = evaluator(rule_set(one))({"n": 7, "m": 3}, NOW_MS)
    assert (violation.field, violation.message) == ("n", "m (found 7; m is 3)")


@pytest.mark.parametrize("personal", [("a",), ("b",), ("a", "b")])
def test_a_comparison_with_a_personal_field_shows_neither_value(personal: tuple[str, ...]) -> None:
    """Broken != means equal: the value of one would be that of the other."""
    one = rule("compare", "a", op="!=", other="b")
    [violation] = evaluator(rule_set(one, personal=personal))({"a": "me", "b": "me"}, NOW_MS)
    assert violation.message == "m (found ***; b is ***)"


def test_all_violations_come_in_file_order_with_message_severity_and_fingerprint() -> None:
    rules = rule_set(
        rule("length", id="short", min=2, severity="warning", message="too short"),
        rule("range", "n", id="small", min=0, message="too small"),
        rule("required", "b", id="there"),
        rule("one_of", id="known", values=["GET"], message="unknown"),
    )
    found = evaluator(rules)({"a": "x", "b": "here", "n": -7}, NOW_MS)
    short, small, _, known = (r.fingerprint for r in rules.rules)
    assert found == [
        Violation("short", "a", "too short (found x)", Severity.WARNING, short),
        Violation("small", "n", "too small (found -7)", Severity.CRITICAL, small),
        Violation("known", "a", "unknown (found x)", Severity.CRITICAL, known),
    ]


def message(value: Any, personal: tuple[str, ...] = ()) -> str:
    one = rule("length", max=1) if value is not None else rule("required")
    [violation] = evaluator(rule_set(one, personal=personal))({"a": value}, NOW_MS)
    return violation.message


def test_a_null_is_shown_as_null() -> None:
    assert message(None) == "m (found null)"
    assert message(None, personal=("a",)) == "m (found null)"


def test_a_long_value_is_shortened_to_80_characters() -> None:
    assert message("x" * 80) == f"m (found {'x' * 80})"
    assert message("x" * 80 + "y") == f"m (found {'x' * 80})"
    assert message("🦊" * 1_000_000) == f"m (found {'🦊' * 80})"


@given(st.text(min_size=2))
def test_a_personal_value_never_gets_into_a_message(value: str) -> None:
    assert message(value, personal=("a",)) == "m (found ***)"


def test_another_field_may_be_personal() -> None:
    assert message("xy", personal=("b",)) == "m (found xy)"


def test_a_required_personal_field_that_is_blank_is_masked_too() -> None:
    [violation] = evaluator(rule_set(rule("required"), personal=("a",)))({"a": "  "}, NOW_MS)
    assert violation.message == "m (found ***)"


# Fingerprints

FILE = """\
subject: s
personal: [a]
rules:
  - id: one
    field: n
    check: range
    min: 1
    max: 5
    severity: warning
    message: one
    owner: us
  - id: two
    field: b
    check: length
    max: 9
    severity: critical
    message: two
    owner: us
"""

REORDERED = """\
# The same, written by somebody else.
rules:
- {owner: us, message: one, severity: warning, max: 5, "min": 0x1, check: range, field: "n", id: 'one'}

- id: two  # a comment
  owner: us
  field: b
  message: two
  severity: critical
  check: length
  min: 0
  max: 9
personal:
- a
subject: "s"
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], RuleSet]:
    def of(text: str) -> RuleSet:
        path = tmp_path / "rules.yaml"
        path.write_text(text, encoding="utf-8")
        return load_rules(path, KINDS)

    return of


def test_a_fingerprint_is_16_hex_digits(read: Callable[[str], RuleSet]) -> None:
    rules = read(FILE)
    for fingerprint in (rules.fingerprint, *(r.fingerprint for r in rules.rules)):
        assert re.fullmatch("[0-9a-f]{16}", fingerprint)


def test_layout_comments_and_order_of_keys_change_no_fingerprint(read: Callable[[str], RuleSet]) -> None:
    first, second = read(FILE), read(REORDERED)
    assert [r.fingerprint for r in first.rules] == [r.fingerprint for r in second.rules]
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("id: one", "id: uno"),
        ("field: n\n    check: range", "field: n\n    check: time_window\n    before_s: 1\n    after_s: 1"),
        ("min: 1", "min: 2"),
        ("    min: 1\n", ""),
        ("max: 5", "max: 6"),
        ("severity: warning", "severity: critical"),
        ("message: one", "message: uno"),
        ("message: one", "message: one\n    when: {field: b, present: true}"),
    ],
)
def test_any_change_of_meaning_changes_rule_and_set(read: Callable[[str], RuleSet], old: str, new: str) -> None:
    changed_text = FILE.replace(old, new)
    if "time_window" in new:
        changed_text = changed_text.replace("    min: 1\n    max: 5\n", "")
    before, after = read(FILE), read(changed_text)
    assert before.rules[0].fingerprint != after.rules[0].fingerprint
    assert before.rules[1].fingerprint == after.rules[1].fingerprint
    assert before.fingerprint != after.fingerprint


def test_a_rule_on_another_field_is_another_rule(read: Callable[[str], RuleSet]) -> None:
    assert read(FILE).rules[1].fingerprint != read(FILE.replace("field: b", "field: a")).rules[1].fingerprint


def test_the_set_changes_with_order_personal_fields_subject_and_missing_rules() -> None:
    one, two = rule("required", id="one"), rule("required", id="two")
    sets = [
        rule_set(one, two),
        rule_set(two, one),
        rule_set(one),
        rule_set(one, two, personal=("a",)),
        RuleSet.model_validate({"subject": "t", "rules": [one, two]}),
        rule_set(),
    ]
    assert len({s.fingerprint for s in sets}) == len(sets)


def test_fingerprints_stay_the_same_from_release_to_release() -> None:
    """Bad rows carry them for years: SHA-256 of the canonical JSON, first 16 digits, computed with sha256sum."""
    # printf '{"check":"required","field":"a","id":"r","message":"m","owner":"us","severity":"critical"}' | sha256sum
    assert rule_set(REQUIRED).rules[0].fingerprint == "65de19973c811a78"
    # printf '["s",[],["65de19973c811a78"]]' | sha256sum
    assert rule_set(REQUIRED).fingerprint == "3bfa7a64080f9980"
    # printf '{"check":"compare","field":"n","id":"r","message":"m","op":"<","other":"k","owner":"us",
    #          "severity":"critical","when":{"field":"b","one_of":["x"]}}' (without the line break) | sha256sum
    one = rule("compare", "n", op="<", other="k", when={"field": "b", "one_of": ["x"]})
    assert rule_set(one).rules[0].fingerprint == "0e71f85c1effe8c8"


@pytest.mark.parametrize(
    "when",
    [
        {"field": "b", "present": True},
        {"field": "b", "present": False},
        {"field": "n", "present": True},
        {"field": "n", "min": 1},
        {"field": "n", "max": 1},
        {"field": "n", "min": 1, "max": 1},
        {"field": "b", "one_of": ["x"]},
        {"field": "b", "one_of": ["x", "y"]},
    ],
)
def test_every_condition_has_a_fingerprint_of_its_own(when: dict[str, Any]) -> None:
    one = rule("length", max=1)
    assert (
        len({rule_set(r).fingerprint for r in (one, one | {"when": when}, one | {"when": {"field": "n", "min": 2}})})
        == 3
    )


def test_the_definition_is_what_the_fingerprint_is_made_of_and_reads_back() -> None:
    rules = rule_set(
        rule("compare", "n", op="<=", other="k", when={"field": "b", "present": False}),
        rule("range", "n", id="r2", max=5),
        personal=("a",),
    )
    for one in rules.rules:
        assert hashlib.sha256(one.definition.encode()).hexdigest()[:16] == one.fingerprint
    again = RuleSet.model_validate_json(rules.definition)
    assert again == rules
    assert (again.fingerprint, again.definition) == (rules.fingerprint, rules.definition)


def test_the_fields_that_verdicts_depend_on() -> None:
    rules = rule_set(
        rule("compare", "n", op="<=", other="k", when={"field": "b", "present": False}), rule("length", id="r2", max=5)
    )
    assert rules.fields == ("n", "b", "k", "a")


# Differences of two sets


def test_a_set_does_not_differ_from_itself() -> None:
    rules = rule_set(rule("required"), personal=("a",))
    found = changes(rules, rules)
    assert found == Changes((), (), (), reordered=False, personal=False)
    assert not found


def test_rules_are_added_removed_and_changed_by_id_and_fingerprint() -> None:
    same, old, gone = rule("required", id="same"), rule("length", id="old", max=1), rule("required", id="gone")
    before = rule_set(same, old, gone)
    after = rule_set(rule("required", id="new"), same, old | {"max": 2})
    assert changes(before, after) == Changes(("new",), ("gone",), ("old",), reordered=False, personal=False)


def test_another_order_and_other_personal_fields_are_changes_too() -> None:
    one, two = rule("required", id="one"), rule("required", id="two")
    assert changes(rule_set(one, two), rule_set(two, one)) == Changes((), (), (), reordered=True, personal=False)
    assert changes(rule_set(one), rule_set(one, personal=("a",))) == Changes((), (), (), reordered=False, personal=True)
