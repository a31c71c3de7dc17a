"""Read a rule file; every mistake is named with file, line and reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.contracts import yaml_file
from pipelines.contracts.rules import CHECK_TYPES, NUMBER, ORDERING, TEXT, Compare, Rule, RuleSet, When
from pipelines.errors import InvalidRuleFile

Key = str | int
"""A step into the file: name in a mapping or position in a list."""


def load_rules(path: Path, fields: Mapping[str, str]) -> RuleSet:
    """Parse the file ``path``; see parse_rules."""
    return parse_rules(read_rules(path), str(path), fields)


def read_rules(path: Path) -> str:
    """The text of a rule file. Raises InvalidRuleFile."""
    return yaml_file.text_of(path, InvalidRuleFile)


def parse_rules(text: str, name: str, fields: Mapping[str, str]) -> RuleSet:
    """Parse ``text``, called ``name`` in messages, against the subject's fields (name → ``text`` or ``number``).

    Raises InvalidRuleFile for bad YAML, unknown keys or checks, unknown fields, checks on the wrong kind of field,
    duplicate ids and keys, and the first of several mistakes.
    """
    file = yaml_file.compose(text, name, InvalidRuleFile)
    rules = file.parse(RuleSet, tag_at=2)  # the third part is the tag of the union of checks
    for where, reason in _mistakes(rules, fields):
        raise file.refused(where, reason)
    return rules


def _mistakes(rules: RuleSet, fields: Mapping[str, str]) -> Iterator[tuple[tuple[Key, ...], str]]:
    """What the fields have against the rules: (place in the file, reason)."""
    seen: set[str] = set()
    for position, rule in enumerate(rules.rules):
        place = ("rules", position)
        if rule.id in seen:
            yield (*place, "id"), f"duplicate rule id {rule.id!r}"
        seen.add(rule.id)
        for key, reason in _mistakes_of(rule, fields):
            yield (*place, *key), f"{rule.id}: {reason}"
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
    if isinstance(rule, Compare):
        yield from _mistakes_of_other(rule, kind, fields)
    if rule.when is not None:
        yield from _mistakes_of_when(rule.when, fields)


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
