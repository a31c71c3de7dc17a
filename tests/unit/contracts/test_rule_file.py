"""Every mistake in a rule file is refused with file, line and reason; the file that ships is compared whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.contracts.rule_file import load_rules, parse_rules
from pipelines.contracts.rules import RuleSet
from pipelines.errors import InvalidRuleFile

KINDS = {"name": "text", "size": "number"}

GOOD = """\
subject: s
personal: [name]
rules:
  - id: name_blank
    field: name
    check: required
    severity: critical
    message: name must not be blank
    owner: us
  - id: size_range
    field: size
    check: range
    min: 1
    max: 5
    severity: warning
    message: size should be within 1 and 5
    owner: us
"""


def load(folder: Path, text: str) -> RuleSet:
    path = folder / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return load_rules(path, KINDS)


def refusal(folder: Path, text: str) -> InvalidRuleFile:
    with pytest.raises(InvalidRuleFile) as caught:
        load(folder, text)
    assert str(caught.value).startswith(f"{folder / 'rules.yaml'}:{caught.value.line}: ")
    return caught.value


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    common = {"owner": "us"}
    assert load(tmp_path, GOOD).model_dump(mode="json") == {
        "subject": "s",
        "personal": ["name"],
        "rules": [
            {
                "id": "name_blank",
                "field": "name",
                "check": "required",
                "severity": "critical",
                "message": "name must not be blank",
                **common,
            },
            {
                "id": "size_range",
                "field": "size",
                "check": "range",
                "min": 1,
                "max": 5,
                "severity": "warning",
                "message": "size should be within 1 and 5",
                **common,
            },
        ],
    }


@pytest.mark.parametrize(
    ("good", "bad", "line", "reason"),
    [
        pytest.param("personal: [name]", "personal: [name", 3, "not YAML", id="bad YAML"),
        pytest.param("    min: 1\n", "    minimum: 1\n", 13, "rules.1.minimum: Extra inputs", id="unknown key"),
        pytest.param("    min: 1\n", "    length: 1\n", 13, "rules.1.length: Extra inputs", id="key called as a check"),
        pytest.param("    min: 1\n", "    range: 1\n", 13, "rules.1.range: Extra inputs", id="key called as its check"),
        pytest.param("personal:", "personel:", 2, "personel: Extra inputs", id="unknown key at the top"),
        pytest.param("check: range", "check: rnage", 10, "rules.1: Input tag 'rnage'", id="unknown check"),
        pytest.param("    check: range\n", "", 10, "rules.1: Unable to extract tag", id="no check"),
        pytest.param("field: size", "field: sise", 11, "size_range: unknown field 'sise'; there are", id="field"),
        pytest.param("field: size", "field: name", 12, "range can't be put on the text field 'name'", id="wrong type"),
        pytest.param("id: size_range", "id: name_blank", 10, "duplicate rule id 'name_blank'", id="duplicate id"),
        pytest.param("id: size_range", "id: Size-Range", 10, "rules.1.id: String should match", id="bad id"),
        pytest.param("min: 1", "min: 6", 10, "rules.1: Value error, min 6 is greater than max 5", id="min > max"),
        pytest.param("    min: 1\n    max: 5\n", "", 10, "range needs min, max or both", id="no bounds"),
        pytest.param("min: 1", "min: one", 13, "rules.1.min: Input should be a valid integer", id="no number"),
        pytest.param("severity: warning", "severity: mild", 15, "rules.1.severity: Input should be", id="severity"),
        pytest.param("    message: size should be within 1 and 5\n", "", 10, "message: Field required", id="message"),
        pytest.param("name must not be blank", '""', 8, "rules.0.message: String should have", id="empty message"),
        pytest.param("personal: [name]", "personal: [nmae]", 2, "unknown personal field 'nmae'", id="personal"),
        pytest.param("    min: 1\n", "    min: 1\n    min: 2\n", 14, "key 'min' is there twice", id="key twice"),
        pytest.param("subject: s\n", "subject: s\nsubject: t\n", 2, "key 'subject' is there twice", id="subject twice"),
        pytest.param("subject: s\n", "", 1, "subject: Field required", id="no subject"),
        pytest.param("message: size should be within 1 and 5", "message: 2026-13-01", 1, "not YAML", id="no date"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, good: str, bad: str, line: int, reason: str) -> None:
    assert GOOD.count(good) == 1
    error = refusal(tmp_path, GOOD.replace(good, bad))
    assert error.line == line
    assert reason in error.reason


@pytest.mark.parametrize(
    ("check", "line", "reason"),
    [
        ("check: pattern\n    regex: '['", 10, "r: regex '[': at character 2: a ] is missing"),
        ("check: pattern\n    regex: '[[a]'", 10, "r: regex '[[a]': at character 2: write \\[ for"),
        ("check: pattern\n    regex: ^/{id}", 10, "r: regex '^/{id}': at character 3: { begins no quantifier"),
        (
            "check: pattern\n    whole: true\n    regex: (a|b)*",
            11,
            "r: regex '(a|b)*': at character 6: Java's",
        ),
        ("check: length\n    min: 3\n    max: 2", 4, "rules.0: Value error, min 3 is greater than max 2"),
        ("check: length\n    min: -1", 10, "rules.0.min: Input should be greater than or equal to 0"),
        ("check: one_of\n    values: []", 10, "rules.0.values: Tuple should have at least 1 item"),
        ("check: one_of\n    values: [GET, NO]", 10, "rules.0.values.1: Input should be a valid string"),
        ("check: ip\n    version: 4", 10, "rules.0.version: Extra inputs"),
    ],
)
def test_a_mistake_in_a_check_of_text_is_named(tmp_path: Path, check: str, line: int, reason: str) -> None:
    rule = f"  - id: r\n    field: name\n    severity: critical\n    message: m\n    owner: us\n    {check}\n"
    error = refusal(tmp_path, f"subject: s\n\nrules:\n{rule}")
    assert error.line == line
    assert reason in error.reason


@pytest.mark.parametrize(
    ("check", "field"),
    [
        ("check: time_window\n    before_s: 1\n    after_s: 1", "name"),
        ("check: range\n    min: 1", "name"),
        ("check: one_of\n    values: [a]", "size"),
        ("check: pattern\n    regex: a", "size"),
        ("check: length\n    max: 1", "size"),
        ("check: ip", "size"),
    ],
)
def test_a_check_on_the_wrong_type_is_refused(tmp_path: Path, check: str, field: str) -> None:
    rule = f"  - id: r\n    field: {field}\n    severity: critical\n    message: m\n    owner: us\n    {check}\n"
    error = refusal(tmp_path, f"subject: s\nrules:\n{rule}")
    assert error.line == 8
    assert f"can't be put on the {KINDS[field]} field {field!r}" in error.reason


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "just words\n", "42\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    error = refusal(tmp_path, text)
    assert error.line == 1
    assert error.reason.startswith("file: Input should be a valid dictionary")


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(GOOD.replace("us", "\xfcs").encode("latin-1"))
    with pytest.raises(InvalidRuleFile, match=r"rules\.yaml:1: not YAML"):
        load_rules(path, KINDS)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRuleFile, match=r"nowhere\.yaml:1: No such file or directory"):
        load_rules(tmp_path / "nowhere.yaml", KINDS)


def rules_of(number: int) -> str:
    one = "  - {{id: r{n}, field: name, check: required, severity: critical, message: m, owner: us}}\n"
    return "subject: s\nrules:\n" + "".join(one.format(n=n) for n in range(number))


def test_a_long_has_60_bits_for_rules_so_60_are_the_most(tmp_path: Path) -> None:
    assert len(load(tmp_path, rules_of(60)).rules) == 60
    error = refusal(tmp_path, rules_of(61))
    assert error.line == 2
    assert "at most 60" in error.reason


COMPARED = """\
subject: s
rules:
  - id: smaller
    field: size
    check: compare
    op: "<="
    other: room
    severity: critical
    message: size must not be greater than room
    owner: us
    when:
      field: name
      one_of: [a, b]
