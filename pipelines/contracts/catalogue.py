"""The files under ``schemas/``: ``<subject>/v<N>.avsc``, checked as a whole before anything is released."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipelines.contracts import avro, event_schema
from pipelines.contracts.compatibility import problems
from pipelines.contracts.writer import LogSchema
from pipelines.errors import UsageError

LOG_SUBJECTS = ("api6-logs-value",)
"""Subjects whose versions must be flat log records (see LogSchema)."""

_FILE = re.compile(r"v([1-9][0-9]*)\.avsc")
_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "array": (list,),
    "map": (dict,),
    "record": (dict,),
    "error": (dict,),
}
"""Avro type → what JSON gives for a default of it; a text for all others."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one file.

    ``file``: its name as ``subject/v2.avsc``. ``field``: where, as in ``Problem.path``; empty for the file as a whole.
    ``code``: that of a Problem, empty for what is wrong with a file by itself. ``against``: the file whose records it
    can't read.
    """

    file: str
    reason: str
    field: str = ""
    code: str = ""
    against: str = ""

    def __str__(self) -> str:
        if not self.against:
            return f"{self.file}: {self.reason}"
        return f"{self.file}: can't read what {self.against} wrote: {self.reason} ({self.code})"


def check_all(folder: Path) -> list[str]:
    """What is wrong with the schemas in ``folder``, as ``file: field and reason``; nothing when all is well."""
    return list(map(str, examine(folder)))


def examine(folder: Path) -> list[Finding]:
    """What is wrong with the schemas in ``folder``.

    Every file is a parseable version with a name of its own, versions run from 1 without a hole, log subjects hold flat
    log records and event subjects events, a default fits its type, and each version reads what its predecessor wrote.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    if not entries:
        return [Finding(folder.name, "there is no schema in it")]
    return [finding for entry in entries for finding in _check_subject(entry)]


def examine_file(file: Path, subject: str, folder: Path) -> list[Finding]:
    """What is wrong with one file, which is a version of the subject or is going to be one.

    A file of ``folder`` is held against the versions before and after it, any other one against the newest version
    there.
    """
    home = folder / subject
    if file.resolve().parent == home.resolve():
        return [finding for finding in _check_subject(home) if _named(file) in (finding.file, finding.against)]
    name, text = str(file), _read(file)
    if wrong := _wrong(name, subject, text):
        return wrong
    versions = _versions(home) if home.is_dir() else {}
    newest = versions.get(max(versions, default=0))
    return list(_step(name, text, _named(newest), _read(newest))) if newest else []


def released(folder: Path) -> dict[str, dict[int, str]]:
    """Subject → version → text. Raises UsageError with everything that is wrong with the files."""
    if found := check_all(folder):
        raise UsageError(f"{folder}: {'; '.join(found)}")
    return {home.name: {n: _read(path) for n, path in _versions(home).items()} for home in sorted(folder.iterdir())}


def flaws(subject: str, text: str) -> list[str]:
    """What is wrong with the text of one version by itself."""
    return [finding.reason for finding in _wrong("", subject, text)]


def _wrong(file: str, subject: str, text: str) -> list[Finding]:
    if "\ufffd" in text:
        return [Finding(file, "not UTF-8")]
    try:
        schema = avro.parse(text)
        found = [
            Finding(file, f"field {name}: {why}", f"fields.{name}") for name, why in _unfit_defaults(schema.parsed)
        ]
        if subject in LOG_SUBJECTS:
            _ = LogSchema(text).fields
        if subject in event_schema.SUBJECTS:
            misfits = event_schema.misfits(schema.parsed)
            found += [Finding(file, f"field {name}: {why}", f"fields.{name}") for name, why in misfits]
    except UsageError as error:
        return [Finding(file, str(error))]
    return found


def _check_subject(folder: Path) -> list[Finding]:
    if not folder.is_dir():
        return [Finding(folder.name, "a file outside of any subject's folder")]
    files = _versions(folder)
    strangers = [path for path in sorted(folder.iterdir()) if path not in files.values()]
    found = [Finding(_named(path), "not named v<N>.avsc") for path in strangers]
    found += [Finding(f"{folder.name}/v{n}.avsc", "missing") for n in range(1, max(files, default=1)) if n not in files]
    if not files:
        return [*found, Finding(folder.name, "no version")]
    texts = {_named(path): _read(path) for path in files.values()}
    wrong = {name: _wrong(name, folder.name, text) for name, text in texts.items()}
    found += [finding for findings in wrong.values() for finding in findings]
    sound = [(name, text) for name, text in texts.items() if not wrong[name]]
    return [*found, *(f for (older, was), (newer, text) in pairwise(sound) for f in _step(newer, text, older, was))]


def _step(newer: str, text: str, older: str, was: str) -> Iterable[Finding]:
    """Problems of a version with the one before."""
    for problem in problems(text, was):
        yield Finding(newer, problem.message, problem.path, problem.code.value, older)


def _versions(folder: Path) -> dict[int, Path]:
    """Number → file, ascending."""
    found = {int(m[1]): path for path in folder.iterdir() if (m := _FILE.fullmatch(path.name))}
    return dict(sorted(found.items()))


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _unfit_defaults(schema: Any, inside: str = "") -> Iterator[tuple[str, str]]:
    """Fields whose default is not of the type, in a union not of its first: registry and Spark refuse them."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _unfit_defaults(branch, inside)
    if not isinstance(schema, dict):
        return
    for field in schema.get("fields", ()):
        name = f"{inside}{field['name']}"
        if "default" in field and not _fits(field["default"], field["type"]):
            yield name, f"the default {field['default']!r} is not of its (first) type"
        yield from _unfit_defaults(field["type"], f"{name}.")
    for part in ("items", "values"):
        yield from _unfit_defaults(schema.get(part), inside)


def _fits(default: Any, schema: Any) -> bool:
    first = schema[0] if isinstance(schema, list) else schema
    kind = first["type"] if isinstance(first, dict) else first
    if kind == "enum":
        return bool(default in first["symbols"])
    if isinstance(default, bool):
        return bool(kind == "boolean")
    is_name: bool = kind not in _JSON_TYPES and kind not in ("string", "bytes", "fixed")
    return is_name or isinstance(default, _JSON_TYPES.get(kind, (str,)))


def _named(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
