"""Read a rule file; every mistake is named with file, line and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pipelines.contracts import regex, yaml_file
from pipelines.contracts.rules import CHECK_TYPES, NUMBER, ORDERING, TEXT, Compare, Pattern, Rule, RuleSet, When
from pipelines.errors import InvalidRuleFile

Key = str | int
"""A step into the file: name in a mapping or position in a list."""


SHOWN_CHARS = 80
"""How much of a regular expression a message shows."""

Refusal = Callable[[Rule], str | None]
"""What the engine that must compile a rule has against its regular expression, if anything."""


def load_rules(path: Path, fields: Mapping[str, str], subject: str | None = None) -> RuleSet:
    """Parse the file ``path``; see parse_rules."""
    return parse_rules(read_rules(path), str(path), fields, subject)


def read_rules(path: Path) -> str:
    """The text of a rule file. Raises InvalidRuleFile."""
    return yaml_file.text_of(path, InvalidRuleFile)


def parse_rules(
    text: str,
    name: str,
    fields: Mapping[str, str],
    subject: str | None = None,
    refusal: Refusal = lambda _: None,
) -> RuleSet:
    """Parse ``text``, called ``name`` in messages, against the subject's fields (name → ``text`` or ``number``).

    ``subject``: the one that the rules must be for, if given. Raises InvalidRuleFile for bad YAML, unknown keys or
    checks, unknown fields, checks on the wrong kind of field, regular expressions that Java and Python do not share,
    duplicate ids and keys, and the first of several mistakes.
    """
    file = yaml_file.compose(text, name, InvalidRuleFile)
    rules = file.parse(RuleSet, tag_at=2)  # the third part is the tag of the union of checks
    if subject not in (None, rules.subject):
        raise file.refused(("subject",), f"these rules are for subject {rules.subject!r}, not for {subject!r}")
    for where, reason in _mistakes(rules, fields, refusal):
        raise file.refused(where, reason)
    return rules


def _mistakes(rules: RuleSet, fields: Mapping[str, str], refusal: Refusal) -> Iterator[tuple[tuple[Key, ...], str]]:
    """What the fields, and who must compile them, have against the rules: (place in the file, reason)."""
    seen: set[str] = set()
    for position, rule in enumerate(rules.rules):
        place = ("rules", position)
        if rule.id in seen:
            yield (*place, "id"), f"duplicate rule id {rule.id!r}"
        seen.add(rule.id)
        for key, reason in _mistakes_of(rule, fields):
            yield (*place, *key), f"{rule.id}: {reason}"
        if against := refusal(rule):
            yield (*place, "regex"), f"{rule.id}: {against}"
    for field in rules.personal:
        if field not in fields:
            yield ("personal",), f"unknown personal field {field!r}"


def _mistakes_of(rule: Rule, fields: Mapping[str, str]) -> Iterator[tuple[tuple[Key, ...], str]]:
    if rule.field not in fields:
        yield ("field",), _unknown(rule.field, fields)
        return
    kind = fields[rule.field]
    if kind not in CHECK_TYPES[rule.check]:
        yield ("check",), f"{rule.check} can't be put on the {kind} field {rule.field!r}"
    if isinstance(rule, Pattern):
        yield from _mistakes_of_regex(rule)
    if isinstance(rule, Compare):
        yield from _mistakes_of_other(rule, kind, fields)
    if rule.when is not None:
        yield from _mistakes_of_when(rule.when, fields)


def _mistakes_of_regex(rule: Pattern) -> Iterator[tuple[tuple[Key, ...], str]]:
    try:
        regex.check(rule.regex)
    except regex.NotShared as error:
        yield ("regex",), f"regex {rule.regex[:SHOWN_CHARS]!r}: {error}"


def _mistakes_of_other(rule: Compare, kind: str, fields: Mapping[str, str]) -> Iterator[tuple[tuple[Key, ...], str]]:
    if rule.other not in fields:
        yield ("other",), _unknown(rule.other, fields)
    elif fields[rule.other] != kind:
        yield (
            ("other",),
            f"the {kind} field {rule.field!r} can't be compared with the {fields[rule.other]} field {rule.other!r}",
        )
    elif kind == TEXT and rule.op in ORDERING:
        yield ("op",), f"texts have no order: {rule.op} can't be put on the text field {rule.field!r}, only = and !="


def _mistakes_of_when(when: When, fields: Mapping[str, str]) -> Iterator[tuple[tuple[Key, ...], str]]:
    if when.field not in fields:
        yield ("when", "field"), _unknown(when.field, fields)
        return
    parts = {"min": (when.min, NUMBER), "max": (when.max, NUMBER), "one_of": (when.one_of, TEXT)}
    for name, (part, kind) in parts.items():
        if part is not None and fields[when.field] != kind:
            yield ("when", name), f"when: {name} can't be put on the {fields[when.field]} field {when.field!r}"


def _unknown(field: str, fields: Mapping[str, str]) -> str:
    return f"unknown field {field!r}; there are {', '.join(fields)}"