"""
MORE_KINDS = KINDS | {"room": "number", "nick": "text"}


def test_a_comparison_with_a_condition_is_read_whole(tmp_path: Path) -> None:
    [rule] = parse_rules(COMPARED, "rules", MORE_KINDS).model_dump(mode="json")["rules"]
    assert rule == {
        "id": "smaller",
        "field": "size",
        "check": "compare",
        "op": "<=",
        "other": "room",
        "severity": "critical",
        "message": "size must not be greater than room",
        "owner": "us",
        "when": {"field": "name", "one_of": ["a", "b"]},
    }


@pytest.mark.parametrize(
    "when",
    ["{field: size, min: 1}", "{field: size, max: -1, present: yes}", "{field: nick, present: no}"],
)
def test_conditions_of_every_kind_are_read(when: str) -> None:
    text = COMPARED.replace("\n      field: name\n      one_of: [a, b]", f" {when}")
    assert parse_rules(text, "rules", MORE_KINDS).rules[0].when is not None


@pytest.mark.parametrize(
    ("good", "bad", "line", "reason"),
    [
        pytest.param("other: room", "other: rome", 7, "smaller: unknown field 'rome'; there are name", id="other"),
        pytest.param(
            "other: room", "other: nick", 7, "the number field 'size' can't be compared with the text", id="mix"
        ),
        pytest.param("other: room", "other: size", 3, "size is compared with itself", id="itself"),
        pytest.param("    other: room\n", "", 3, "rules.0.other: Field required", id="no other"),
        pytest.param('op: "<="', 'op: "<>"', 6, "rules.0.op: Input should be '<', '<='", id="no operator"),
        pytest.param('op: "<="', "op: =", 6, "an operator needs quotes", id="= without quotes"),
        pytest.param('op: "<="', "op: !=", 6, "an operator needs quotes", id="!= without quotes"),
        pytest.param('op: "<="', "op: >=", 6, "an operator needs quotes", id=">= without quotes"),
        pytest.param("      one_of: [a, b]\n", "", 11, "when needs present, min, max or one_of", id="no part"),
        pytest.param("      field: name\n", "", 11, "rules.0.when.field: Field required", id="when without field"),
        pytest.param(
            "field: name", "field: nmae", 12, "smaller: unknown field 'nmae'; there are name", id="when.field"
        ),
        pytest.param(
            "one_of: [a, b]", "min: 1", 13, "when: min can't be put on the text field 'name'", id="min of text"
        ),
        pytest.param(
            "one_of: [a, b]", "max: 1", 13, "when: max can't be put on the text field 'name'", id="max of text"
        ),
        pytest.param("field: name", "field: room", 13, "when: one_of can't be put on the number field", id="one_of"),
        pytest.param("one_of: [a, b]", "one_of: []", 13, "rules.0.when.one_of: Tuple should have at least", id="none"),
        pytest.param("one_of: [a, b]", "one_off: [a]", 13, "rules.0.when.one_off: Extra inputs", id="unknown part"),
        pytest.param(
            "one_of: [a, b]", "present: maybe", 13, "rules.0.when.present: Input should be a valid bool", id="?"
        ),
        pytest.param(
            "one_of: [a, b]", "one_of: [a]\n      present: no", 11, "a null meets only present: false", id="never"
        ),
        pytest.param("one_of: [a, b]", "min: 2\n      max: 1", 11, "min 2 is greater than max 1", id="crossed"),
        pytest.param(
            "one_of: [a, b]", "min: 1.5", 13, "rules.0.when.min: Input should be a valid integer", id="broken"
        ),
        pytest.param("one_of: [a, b]", "min: 9223372036854775808", 13, "less than or equal to", id="no long"),
    ],
)
def test_a_mistake_in_a_comparison_or_condition_is_named(good: str, bad: str, line: int, reason: str) -> None:
    assert COMPARED.count(good) == 1
    with pytest.raises(InvalidRuleFile) as caught:
        parse_rules(COMPARED.replace(good, bad), "hdfs://rules", MORE_KINDS)
    assert str(caught.value).startswith(f"hdfs://rules:{line}: ")
    assert reason in caught.value.reason


@pytest.mark.parametrize("op", ["<", "<=", ">=", ">"])
def test_texts_have_no_order(op: str) -> None:
    text = COMPARED.replace("field: size", "field: nick").replace("other: room", "other: name").replace("<=", op)
    with pytest.raises(InvalidRuleFile, match=r"rules:6: smaller: texts have no order") as caught:
        parse_rules(text, "rules", MORE_KINDS)
    assert f"{op} can't be put on the text field 'nick'" in caught.value.reason


@pytest.mark.parametrize("op", ["=", "!="])
def test_texts_can_be_equal(op: str) -> None:
    text = COMPARED.replace("field: size", "field: nick").replace("other: room", "other: name").replace("<=", op)
    assert parse_rules(text, "rules", MORE_KINDS).rules[0].field == "nick"


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "a: !!int ''", "a: !!bool maybe", "a: !!timestamp soon", "a: !!binary é", "? [a]\n: b", "a: \x00"],
)
def test_whatever_yaml_chokes_on_is_a_mistake_in_the_file(text: str) -> None:
    with pytest.raises(InvalidRuleFile, match="not YAML"):
        parse_rules(text, "rules", KINDS)


@pytest.mark.parametrize("text", ["subject: s\nrules: &r [*r]\n", "&a [*a]", "subject: &s {x: *s}\nrules: []\n"])
def test_a_file_that_holds_itself_is_a_mistake(text: str) -> None:
    with pytest.raises(InvalidRuleFile, match=r"rules:[12]: "):
        parse_rules(text, "rules", KINDS)


def test_the_first_of_several_mistakes_is_named(tmp_path: Path) -> None:
    text = GOOD.replace("severity: critical", "severity: mild").replace("min: 1", "min: one")
    assert refusal(tmp_path, text).line == 7


def test_rules_for_another_subject_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("# ours\nsubject: other\nrules: []\n", encoding="utf-8")
    with pytest.raises(InvalidRuleFile, match=r"rules\.yaml:2: these rules are for subject 'other', not for 's'"):
        load_rules(path, KINDS, "s")
    assert load_rules(path, KINDS, "other").rules == ()


def test_what_an_engine_has_against_a_regex_is_named_at_its_place() -> None:
    rule = "  - {id: one, field: name, severity: critical, message: m, owner: us, check: pattern,\n     regex: a}\n"
    with pytest.raises(InvalidRuleFile, match=r"^rules:4: one: no, says Java$"):
        parse_rules(f"subject: s\nrules:\n{rule}", "rules", KINDS, refusal=lambda _: "no, says Java")
