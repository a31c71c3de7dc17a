"""``sdp reconcile`` on runs made by hand: the summary, the report in its folder, the repair at once, the exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines import bootstrap, bootstrap_repair
from pipelines.cli import app, options
from pipelines.errors import SinkUnavailable, UsageError
from pipelines.flows.reconcile import Wanted
from pipelines.reconcile.model import OffsetsCheck, Verdict
from tests.unit.cli.reconcile_world import World
from tests.unit.flows.damage import damaged
from tests.unit.flows.repair_fakes import Platform
from tests.unit.reconcile.examples_report import CLEAN, DAY, FAILED, HOUR, WARNING, hours

AWAY = SinkUnavailable("Elasticsearch", "http://es:9200", "refused")
HOLE = OffsetsCheck("index", 2, 0, 100, 0, 100, 93, 7, 0, 0)
FOUND = replace(WARNING, run_id="run-1")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(bootstrap, "reconcile", lambda *_, **__: found)
    monkeypatch.setattr(bootstrap, "reconciliations", found.book)
    monkeypatch.setattr(bootstrap, "completeness", lambda *_: found)
    monkeypatch.setattr("pipelines.monitoring.logs.configure", lambda **_: None)
    monkeypatch.setattr(options.out, "_width", 140)
    return found


@pytest.fixture
def damage(monkeypatch: pytest.MonkeyPatch) -> Platform:
    found = damaged()
    monkeypatch.setattr(bootstrap_repair, "repair", lambda *_, **__: found.process())
    return found


def sdp(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["reconcile", *map(str, arguments)], catch_exceptions=False)


def lines(result: Result) -> list[list[str]]:
    """The words of each line, without the frames of tables."""
    return [re.sub("[│┃]", " ", line).split() for line in result.stdout.splitlines()]


def test_a_clean_run_fits_on_few_lines(world: World) -> None:
    result = sdp("--sample", 100, "--seed", 7)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "OK: All 24,000 records are the same on all sides.",
        "run 2026-01-31T00-30-00: 2026-01-30 00:00 until 2026-01-31 00:00 UTC, 24 hours; counts and hashes, then the "
        "records that differ; 100 random records (seed 7)",
        "24,000 records, 0 discrepant (0%), 0 lost; 0 findings",
        "complete until 2026-01-31 00:00 UTC",
    ]
    assert world.asked == [Wanted(sample=100, seed=7)]


def test_findings_hours_that_differ_and_what_comes_next(world: World) -> None:
    world.run_found = replace(FOUND, notes=("[red]odd\x1b[2J[/]",))
    result = sdp()
    assert result.exit_code == 1
    shown = lines(result)
    assert ["missing", "Elasticsearch", "2"] in shown
    assert ["accounted", "as", "invalid", "table", "valid", "1"] in shown
    differing = [line for line in shown if line and line[-1] == "differs"]
    assert differing == [
        ["2026-01-30", "14:00", "1,000", "1,000", "1,000", "999", "1", "differs"],
        ["2026-01-30", "20:00", "1,000", "1,000", "1,000", "998", "2", "differs"],
    ]
    assert "note: [red]odd\\x1b[2J[/]" in result.stdout
    assert [line for line in result.stdout.splitlines() if line.startswith("next: ")] == [
        "next: sdp repair run-1 --dry-run",
        "next: sdp repair run-1",
        "next: sdp repair run-1 --delete-extras",
    ]


def test_one_screen_is_enough_for_a_week_that_differs(world: World) -> None:
    week = tuple(replace(hours(0)[0], hour=DAY + n * HOUR, discrepant=1 + (n == 100)) for n in range(168))
    world.run_found = replace(FOUND, hours=week)
    result = sdp()
    assert len(result.stdout.splitlines()) <= 40
    assert "the worst 12 of 168 hours that differ; --report has all" in result.stdout
    assert ["2026-02-03", "04:00", "1,000", "1,000", "1,000", "999", "2", "differs"] in lines(result)


def test_hostile_kinds_do_not_command_the_terminal(world: World) -> None:
    world.run_found = replace(FOUND, kinds=(("\x1b[2J[bold]x", "[link=http://a]s\u202e", 1),))
    result = sdp()
    assert "\\x1b[2J[bold]x" in result.stdout
    assert "[link=http://a]s\\u202e" in result.stdout
    assert "\x1b[2J" not in result.stdout


def test_offsets_that_do_not_add_up_end_with_1(world: World) -> None:
    world.run_found = replace(CLEAN, offsets=(HOLE,))
    result = sdp()
    assert (result.exit_code, "next: sdp status" in result.stdout) == (1, True)


def test_documents_of_nobody_end_with_1(world: World) -> None:
    world.run_found = replace(CLEAN, verdict=Verdict.WARNING, notes=("2 documents in api6-logs-valid are of no topic",))
    result = sdp()
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "WARNING: All 24,000 records are the same on all sides. Indices hold documents that are nobody's: the notes"
    )


def test_the_report_is_a_page_and_json_named_after_the_run(world: World, tmp_path: Path) -> None:
    world.run_found = FOUND
    folder = tmp_path / "new" / "reports"
    result = sdp("--report", folder)
    assert result.exit_code == 1
    assert sorted(path.name for path in folder.iterdir()) == ["run-1.html", "run-1.json"]
    assert result.stdout.splitlines()[-1] == f"report: {folder / 'run-1.html'}"
    told = json.loads((folder / "run-1.json").read_text(encoding="utf-8"))
    assert (told["outcome"], told["findings"][0]["kafka_offset"]) == ("warning", 3384)
    assert told["top_reasons"] == [{"reason": "no index has it", "findings": 20}]
    assert [one["run_id"] for one in told["history"]] == ["run-2"], "runs that began later belong to later reports"
    assert (world.limits, world.since) == ([200], [datetime.fromisoformat("2026-01-01T00:30:00+00:00")])
    assert "api6-logs-5@3384" in (folder / "run-1.html").read_text(encoding="utf-8")


def test_json_on_standard_output_stays_one_object(world: World, tmp_path: Path) -> None:
    told = json.loads(sdp("--json", "--report", tmp_path).stdout)
    assert (told["run_id"], told["verdict"], told["share"], told["repair"]) == (CLEAN.run_id, "ok", 0.0, None)
    assert told["report"] == str(tmp_path / f"{CLEAN.run_id}.html")
    assert json.loads(sdp("--json").stdout)["report"] is None
    assert told["adds_up"] is True
    world.run_found = replace(CLEAN, offsets=(HOLE,))
    assert json.loads(sdp("--json").stdout)["adds_up"] is False


@pytest.mark.parametrize("books_away", [False, True])
def test_a_failed_run_has_a_report_too(world: World, tmp_path: Path, books_away: bool) -> None:
    world.raised, world.books_away = AWAY, books_away
    with pytest.raises(SinkUnavailable):
        sdp("--report", tmp_path)
    told = json.loads((tmp_path / f"{FAILED.run_id}.json").read_text(encoding="utf-8"))
    assert (told["outcome"], told["run"]["verdict"], told["findings"]) == ("failed", None, [])
    assert [one["run_id"] for one in told["history"]] == ([] if books_away else ["run-2"])
    assert bool(told["run"]["notes"]) == books_away
    assert "proves nothing" in (tmp_path / f"{FAILED.run_id}.html").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_does_not_hide_why_the_run_failed(world: World, tmp_path: Path) -> None:
    world.raised = AWAY
    (tmp_path / f"{FAILED.run_id}.json").mkdir()
    with pytest.raises(SinkUnavailable):
        sdp("--report", tmp_path)


def test_a_folder_that_cannot_be_is_refused_before_anything_is_compared(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--report"):
        sdp("--report", tmp_path / "file")
    with pytest.raises(UsageError, match="--run-id"):
        sdp("--report", tmp_path, "--run-id", "../x")
    assert (world.asked, [path.name for path in tmp_path.iterdir()]) == ([], ["file"])


def test_a_page_that_cannot_be_replaced_leaves_the_old_one_whole(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdp("--report", tmp_path)
    page = tmp_path / f"{CLEAN.run_id}.html"
    before, write = page.read_bytes(), Path.write_text

    def half(path: Path, text: str, **more: Any) -> int:
        write(path, text[:10], **more)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(UsageError, match="No space left"):
        sdp("--report", tmp_path)
    assert page.read_bytes() == before


def test_repair_at_once_reports_what_is_left(world: World, damage: Platform, tmp_path: Path) -> None:
    world.run_found = FOUND
    result = sdp("--repair", "--report", tmp_path)
    assert result.exit_code == 1
    assert "7 findings closed, 3 left" in result.stdout
    assert "Repaired since: 7 findings closed, 3 left." in result.stdout
    assert "complete until 2026-01-31 00:00 UTC" in result.stdout, "the watermark as it is after the repair"
    assert "next: sdp repair run-1 --delete-extras" in result.stdout
    told = json.loads((tmp_path / "run-1.json").read_text(encoding="utf-8"))
    assert (told["repair"]["closed"], told["repair"]["left"], told["repair"]["again"]) == (7, 3, ["run-2"])
    assert "7 findings closed, 3 left." in (tmp_path / "run-1.html").read_text(encoding="utf-8")


def without_extras(damage: Platform) -> None:
    damage.findings[:] = [f for f in damage.findings if f.es_index is None]


@pytest.mark.parametrize(("spoil", "code"), [(without_extras, 0), (lambda _: None, 1)])
def test_the_exit_code_is_that_of_what_is_left(
    world: World, damage: Platform, spoil: Callable[[Platform], None], code: int
) -> None:
    spoil(damage)
    world.run_found = FOUND
    result = sdp("--repair", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, bool(told["repair"]["left"])) == (code, bool(code))
    assert told["run_id"] == "run-1"


def test_a_repair_does_not_mend_offsets(world: World, damage: Platform) -> None:
    without_extras(damage)
    world.run_found = replace(FOUND, offsets=(HOLE,))
    assert sdp("--repair").exit_code == 1


def test_without_an_open_finding_nothing_is_repaired(world: World, damage: Platform) -> None:
    assert sdp("--repair").exit_code == 0
    world.run_found = replace(CLEAN, kinds=(("accounted_as_invalid", "valid", 1),))
    result = sdp("--repair", "--json")
    assert (result.exit_code, json.loads(result.stdout)["repair"]) == (0, None)
    assert damage.diary == []
