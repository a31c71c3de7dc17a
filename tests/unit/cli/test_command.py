"""The script that every installation has says in one line what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import pipelines.cli  # noqa: F401 - takes seconds: not within a test
from pipelines import command
from pipelines.settings import ROOT


def run(missing: str) -> subprocess.CompletedProcess[str]:
    """``sdp --help`` where one module is not installed."""
    program = f"import sys; sys.modules[{missing!r}] = None; from pipelines.command import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_without_the_jobs_it_says_what_to_install(module: str) -> None:
    done = run(module)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"sdp needs {module}, which is not installed" in done.stderr
    assert "pip install '.[jobs]'" in done.stderr


def test_with_them_it_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sdp", "--help"])
    with pytest.raises(SystemExit, match="0"):
        command.main()
    assert "Exit codes" in capsys.readouterr().out


def test_a_module_of_ours_that_is_missing_is_a_defect() -> None:
    done = run("pipelines.settings")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_it_is_what_is_installed_as_sdp() -> None:
    assert '"console_scripts": ["sdp=pipelines.command:main"]' in (ROOT / "setup.py").read_text(encoding="utf-8")
