"""The tree in the docstring of ``errors.py`` is the tree of the classes."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

import pytest

from pipelines import errors
from pipelines.errors import SdpError, Terminal, Transient
from pipelines.records import OffsetRange, Severity, Violation

LINE = re.compile(
    r"^ {4}(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: \((?P<mixin>Transient|Terminal)\))?(?: +exit (?P<exit>\d))?"
)


@dataclass(frozen=True)
class Drawn:
    """One line of the drawing: parent and what the line, or the nearest line above it in the tree, says."""

    parent: str | None
    exit_code: int | None
    mixin: str | None


def drawing() -> dict[str, Drawn]:
    found: dict[str, Drawn] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        depth = len(match["indent"]) // 4
        del path[depth:]
        above = found[path[-1]] if path else Drawn(None, None, None)
        exit_code = int(match["exit"]) if match["exit"] else above.exit_code
        found[match["name"]] = Drawn(path[-1] if path else None, exit_code, match["mixin"] or above.mixin)
        path.append(match["name"])
    return found


TREE = drawing()
CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, SdpError) and cls.__module__ == errors.__name__
}


def test_the_drawing_is_read() -> None:
    assert len(TREE) > 10
    assert TREE["SdpError"] == Drawn(None, None, None)
    assert TREE["OffsetsLost"] == Drawn("DataProblem", 1, None)


def test_every_error_is_drawn_and_every_drawn_error_exists() -> None:
    assert set(TREE) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(TREE.keys() - {"SdpError"}))
def test_an_error_is_what_the_drawing_says(name: str) -> None:
    cls, drawn = CLASSES[name], TREE[name]
    parents = [base.__name__ for base in cls.__bases__ if issubclass(base, SdpError)]
    assert parents == [drawn.parent]
    assert cls.exit_code == drawn.exit_code
    assert cls.exit_code in {1, 2, 3}
    assert cls.retriable == (drawn.mixin == "Transient")
    nearest = next(base for base in cls.__mro__ if base in (Transient, Terminal))
    assert nearest is (Transient if cls.retriable else Terminal)


LOST = [OffsetRange("t", 3, 5, 9), OffsetRange("t", 4, 0, 1)]


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (errors.InvalidRuleFile("rules.yaml", 7, "why"), ["rules.yaml:7: why"]),
        (errors.CheckpointLost("ingest", "/c", "gone"), ["ingest: gone", "/c", "`sdp run ingest --recover`"]),
        (errors.AlreadyRunning("index", "process 7 on here", "/l"), ["index is already running", "process 7", "/l"]),
        (errors.NotConserved("ingest", 7, ["a", "b"]), ["ingest: batch 7", "a; b", "`sdp status`"]),
        (
            errors.OffsetsLost("ingest", LOST),
            ["no longer holds 5 offsets", "t-3 [5, 9), t-4 [0, 1)", "`sdp run ingest --accept-loss`"],
        ),
        (
            errors.SinkUnavailable("Elasticsearch", "http://e", "why"),
            ["Elasticsearch at http://e", "not available: why"],
        ),
    ],
)
def test_a_message_has_the_facts_and_the_way_out(error: SdpError, facts: list[str]) -> None:
    for fact in facts:
        assert fact in str(error)


def test_a_contract_violation_names_every_violation() -> None:
    both = [
        Violation("one", "a", "first", Severity.CRITICAL),
        Violation("two", None, "second", Severity.WARNING),
    ]
    error = errors.ContractViolation(both)
    assert str(error) == "one: first; two: second"
    assert error.violations == tuple(both)
