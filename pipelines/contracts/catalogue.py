"""The files under ``schemas/``: ``<subject>/v<N>.avsc``, checked as a whole before anything is released."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipelines.contracts import avro
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


def check_all(folder: Path) -> list[str]:
    """What is wrong with the schemas in ``folder``, as ``file: field and reason``; nothing when all is well.

    Every file is a parseable version with a name of its own, versions run from 1 without a hole, log subjects hold flat
    log records, a default fits its type, and each version reads what its predecessor wrote.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    if not entries:
        return [f"{folder.name}: there is no schema in it"]
    return [text for entry in entries for text in _check_subject(entry)]


def flaws(subject: str, text: str) -> list[str]:
    """What is wrong with the text of one version by itself."""
    if "\ufffd" in text:
        return ["not UTF-8"]
    try:
        schema = avro.parse(text)
        found = [f"field {name}: {reason}" for name, reason in _unfit_defaults(schema.parsed)]
        if subject in LOG_SUBJECTS:
            _ = LogSchema(text).fields
    except UsageError as error:
        return [str(error)]
    except RecursionError:
        return ["nested too deeply to be a schema"]
    return found


def _check_subject(folder: Path) -> list[str]:
    if not folder.is_dir():
        return [f"{folder.name}: a file outside of any subject's folder"]
    files = {int(m[1]): p for p in sorted(folder.iterdir()) if (m := _FILE.fullmatch(p.name))}
    found = [f"{_named(p)}: not named v<N>.avsc" for p in sorted(folder.iterdir()) if not _FILE.fullmatch(p.name)]
    found += [f"{folder.name}/v{n}.avsc: missing" for n in range(1, max(files, default=1)) if n not in files]
    if not files:
        return [*found, f"{folder.name}: no version"]
    texts = {_named(files[n]): files[n].read_text(encoding="utf-8", errors="replace") for n in sorted(files)}
    wrong = {name: flaws(folder.name, text) for name, text in texts.items()}
    found += [f"{name}: {flaw}" for name, reasons in wrong.items() for flaw in reasons]
    return [*found, *_steps({name: text for name, text in texts.items() if not wrong[name]})]


def _steps(texts: Mapping[str, str]) -> Iterator[str]:
    """Problems of each version with the one before."""
    for (older, old_text), (newer, new_text) in pairwise(texts.items()):
        for problem in problems(new_text, old_text):
            yield f"{newer}: can't read what {older} wrote: {problem.message} ({problem.code})"


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
