from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from stack import unprivileged


@pytest.fixture
def shelter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As for root, with the shelter in a folder of the test; nothing is handed to another user."""
    monkeypatch.setattr(unprivileged, "SHELTER", tmp_path / "var")
    monkeypatch.setattr(unprivileged, "user", lambda: (65534, 65534))
    (tmp_path / "var").mkdir()
    return tmp_path / "var"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    home = tmp_path / "private"
    home.mkdir(mode=0o700)
    return home


def test_without_root_nothing_is_moved(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unprivileged.user() is None
    assert unprivileged.data_folder(private / "data", private) == private / "data"
    assert unprivileged.program_folder(private, private) == private


def test_a_private_home_is_not_reachable(private: Path) -> None:
    assert unprivileged.reachable(Path("/usr"))
    assert not unprivileged.reachable(private)


def test_data_of_a_private_home_live_in_the_shelter_and_are_found_again(shelter: Path, private: Path) -> None:
    first = unprivileged.data_folder(private / "stack" / "data", private)
    (first / "file").touch()
    assert first.is_relative_to(shelter)
    assert unprivileged.data_folder(private / "stack" / "data", private) == first
    assert (private / "stack" / "data" / "file").exists()


def test_two_homes_have_two_shelters(shelter: Path, private: Path) -> None:
    assert unprivileged.shelter(private) != unprivileged.shelter(private / "other")


def test_removing_sheltered_data_leaves_nothing_of_that_home(shelter: Path, private: Path) -> None:
    unprivileged.data_folder(private / "data", private)
    unprivileged.remove_sheltered(private / "data")
    assert [path.name for path in shelter.rglob("*")] == [f"sdp-{os.geteuid()}"]


def test_the_program_is_copied_once(shelter: Path, private: Path) -> None:
    (private / "program").mkdir()
    (private / "program" / "bin").write_text("run me")
    copy = unprivileged.program_folder(private / "program", private)
    assert (copy / "bin").read_text() == "run me"
    assert unprivileged.program_folder(private / "program", private / "other") == copy


def test_a_shelter_that_somebody_else_prepared_is_refused(shelter: Path, private: Path, tmp_path: Path) -> None:
    (tmp_path / "trap").mkdir()
    (shelter / f"sdp-{os.geteuid()}").symlink_to(tmp_path / "trap")
    with pytest.raises(UsageError, match="is not ours"):
        unprivileged.shelter(private)
