"""Call `sdp` as a person does, and look for the processes of a home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import structlog
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from pipelines import bootstrap
from pipelines.cli import app
from pipelines.settings import ROOT, Settings
from stack import lifecycle

FREE_PORTS = [f"stack.ports.{key}=0" for key in lifecycle.PORT_KEYS]


def sdp(
    settings: Settings, *arguments: str, overrides: list[str] | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run this checkout's `sdp` with home and dist of these settings, and ``--set`` for every override."""
    chosen = [f"home={settings.home}", f"dist={settings.dist_path}", *(overrides or [])]
    command = [str(Path(sys.executable).with_name("sdp")), *arguments]
    return subprocess.run(
        [*command, *(part for text in chosen for part in ("--set", text))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def sdp_here(spark: SparkSession, overrides: list[str], *arguments: str) -> tuple[int, str]:
    """Run `sdp` in this process, on the session that is here: exit code and standard output. An error is raised."""
    chosen = [part for text in overrides for part in ("--set", text)]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bootstrap, "spark_session", lambda *_: spark)
            result = CliRunner().invoke(app, [*arguments, *chosen], catch_exceptions=False)
    finally:
        structlog.reset_defaults()  # a command may have set up the log on the stream of this call
    return result.exit_code, result.stdout


def stack_processes(settings: Settings) -> list[str]:
    """Command lines of living processes that name this home, or the folder that Elasticsearch has instead of it."""
    data = settings.stack_path / "data" / "elasticsearch"
    places = {str(settings.home_path), str(data.resolve())}
    lines = [line for process in psutil.process_iter() if (line := _command_line(process))]
    return [line for line in lines if any(place in line for place in places)]


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
