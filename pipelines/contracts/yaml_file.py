"""Read a YAML file of ours into a model; every mistake is named with file, line and reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipelines.errors import InvalidFile

M = TypeVar("M", bound=BaseModel)

_NOT_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
"""What PyYAML raises for one bad text or another: a date that does not exist, ``!!int ""``, ten thousand brackets, …"""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file's content, and where each part of it stands. ``refusal``: the error that names its mistakes."""

    name: str
    content: Any
    node: Any
    refusal: type[InvalidFile]

    def parse(self, model: type[M], *, tag_at: int | None = None) -> M:
        """The content as ``model``; raises ``refusal`` for the first of several mistakes, repeated keys among them.

        ``tag_at``: which part of a mistake's place is no key of the file but the tag of a union.
        """
        try:
            found = model.model_validate(self.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = first["loc"]
            names = ".".join(str(part) for n, part in enumerate(where) if n != tag_at)
            raise self.refused(where, f"{names or 'file'}: {first['msg']}") from None
        _refuse_repeated_keys(self.node, self)  # not before: a file that holds itself has no end
        return found

    def refused(self, where: tuple[Any, ...], reason: str) -> InvalidFile:
        """The error for a mistake at ``where`` (keys and positions)."""
        return self.refusal(self.name, _line(self.node, where), reason)


def read(path: Path, refusal: type[InvalidFile]) -> YamlFile:
    """Read and compose ``path``. Raises ``refusal`` for a file that can't be read and for bad YAML."""
    return compose(text_of(path, refusal), str(path), refusal)


def text_of(path: Path, refusal: type[InvalidFile]) -> str:
    """The text of a file. Raises ``refusal``."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise refusal(str(path), 1, error.strerror or str(error)) from None
    except ValueError as error:
        raise refusal(str(path), 1, f"not YAML: {error}") from None


def compose(text: str, name: str, refusal: type[InvalidFile]) -> YamlFile:
    """Compose ``text``, called ``name`` in messages. Raises ``refusal`` for bad YAML."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except _NOT_YAML as error:
        raise _not_yaml(text, name, error, refusal) from None
    return YamlFile(name, content, node, refusal)


def _not_yaml(text: str, name: str, error: Exception, refusal: type[InvalidFile]) -> InvalidFile:
    mark = getattr(error, "problem_mark", None)
    line = mark.line if mark else 0
    wrong = (text.splitlines() or [""])[min(line, text.count("\n"))] if mark else ""
    hint = "; an operator needs quotes: op: '>='" if wrong.lstrip(" -").startswith("op:") else ""
    return refusal(name, line + 1, f"not YAML: {error}{hint}")


def _refuse_repeated_keys(node: Any, file: YamlFile) -> None:
    """YAML would silently take the last one."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise file.refusal(file.name, key.start_mark.line + 1, f"key {key.value!r} is there twice")
            seen.add(key.value)
            _refuse_repeated_keys(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, file)


def _line(node: Any, where: tuple[Any, ...]) -> int:
    """Line of the deepest part of ``where`` that the file really holds."""
    line: int = node.start_mark.line if node is not None else 0
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == part]
            if not found:
                continue  # a tag of a union, not a key of the file
            key, node = found[0]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return line + 1
