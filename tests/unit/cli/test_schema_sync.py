"""``sdp schemas plan|apply|check``: what they show and how they exit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from pipelines import bootstrap
from pipelines import settings as settings_module
from pipelines.cli import app, options
from pipelines.contracts.schema_plan import Clash, Conflict, SchemaPlan, SubjectPlan
from pipelines.errors import UsageError
from pipelines.settings import ROOT

LOG = "api6-logs-value"
FINE = SchemaPlan((SubjectPlan(LOG), SubjectPlan("raw-events-value")), ("other-value",))
CLASH = Clash(2, Conflict.NO_FILE, "no file has it")
DIFFERENT = SchemaPlan(
    (
        SubjectPlan(LOG, missing=(2, 3), level="NONE"),
        SubjectPlan("raw-events-value", missing=(3,), clashes=(CLASH,)),
        SubjectPlan("raw-logs-value"),
    )
)


@dataclass
class FakeSync:
    """Answers as told."""

    before: SchemaPlan
    after: SchemaPlan = FINE
    named: list[str] = field(default_factory=list)
    interrupted: bool = False

    def plan(self, names: Any = ()) -> SchemaPlan:
        self.named = list(names)
        return self.before

    def apply(self, plan: SchemaPlan, told: Callable[[str], None]) -> SchemaPlan:
        assert plan is self.before
        told(f"{LOG}: v2 registered, its id is 7")
        if self.interrupted:
            raise KeyboardInterrupt
        return self.after


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(options.out, "width", 160)
    monkeypatch.delenv("SDP_ENV", raising=False)

    def run(*arguments: str, sync: FakeSync | None = None) -> Result:
        monkeypatch.setattr(bootstrap, "schema_sync", lambda settings: cast(Any, sync))
        return CliRunner().invoke(app, ["schemas", *arguments])

    return run


def cells(result: Result) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")] for line in result.stdout.split("\n")
    ]


def test_nothing_to_do_exits_with_0(run: Callable[..., Result]) -> None:
    result = run("plan", sync=FakeSync(FINE))
    assert result.exit_code == 0
    assert "the registry has 2 subjects as they are in schemas/" in result.stdout
    assert "not in schemas/, and left alone: other-value" in result.stdout


def test_a_difference_exits_with_1_and_is_shown(run: Callable[..., Result]) -> None:
    result = run("plan", sync=FakeSync(DIFFERENT))
    assert result.exit_code == 1
    shown = cells(result)
    assert [LOG, "v2", "missing", "will be registered"] in shown
    assert [LOG, "v3", "missing", "will be registered"] in shown
    assert [LOG, "", "level", "NONE, must be BACKWARD"] in shown
    assert ["raw-events-value", "2", "no file", "no file has it"] in shown
    assert ["raw-events-value", "v3", "missing", "waits until the rest of the subject is mended"] in shown
    assert "raw-logs-value" not in result.stdout
    assert "2 versions to register, 1 subjects refused" in result.stdout


def test_plan_as_json_is_one_object(run: Callable[..., Result]) -> None:
    sync = FakeSync(DIFFERENT)
    result = run("plan", LOG, "--json", sync=sync)
    assert (result.exit_code, sync.named) == (1, [LOG])
    assert json.loads(result.stdout) == {
        "differs": True,
        "level": "BACKWARD",
        "subjects": [
            {"subject": LOG, "missing": [2, 3], "clashes": [], "level": "NONE"},
            {
                "subject": "raw-events-value",
                "missing": [3],
                "clashes": [{"version": 2, "code": "no_file", "message": "no file has it"}],
                "level": "BACKWARD",
            },
            {"subject": "raw-logs-value", "missing": [], "clashes": [], "level": "BACKWARD"},
        ],
        "unmanaged": [],
    }


def test_apply_shows_the_plan_does_it_and_reads_back(run: Callable[..., Result]) -> None:
    result = run("apply", sync=FakeSync(DIFFERENT))
    assert result.exit_code == 0
    lines = result.stdout
    steps = ("will be registered", "v2 registered, its id is 7", "read back: 2 subjects are as they are in schemas/")
    assert sorted(map(lines.index, steps)) == list(map(lines.index, steps))


def test_what_was_refused_exits_with_1(run: Callable[..., Result]) -> None:
    result = run("apply", sync=FakeSync(DIFFERENT, DIFFERENT))
    assert result.exit_code == 1
    assert f"read back: 1 steps done; not as in schemas/: {LOG}, raw-events-value" in result.stdout
    told = json.loads(run("apply", "--json", sync=FakeSync(DIFFERENT, DIFFERENT)).stdout)
    assert told["done"] == [f"{LOG}: v2 registered, its id is 7"]
    assert told["differs"] is True


def test_cut_off_it_says_how_to_go_on(run: Callable[..., Result]) -> None:
    result = run("apply", sync=FakeSync(DIFFERENT, interrupted=True))
    assert result.exit_code == 130
    assert "run the same command again" in " ".join(result.stderr.split())


# --- check: the real files ------------------------------------------------------------------------------------------


@pytest.fixture
def schemas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of what ships, in the place of it."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.setattr(settings_module, "ROOT", tmp_path)
    return shutil.copytree(ROOT / "schemas", tmp_path / "schemas")


def with_field(text: str, **field: Any) -> str:
    schema = json.loads(text)
    return json.dumps(schema | {"fields": [*schema["fields"], field]})


def add(schemas: Path, **field: Any) -> Path:
    newest = len(list((schemas / LOG).iterdir()))
    file = schemas / LOG / f"v{newest + 1}.avsc"
    file.write_text(
        with_field((schemas / LOG / f"v{newest}.avsc").read_text(encoding="utf-8"), **field), encoding="utf-8"
    )
    return file


def test_the_files_that_ship_are_right(run: Callable[..., Result]) -> None:
    result = run("check")
    assert result.exit_code == 0
    assert "files are right and compatible" in result.stdout
    one = run("check", str(ROOT / "schemas" / LOG / "v1.avsc"))
    assert (one.exit_code, one.stdout) == (0, "1 files are right and compatible\n")


@pytest.mark.parametrize("named", [True, False])
def test_an_incompatible_file_exits_with_1_and_names_field_and_reason(
    run: Callable[..., Result], schemas: Path, named: bool
) -> None:
    file = add(schemas, name="tenant", type="string")
    result = run("check", *([str(file)] if named else []))
    assert result.exit_code == 1
    reason = "field tenant: the writer has no such field, and the reader has no default for it (missing_default)"
    before = f"v{int(file.stem[1:]) - 1}.avsc"
    assert f"{LOG}/{file.name}: can't read what {LOG}/{before} wrote: {reason}" in result.stdout
    assert "1 findings in 1 files" in result.stdout


def test_check_as_json(run: Callable[..., Result], schemas: Path) -> None:
    file = add(schemas, name="tenant", type="string")
    told = json.loads(run("check", str(file), "--json").stdout)
    [finding] = told["findings"]
    assert told["files"] == 1
    assert (finding["file"], finding["field"], finding["code"]) == (
        f"{LOG}/{file.name}",
        "fields.tenant",
        "missing_default",
    )


def test_a_proposal_elsewhere_is_held_against_the_newest(
    run: Callable[..., Result], schemas: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.avsc"
    file.write_text(add(schemas, name="tenant", type="string").read_text(encoding="utf-8"), encoding="utf-8")
    (schemas / LOG / f"v{len(list((schemas / LOG).iterdir()))}.avsc").unlink()
    result = run("check", str(file), "--subject", LOG)
    assert result.exit_code == 1
    assert "field tenant: " in result.stdout
    unknown = run("check", str(file))
    assert isinstance(unknown.exception, UsageError)
    assert "which subject is it a version of? Give --subject" in str(unknown.exception)


def test_a_proposal_in_a_folder_of_the_subjects_name_needs_no_option(
    run: Callable[..., Result], schemas: Path, tmp_path: Path
) -> None:
    file = tmp_path / LOG / "v2.avsc"
    file.parent.mkdir()
    file.write_text("{", encoding="utf-8")
    result = run("check", str(file))
    assert result.exit_code == 1
    assert "not an Avro schema" in result.stdout


def test_a_file_that_is_not_there_is_wrong_use(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("check", str(tmp_path / "none.avsc")).exit_code == 2
