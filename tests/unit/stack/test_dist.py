from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.errors import Unavailable, UsageError
from pipelines.settings import Settings
from stack import dist

MAVEN = """#!/bin/bash
echo call >> {calls}
for argument in "$@"; do [[ $argument == -DoutputDirectory=* ]] && out=${{argument#*=}}; done
{behaviour}
"""
FETCHES = """
mkdir -p "$out"; echo jar > "$out/a-1.0.jar"; echo jar > "$out/b-2.0.jar"; chmod 600 "$out/a-1.0.jar"
echo "Downloaded from central: somewhere/a-1.0.jar (1 kB at 1 kB/s)"
"""
FAILS = """
mkdir -p "$out"; echo half > "$out/a-1.0.jar"; echo "[ERROR] no route to the repository"; exit 1
"""

FakeMaven = Callable[[str], Path]


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMaven:
    """Put a Maven of the given behaviour first on PATH; returns the file with one line per call."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def install(behaviour: str) -> Path:
        (folder / "mvn").write_text(MAVEN.format(calls=calls, behaviour=behaviour))
        (folder / "mvn").chmod(0o755)
        return calls

    return install


def test_a_set_is_fetched_once(settings: Settings, maven: FakeMaven) -> None:
    calls, said = maven(FETCHES), io.StringIO()
    for _ in range(2):
        dist.fetch(settings, ["spark"], Console(file=said))
    assert calls.read_text().count("call") == 1
    assert said.getvalue().count("fetched spark") == 1
    assert [jar.name for jar in dist.jars(settings, "spark")] == ["a-1.0.jar", "b-2.0.jar"]


def test_another_user_can_read_what_was_fetched(settings: Settings, maven: FakeMaven) -> None:
    maven(FETCHES)
    dist.fetch(settings, ["elasticsearch"])
    folder = dist.folder(settings, "elasticsearch")
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "a-1.0.jar").stat().st_mode & 0o777 == 0o644


def test_concurrent_fetches_ask_maven_once(settings: Settings, maven: FakeMaven) -> None:
    calls = maven(f"sleep 0.3\n{FETCHES}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: dist.fetch(settings, ["spark"], Console(file=io.StringIO())), range(4)))
    assert calls.read_text().count("call") == 1


def test_a_failed_fetch_says_why_leaves_nothing_and_can_be_repeated(settings: Settings, maven: FakeMaven) -> None:
    maven(FAILS)
    with pytest.raises(Unavailable, match="no route to the repository"):
        dist.fetch(settings, ["spark"])
    assert [path.name for path in settings.dist_path.iterdir()] == [".spark.lock"]
    maven(FETCHES)
    dist.fetch(settings, ["spark"])
    assert len(dist.jars(settings, "spark")) == 2


def test_a_changed_pom_gives_a_new_folder(
    settings: Settings, maven: FakeMaven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = maven(FETCHES)
    monkeypatch.setattr(dist, "POMS", tmp_path)
    folders = set()
    for text in ("one", "other"):
        (tmp_path / "spark.xml").write_text(text)
        dist.fetch(settings, ["spark"])
        folders.add(dist.folder(settings, "spark"))
    assert len(folders) == 2
    assert all(folder.is_dir() for folder in folders)
    assert calls.read_text().count("call") == 2


def test_a_locked_set_is_an_environment_of_its_own(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "none.txt"
    lock.write_text("# nothing to install, so no network")
    monkeypatch.setattr(dist, "LOCKS", {"airflow": lock})
    dist.fetch(settings, ["airflow"], Console(file=io.StringIO()))
    python = dist.folder(settings, "airflow") / "bin" / "python"
    code = "import sys; print(sys.prefix)"
    said = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert Path(said.stdout.strip()) == dist.folder(settings, "airflow")


def test_a_lock_that_pip_can_not_take_says_why_and_leaves_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "bad.txt"
    lock.write_text("./nowhere-1.0.whl --hash=sha256:" + 64 * "0")
    monkeypatch.setattr(dist, "LOCKS", {"airflow": lock})
    with pytest.raises(Unavailable, match=r"pip failed: .*nowhere"):
        dist.fetch(settings, ["airflow"], Console(file=io.StringIO()))
    assert [path.name for path in settings.dist_path.iterdir()] == [".airflow.lock"]


@pytest.mark.parametrize(("name", "command"), [("spark", "sdp stack fetch`"), ("yarn", "sdp stack fetch yarn`")])
def test_missing_jars_tell_how_to_get_them(settings: Settings, name: str, command: str) -> None:
    with pytest.raises(UsageError, match=command):
        dist.jars(settings, name)


def test_an_unknown_set_names_the_known_ones(settings: Settings) -> None:
    with pytest.raises(UsageError, match="airflow, elasticsearch, kafka, metastore, registry, spark, yarn"):
        dist.fetch(settings, ["flink"])


def test_missing_maven_tells_how_to_get_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="make install"):
        dist.fetch(settings, ["spark"])
