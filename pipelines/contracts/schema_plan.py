"""How the schemas of a registry differ from the files under ``schemas/``, and whether that can be mended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

COMPATIBILITY = "BACKWARD"
"""The level that every subject is held to: a version reads what the version before it wrote."""


class Conflict(StrEnum):
    """What registering can't mend."""

    TEXT_DIFFERS = "text_differs"
    NO_FILE = "no_file"
    OUT_OF_ORDER = "out_of_order"


@dataclass(frozen=True, slots=True)
class Clash:
    """One version that is not as it must be. ``version``: the registry's number, or the file's if only that exists."""

    version: int
    code: Conflict
    message: str


@dataclass(frozen=True, slots=True)
class SubjectPlan:
    """One subject. ``missing``: versions of files that the registry hasn't. ``level``: None without any version."""

    subject: str
    missing: tuple[int, ...] = ()
    clashes: tuple[Clash, ...] = ()
    level: str | None = COMPATIBILITY

    @property
    def is_level_right(self) -> bool:
        """Without a version there is nothing to hold to a level; the first one to be registered sets it."""
        return self.level in (None, COMPATIBILITY)

    @property
    def is_empty(self) -> bool:
        return not self.missing and not self.clashes and self.is_level_right


@dataclass(frozen=True, slots=True)
class SchemaPlan:
    """All subjects under ``schemas/``, and the ``unmanaged`` ones: those that only the registry has."""

    subjects: tuple[SubjectPlan, ...]
    unmanaged: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return all(subject.is_empty for subject in self.subjects)


def plan_subject(
    subject: str, files: Mapping[int, str], registered: Mapping[int, str], level: str | None
) -> SubjectPlan:
    """Hold the files of a subject (version → text) against what is registered, oldest first.

    Versions are the same if their JSON is: layout does not count, nor does the number that the registry gave. One that
    says the same as an earlier one has no registration of its own.
    """
    ours, theirs = _firsts(files), _firsts(registered)
    missing = {number for text, number in ours.items() if text not in theirs}
    foreign = {number: text for text, number in theirs.items() if text not in ours}
    differing = missing & foreign.keys()
    clashes = [_differs(number, files[number], registered[number]) for number in sorted(differing)]
    clashes += [
        Clash(number, Conflict.NO_FILE, "no file has it: add it to schemas/, or delete it in the registry")
        for number in sorted(foreign.keys() - differing)
    ]
    clashes += _out_of_order([(number, theirs.get(text)) for text, number in ours.items() if number not in differing])
    return SubjectPlan(subject, tuple(sorted(missing - differing)), tuple(clashes), level if registered else None)


def _firsts(versions: Mapping[int, str]) -> dict[str, int]:
    """Canonical text → the first version that has it."""
    found: dict[str, int] = {}
    for number in sorted(versions):
        found.setdefault(_canonical(versions[number]), number)
    return found


def _canonical(text: str) -> str:
    return json.dumps(_parsed(text), sort_keys=True)


def _parsed(text: str) -> Any:
    """A registry may hold what is no JSON; that is like nothing of ours."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _out_of_order(files: list[tuple[int, int | None]]) -> Iterator[Clash]:
    """Pairs of a file's version and the registry's: these must rise together, and what is missing be the last."""
    for (older, was), (newer, became) in pairwise(files):
        if became is not None and (was is None or was > became):
            text = f"v{older} has to come before v{newer}, which is registered already as version {became}"
            yield Clash(older, Conflict.OUT_OF_ORDER, text)


def _differs(version: int, ours: str, theirs: str) -> Clash:
    where = _where(_parsed(ours), _parsed(theirs))
    text = f"the file and the registry differ{where}: a released version is never edited, make it a new one"
    return Clash(version, Conflict.TEXT_DIFFERS, text)


def _where(ours: Any, theirs: Any) -> str:
    """The fields and other attributes in which two records differ."""
    parts = _parts(ours), _parts(theirs)
    if not all(parts):
        return ""
    names = sorted(name for name in parts[0].keys() | parts[1].keys() if parts[0].get(name) != parts[1].get(name))
    return f" in {', '.join(names) or 'the order of the fields'}"


def _parts(schema: Any) -> dict[str, Any]:
    """Fields of a record and its other attributes, by name; nothing for what is no record."""
    if not isinstance(schema, dict) or not isinstance(schema.get("fields"), list):
        return {}
    fields = {f"field {field['name']}": field for field in schema["fields"]}
    return {key: value for key, value in schema.items() if key != "fields"} | fields
