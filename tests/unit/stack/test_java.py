from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from stack import java


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda name, path=None: which(name, path or f"{tmp_path}/usr/bin"))
    monkeypatch.setattr(java, "SYSTEM_JAVAS", tmp_path / "jvm")
    java.executable.cache_clear()
    yield
    java.executable.cache_clear()


def which(name: str, folder: str) -> str | None:
    return f"{folder}/{name}" if (Path(folder) / name).exists() else None


def install(home: Path, version: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return program


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "usr", "17.0.1")
    chosen = install(tmp_path / "mine", "17.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "mine"))
    assert java.executable() == chosen
    assert java.home() == tmp_path / "mine"


def test_a_java_17_beside_another_default_is_found(tmp_path: Path) -> None:
    install(tmp_path / "usr", "21.0.1")
    right = install(tmp_path / "jvm" / "java-17-openjdk", "17.0.1")
    assert java.executable() == right


def test_only_a_wrong_version(tmp_path: Path) -> None:
    install(tmp_path / "usr", "11.0.2")
    with pytest.raises(UsageError, match="is Java 11; point JAVA_HOME at a Java 17"):
        java.executable()


def test_none_at_all() -> None:
    with pytest.raises(UsageError, match="make install"):
        java.executable()
