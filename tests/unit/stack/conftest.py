"""A home of its own for each test, and nothing left running in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.settings import Settings, load
from stack import lifecycle


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name in ("SDP_HOME", "SDP_DIST", "SDP_WAREHOUSE", "SDP_ENV"):
        monkeypatch.delenv(name, raising=False)
    found = load(home=str(tmp_path / "home"), stack={"ports": dict.fromkeys(lifecycle.PORT_KEYS, 0)})
    yield found
    lifecycle.down(found)
