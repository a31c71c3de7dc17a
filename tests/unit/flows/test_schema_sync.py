"""The registry brought to what is in the files: in order, once, and never over a clash."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.contracts.schema_plan import Conflict
from pipelines.errors import RegistryUnavailable, UsageError
from pipelines.flows.schema_sync import SchemaSync


def schema(*names: str) -> str:
    fields = [{"name": name, "type": "int", "default": 0} for name in names]
    return json.dumps({"type": "record", "name": "R", "fields": fields})


A, B, C, X = schema("a"), schema("a", "b"), schema("a", "b", "c"), schema("x")


@dataclass
class FakeRegistry:
    """Subjects in memory. ``fails_after``: so many registrations, then it is away."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)
    fails_after: int = 1_000
    diary: list[str] = field(default_factory=list)

    def subjects(self) -> list[str]:
        return list(self.texts)

    def versions(self, subject: str) -> dict[int, tuple[int, str]]:
        return {n: (100 + n, text) for n, text in enumerate(self.texts.get(subject, ()), start=1)}

    def compatibility(self, subject: str) -> str:
        return self.levels.get(subject, "NONE")

    def register(self, subject: str, avsc: str) -> int:
        if self.fails_after == 0:
            raise RegistryUnavailable("schema registry", "http://fake", "gone")
        self.fails_after -= 1
        self.hold(subject)
        self.texts.setdefault(subject, []).append(avsc)
        self.diary[-1:] = [f"register {subject} {len(json.loads(avsc)['fields'])}"]
        return 100 + len(self.texts[subject])

    def hold(self, subject: str) -> None:
        self.levels[subject] = "BACKWARD"
        self.diary.append(f"hold {subject}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for subject, texts in {"orders": [A, B, C], "users": [A]}.items():
        (tmp_path / subject).mkdir()
        for number, text in enumerate(texts, start=1):
            (tmp_path / subject / f"v{number}.avsc").write_text(text, encoding="utf-8")
    return tmp_path


def test_everything_that_is_missing_is_registered_in_order(folder: Path) -> None:
    registry, told = FakeRegistry({"orders": [A]}, {"orders": "BACKWARD"}), list[str]()
    sync = SchemaSync(folder, registry)
    plan = sync.plan()
    assert {s.subject: s.missing for s in plan.subjects} == {"orders": (2, 3), "users": (1,)}
    assert sync.apply(plan, told.append).is_empty
    assert registry.texts == {"orders": [A, B, C], "users": [A]}
    assert told == [
        "orders: v2 registered, its id is 102",
        "orders: v3 registered, its id is 103",
        "users: v1 registered, its id is 101",
    ]
    registry.diary.clear()
    assert sync.apply(sync.plan()).is_empty
    assert registry.diary == [], "a second time there is nothing to do"


def test_the_level_is_set(folder: Path) -> None:
    registry, told = (
        FakeRegistry({"orders": [A, B, C], "users": [A]}, {"orders": "FULL", "users": "BACKWARD"}),
        list[str](),
    )
    sync = SchemaSync(folder, registry)
    plan = sync.plan()
    assert [(s.subject, s.level, s.is_empty) for s in plan.subjects] == [
        ("orders", "FULL", False),
        ("users", "BACKWARD", True),
    ]
    assert sync.apply(plan, told.append).is_empty
    assert (told, registry.diary) == (["orders: level FULL → BACKWARD"], ["hold orders"])


def test_a_subject_with_a_clash_stays_as_it_is_and_the_others_go_on(folder: Path) -> None:
    registry = FakeRegistry({"orders": [A, X]}, {"orders": "NONE"})
    sync = SchemaSync(folder, registry)
    left = sync.apply(sync.plan())
    assert [(c.version, c.code) for c in left.subjects[0].clashes] == [(2, Conflict.TEXT_DIFFERS)]
    assert [s.subject for s in left.subjects if not s.is_empty] == ["orders"]
    assert registry.diary == ["register users 1"]
    assert (registry.texts["orders"], registry.levels["orders"]) == ([A, X], "NONE")


def test_cut_off_anywhere_a_second_run_finishes(folder: Path) -> None:
    for steps in range(4):
        registry = FakeRegistry(fails_after=steps)
        sync = SchemaSync(folder, registry)
        with pytest.raises(RegistryUnavailable):
            sync.apply(sync.plan())
        registry.fails_after = 1_000
        assert sync.apply(sync.plan()).is_empty
        assert registry.texts == {"orders": [A, B, C], "users": [A]}


def test_subjects_that_only_the_registry_has_are_named_and_left_alone(folder: Path) -> None:
    registry = FakeRegistry({"other": [X]})
    sync = SchemaSync(folder, registry)
    assert sync.plan().unmanaged == ("other",)
    assert sync.apply(sync.plan()).unmanaged == ("other",)
    assert (registry.texts["other"], "other" in registry.levels) == ([X], False)


def test_only_the_named_subjects(folder: Path) -> None:
    registry = FakeRegistry()
    sync = SchemaSync(folder, registry)
    assert sync.apply(sync.plan(["users"])).is_empty
    assert registry.diary == ["register users 1"]
    with pytest.raises(UsageError, match=r"schemas/ has no subject ghosts: it has orders, users"):
        sync.plan(["users", "ghosts"])


def test_files_that_are_wrong_stop_everything_before_the_registry_is_asked(folder: Path) -> None:
    (folder / "users" / "v2.avsc").write_text(schema("a").replace('"int"', '"string"'), encoding="utf-8")
    registry = FakeRegistry()
    with pytest.raises(UsageError, match=r"users/v2\.avsc: "):
        SchemaSync(folder, registry).plan()
    assert registry.diary == []
