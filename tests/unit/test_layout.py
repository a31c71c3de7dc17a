"""The rules about imports cover every package there is."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNCHECKED = {"tests", "benchmarks"}
"""May import whatever they measure or test."""


def test_every_package_is_under_the_import_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    packages = {init.parent.name for init in ROOT.glob("*/__init__.py")} - UNCHECKED
    assert set(contracts["root_packages"]) == packages
