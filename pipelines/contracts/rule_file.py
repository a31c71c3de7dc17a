"""Read a rule file; every mistake is named with file, line and reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipelines.contracts.rules import CHECK_TYPES, RuleSet
from pipelines.errors import InvalidRuleFile


def load_rules(path: Path, fields: Mapping[str, str]) -> RuleSet:
    """Parse ``path`` against the subject's fields (name → ``text`` or ``number``).

    Raises InvalidRuleFile for bad YAML, unknown keys or checks, unknown fields, checks on the wrong type of field,
    duplicate ids and keys, and the first of several mistakes.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except OSError as error:
        raise InvalidRuleFile(str(path), 1, error.strerror or str(error)) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that does not exist
        mark = getattr(error, "problem_mark", None)
        raise InvalidRuleFile(str(path), mark.line + 1 if mark else 1, f"not YAML: {error}") from None
    try:
        rules = RuleSet.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"]
        names = ".".join(map(str, where[:2] + where[3:]))  # the third part is the tag of the union of checks
        raise InvalidRuleFile(str(path), _line(node, where), f"{names or 'file'}: {first['msg']}") from None
    _refuse_repeated_keys(node, path)
    _check_fields(rules, fields, path, node)
    return rules


def _refuse_repeated_keys(node: Any, path: Path) -> None:
    """YAML would silently take the last one."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise InvalidRuleFile(str(path), key.start_mark.line + 1, f"key {key.value!r} is there twice")
            seen.add(key.value)
            _refuse_repeated_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, path)


def _check_fields(rules: RuleSet, fields: Mapping[str, str], path: Path, node: Any) -> None:
    seen: set[str] = set()
    for position, rule in enumerate(rules.rules):

        def refuse(key: str, reason: str, position: int = position) -> InvalidRuleFile:
            return InvalidRuleFile(str(path), _line(node, ("rules", position, key)), reason)

        if rule.id in seen:
            raise refuse("id", f"duplicate rule id {rule.id!r}")
        seen.add(rule.id)
        if rule.field not in fields:
            raise refuse("field", f"{rule.id}: unknown field {rule.field!r}; there are {', '.join(fields)}")
        if fields[rule.field] not in CHECK_TYPES[rule.check]:
            raise refuse(
                "check", f"{rule.id}: {rule.check} can't be put on the {fields[rule.field]} field {rule.field!r}"
            )
    for field in rules.personal:
        if field not in fields:
            raise InvalidRuleFile(str(path), _line(node, ("personal",)), f"unknown personal field {field!r}")


def _line(node: Any, where: tuple[Any, ...]) -> int:
    """Line of the deepest part of ``where`` that the file really holds."""
    line: int = node.start_mark.line if node is not None else 0
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == part]
            if not found:
                continue  # a tag of the union of checks, not a key of the file
            key, node = found[0]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return line + 1
