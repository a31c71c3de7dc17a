"""``sdp schemas plan|apply|check``: the files under schemas/, by themselves and beside the registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines import settings as settings_module
from pipelines.cli.options import Env, Json, Set, load, on_interrupt, out, print_json, say
from pipelines.contracts.catalogue import Finding, examine, examine_file
from pipelines.contracts.schema_plan import COMPATIBILITY, SchemaPlan, SubjectPlan
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.flows.schema_sync import SchemaSync

DIFFERS, WRONG = 1, 1
CUT_OFF = "interrupted: the versions that were printed are registered; run the same command again"

Subjects = Annotated[
    list[str] | None, typer.Argument(metavar="SUBJECT", help="Only these; without any, all of schemas/.")
]
Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Only these; without any, all of schemas/."),
]
Subject = Annotated[
    str | None, typer.Option("--subject", help="What a FILE outside of schemas/ is a version of.", metavar="SUBJECT")
]


def register(group: typer.Typer) -> None:
    """Add these commands to ``sdp schemas``."""
    group.command("plan")(plan)
    group.command("apply")(apply)
    group.command("check")(check)


def plan(names: Subjects = None, env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Show how the registry differs from the files under schemas/; changes nothing.

    Example: sdp schemas plan --json

    Exit codes: 0 nothing to do, 1 there is a difference, 2 wrong use or a wrong file, 3 the registry is away. Subjects
    that only the registry has are listed and left alone.
    """
    found = _sync(env, overrides).plan(names or ())
    print_json(as_data(found)) if as_json else show(found)
    if not found.is_empty:
        raise typer.Exit(DIFFERS)


def apply(names: Subjects = None, env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Register the versions that are missing, oldest first, and hold every subject to BACKWARD.

    Example: sdp schemas apply api6-logs-value

    Shows the plan first and reads back afterwards. A subject that has a version which is in no file, or another text
    than its file, is refused as a whole. Run it again after an interruption, it goes on. Exit codes: 0 all is as in
    schemas/, 1 something was refused, 2 wrong use, a wrong file or an incompatible version, 3 the registry is away.
    """
    sync = _sync(env, overrides)
    wanted = sync.plan(names or ())
    if not as_json:
        show(wanted)
    left = _apply(sync, wanted, as_json)
    if not left.is_empty:
        raise typer.Exit(DIFFERS)


def check(
    files: Files = None, subject: Subject = None, env: Env = None, overrides: Set = None, as_json: Json = False
) -> None:
    """Say whether the files under schemas/ are right and compatible with each other, without any server.

    Example: sdp schemas check schemas/api6-logs-value/v2.avsc

    Names file, field and reason. A FILE under schemas/ is held against its neighbours, one elsewhere against the newest
    version of its subject: --subject, or the name of its folder. Exit codes: 0 all is well, 1 something is wrong, 2
    wrong use.
    """
    load(env, overrides)  # a wrong one is wrong use, also where no server is asked
    folder = settings_module.ROOT / "schemas"
    checked = files or sorted(path for path in folder.glob("*/*") if path.is_file())
    found = _examine(files, subject, folder) if files else examine(folder)
    if as_json:
        print_json({"files": len(checked), "findings": [asdict(finding) for finding in found]})
    else:
        _show_findings(found, len(checked))
    if found:
        raise typer.Exit(WRONG)


def as_data(found: SchemaPlan) -> dict[str, Any]:
    """The plan as one JSON object."""
    return {
        "differs": not found.is_empty,
        "level": COMPATIBILITY,
        "subjects": [asdict(subject) for subject in found.subjects],
        "unmanaged": list(found.unmanaged),
    }


def show(found: SchemaPlan) -> None:
    """Print the same as a table and a verdict."""
    if not found.is_empty:
        out.print(_table([subject for subject in found.subjects if not subject.is_empty]))
    if found.unmanaged:
        say(f"not in schemas/, and left alone: {', '.join(found.unmanaged)}")
    if found.is_empty:
        say(f"the registry has {len(found.subjects)} subjects as they are in schemas/", style="bold green")
        return
    refused = sum(bool(subject.clashes) for subject in found.subjects)
    missing = sum(len(subject.missing) for subject in found.subjects if not subject.clashes)
    text = f"{missing} versions to register, {refused} subjects refused"
    say(text, style="bold red" if refused else "bold")


def _apply(sync: SchemaSync, wanted: SchemaPlan, as_json: bool) -> SchemaPlan:
    done: list[str] = []

    def tell(line: str) -> None:
        done.append(line)
        if not as_json:
            say(line)

    with on_interrupt(CUT_OFF):
        left = sync.apply(wanted, tell)
    if as_json:
        print_json({"done": done, **as_data(left)})
    elif left.is_empty:
        say(f"read back: {len(left.subjects)} subjects are as they are in schemas/", style="bold green")
    else:
        refused = ", ".join(subject.subject for subject in left.subjects if not subject.is_empty)
        say(f"read back: {len(done)} steps done; not as in schemas/: {refused}", style="bold red")
    return left


def _examine(files: Sequence[Path], subject: str | None, folder: Path) -> list[Finding]:
    return [finding for file in files for finding in examine_file(file, subject or _subject_of(file, folder), folder)]


def _subject_of(file: Path, folder: Path) -> str:
    name = file.resolve().parent.name
    if not (folder / name).is_dir():
        raise UsageError(f"{file}: which subject is it a version of? Give --subject, such as --subject api6-logs-value")
    return name


def _sync(env: str | None, overrides: list[str] | None) -> SchemaSync:
    from pipelines import bootstrap  # takes a second to import; --help should not

    return bootstrap.schema_sync(load(env, overrides))


def _table(subjects: Sequence[SubjectPlan]) -> Table:
    table = Table(title="How the registry differs from schemas/", title_justify="left")
    for heading in ("subject", "version", "difference"):
        table.add_column(heading)
    table.add_column("reason", overflow="fold")
    for subject in subjects:
        waits = "waits until the rest of the subject is mended" if subject.clashes else "will be registered"
        for clash in subject.clashes:
            difference = clash.code.replace("_", " ")
            table.add_row(*map(Text, (subject.subject, str(clash.version), difference, clash.message)), style="red")
        for version in subject.missing:
            table.add_row(*map(Text, (subject.subject, f"v{version}", "missing", waits)))
        if not subject.is_level_right:
            table.add_row(*map(Text, (subject.subject, "", "level", f"{subject.level}, must be {COMPATIBILITY}")))
    return table


def _show_findings(found: Sequence[Finding], checked: int) -> None:
    for finding in found:
        say(str(finding), style="red")
    if not found:
        say(f"{checked} files are right and compatible", style="bold green")
    else:
        say(f"{len(found)} findings in {len({finding.file for finding in found})} files", style="bold red")
