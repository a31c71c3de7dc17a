"""The files under ``schemas/``: ``<subject>/v<N>.avsc``, checked as a whole before anything is released."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pipelines.contracts import avro, avro_wellformed, event_schema
from pipelines.contracts.compatibility import problems
from pipelines.contracts.evolution import misfits, unfit
from pipelines.contracts.writer import LogSchema
from pipelines.errors import UsageError

LOG_SUBJECTS = ("api6-logs-value",)
"""Subjects whose versions must be flat log records (see LogSchema)."""

_FILE = re.compile(r"v([1-9][0-9]*)\.avsc")


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

    Every file is a parseable version with a name of its own, versions run from 1 without a hole, names and defaults are
    those that Avro allows, log subjects hold flat log records that the columns of version 1 have a place for, event
    subjects hold events, and each version reads what its predecessor wrote.
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
    if not versions:
        return []
    texts = {_named(path): _read(path) for path in versions.values()}
    newest = list(texts)[-1]
    found = list(_step(name, text, newest, texts[newest]))
    # the released ones before it are taken as they are: what is wrong with them is not for this file to answer
    return found or [f for f in _homeless(subject, texts | {name: text}, ()) if f.file == name]


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
            Finding(file, f"field {name}: {why}" if name else why, f"fields.{name}" if name else "")
            for name, why in avro_wellformed.defects(schema.parsed)
        ]
        if subject in LOG_SUBJECTS and not found and (reason := unfit(LogSchema(text))):
            found = [Finding(file, reason)]
        if subject in event_schema.SUBJECTS:
            strange = event_schema.misfits(schema.parsed)
            found += [Finding(file, f"field {name}: {why}", f"fields.{name}") for name, why in strange]
    except UsageError as error:
        return [Finding(file, str(error))]
    except RecursionError:
        return [Finding(file, "nested too deeply to be a schema")]
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
    found += [f for (older, was), (newer, text) in pairwise(sound) for f in _step(newer, text, older, was)]
    return [*found, *_homeless(folder.name, texts, {finding.file for finding in found})]


def _homeless(subject: str, texts: Mapping[str, str], wrong: Collection[str]) -> Iterator[Finding]:
    """Versions of a log, else right, that the tables have no place for. ``texts``: file → text, oldest first."""
    first, *_ = texts
    if subject not in LOG_SUBJECTS or first in wrong:
        return
    versions = {name: LogSchema(text) for name, text in texts.items() if name not in wrong}
    for name, reason in misfits(versions[first], versions).items():
        yield Finding(name, f"the tables have no place for it: {reason}")


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


def _named(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
