"""What can be said of the DAG files without Airflow."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from pipelines.settings import ROOT

FILES = sorted((ROOT / "dags").glob("*.py"))
SHARED = {path.stem for path in FILES if "DAG(" not in path.read_text(encoding="utf-8")}
ALLOWED = {"airflow", *SHARED, *sys.stdlib_module_names}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def test_dags_import_airflow_and_each_other_only() -> None:
    assert {path.name: imported(path) - ALLOWED for path in FILES} == {path.name: set() for path in FILES}


def test_calls_know_nothing_of_airflow() -> None:
    assert "airflow" not in imported(ROOT / "dags" / "api6_calls.py")


def test_airflow_looks_for_dags_in_files_that_have_some() -> None:
    ignored = (ROOT / "dags" / ".airflowignore").read_text(encoding="utf-8").replace("\\", "").split()
    assert set(ignored) == {f"{name}.py" for name in SHARED}
