"""The metastore's database: what a start that was cut off has left is made anew, anything else is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipelines.settings import Settings
from stack import dist, ports
from stack.metastore import Metastore
from stack.process import Launch
from stack.server import Site


@pytest.fixture
def metastore(settings: Settings) -> Metastore:
    dist._target(settings, Metastore.dist_set).mkdir(parents=True)
    return Metastore(Site(settings, ports.wanted(settings.stack, {})))


@pytest.fixture
def database(metastore: Metastore) -> Path:
    found = metastore.site.data("metastore") / "derby"
    (found / "seg0").mkdir(parents=True)
    return found


def test_a_database_that_was_never_finished_is_made_anew(metastore: Metastore, database: Path) -> None:
    metastore.prepare()
    assert not database.exists()


def test_a_finished_one_is_kept(metastore: Metastore, database: Path) -> None:
    (database / "service.properties").write_text("")
    metastore.prepare()
    assert (database / "seg0").is_dir()


def test_one_that_a_running_metastore_is_making_is_left_alone(metastore: Metastore, database: Path) -> None:
    running = metastore.site.processes
    running.start(Launch("metastore", [sys.executable, "-c", "import time; time.sleep(600)"], database))
    try:
        metastore.prepare()
        assert database.is_dir()
    finally:
        running.stop("metastore")
