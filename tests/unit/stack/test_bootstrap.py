from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "stack" / "bootstrap.sh"
JAVA = "echo 'openjdk version \"17.0.1\"' >&2"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH with a Java 17 and an apt-get that only takes notes; no Maven."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "grep"):
        (folder / name).symlink_to(str(shutil.which(name)))
    program(folder, "java", JAVA)
    program(folder, "apt-get", f'echo "$@" >> {tmp_path / "calls"}')
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!{folder / 'bash'}\n{script}\n")
    (folder / name).chmod(0o755)


def bootstrap(machine: Path, uid: int) -> subprocess.CompletedProcess[str]:
    program(machine, "id", f"echo {uid}")
    command = [str(machine / "bash"), str(SCRIPT), "java"]
    return subprocess.run(command, env={"PATH": str(machine)}, capture_output=True, text=True, check=False)


def test_nothing_is_done_when_all_is_there(machine: Path, tmp_path: Path) -> None:
    program(machine, "mvn", "")
    assert bootstrap(machine, uid=0).returncode == 0
    assert not (tmp_path / "calls").exists()


def test_root_gets_what_is_missing(machine: Path, tmp_path: Path) -> None:
    assert bootstrap(machine, uid=0).returncode == 0
    assert (tmp_path / "calls").read_text() == "update -q\ninstall -y -q --no-install-recommends maven\n"


def test_others_are_shown_the_line_to_run(machine: Path, tmp_path: Path) -> None:
    answer = bootstrap(machine, uid=1000)
    assert answer.returncode == 1
    assert "    sudo sh -c 'apt-get update && apt-get install -y maven'\n" in answer.stderr
    assert not (tmp_path / "calls").exists()


def test_a_java_home_of_another_version_is_refused(machine: Path) -> None:
    command = [str(machine / "bash"), str(SCRIPT), "java"]
    environment = {"PATH": str(machine), "JAVA_HOME": "/nowhere"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "JAVA_HOME is /nowhere, which holds no Java 17" in answer.stderr
