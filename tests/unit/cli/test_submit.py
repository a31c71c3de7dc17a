"""What becomes of a job's options on their way to spark-submit."""

from __future__ import annotations

import re
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from pipelines.adapters.submission import JOB_FILES, STREAMING
from pipelines.cli.run import JobName
from pipelines.cli.submit import CommandJob, check, split
from pipelines.errors import UsageError
from pipelines.settings import ROOT


def test_settings_are_taken_out_and_the_rest_stays_in_order() -> None:
    options = ["optimize", "--env", "prod", "--dry-run", "--set=a.b=c=d", "--sample", "5", "--set", "e=f", "--env=test"]
    assert split(options) == ("test", ["a.b=c=d", "e=f"], ["optimize", "--dry-run", "--sample", "5"])


def test_every_job_has_a_file_and_the_script_knows_it() -> None:
    assert set(JOB_FILES) == {*JobName, *CommandJob}
    assert set(STREAMING) == set(JobName)
    script = (ROOT / "spark-submit.sh").read_text(encoding="utf-8")
    for job, file in JOB_FILES.items():
        assert (ROOT / "jobs" / file).is_file()
        assert re.fullmatch(rf"{job}(_logs)?\.py", file), "the pattern by which the script finds its driver"
        assert re.search(rf'^jobs="[^"]*\b{job}\b', script, re.MULTILINE)


@pytest.fixture
def root() -> typer.Context:
    """An app with a command and a group, as `sdp` has them."""
    app, group = typer.Typer(), typer.Typer()

    @app.command()
    def lag(most: Annotated[int, typer.Option("--most")] = 0) -> None:
        raise AssertionError("it must not run")

    @group.command()
    def optimize(dry_run: Annotated[bool, typer.Option("--dry-run")] = False) -> None:
        raise AssertionError("it must not run")

    app.add_typer(group, name="maintain")
    command = get_command(app)
    return typer.Context(command, info_name="sdp")


@pytest.mark.parametrize("words", [["lag"], ["lag", "--most", "5"], ["maintain", "optimize", "--dry-run"]])
def test_right_options_pass(root: typer.Context, words: list[str]) -> None:
    check(root, words)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["lag", "--most", "many"], "valid integer"),
        (["lag", "--sometimes"], "--sometimes"),
        (["maintain", "polish"], "polish"),
        (["maintain", "optimize", "--sometimes"], "--sometimes"),
    ],
)
def test_wrong_options_are_told_before_anything_is_submitted(
    root: typer.Context, words: list[str], reason: str
) -> None:
    with pytest.raises(Exception, match=reason) as caught:
        check(root, words)
    assert getattr(caught.value, "exit_code", None) == 2


def test_a_group_wants_one_of_its_commands(root: typer.Context) -> None:
    with pytest.raises(UsageError, match="optimize"):
        check(root, ["maintain"])
