"""``sdp schemas plan|apply`` on a real registry."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from pipelines.settings import ROOT, Settings
from tests.commands import sdp


def schema(*names: str, **more: Any) -> str:
    fields = [{"name": name, "type": "int", "default": 0} for name in names]
    return json.dumps({"type": "record", "name": "R", "fields": fields} | more)


A, B, C = schema("a"), schema("a", "b"), schema("a", "b", "c")


@dataclass
class Corner:
    """Files of our own under a subject that no other test has, and the real registry."""

    settings: Settings
    subject: str
    root: Path

    def write(self, *texts: str) -> None:
        for number, text in enumerate(texts, start=1):
            self.file(number).write_text(text, encoding="utf-8")

    def file(self, number: int) -> Path:
        return self.root / "schemas" / self.subject / f"v{number}.avsc"

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit code and answer of ``sdp schemas … --json``."""
        done = sdp(self.settings, "schemas", *arguments, "--json")
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    def plan(self) -> tuple[int, tuple[list[int], list[tuple[int, str]], str | None]]:
        """Exit code; missing versions, clashes and level of our subject."""
        code, told = self.run("plan")
        [ours] = told["subjects"]
        return code, (ours["missing"], [(c["version"], c["code"]) for c in ours["clashes"]], ours["level"])

    @property
    def client(self) -> SchemaRegistryClient:
        return SchemaRegistryClient({"url": self.settings.registry.url})

    def registered(self) -> list[Any]:
        with self.client as client:
            numbers = client.get_versions(self.subject)
            texts = [client.get_version(self.subject, n).schema.schema_str for n in sorted(numbers)]
        return [json.loads(text or "") for text in texts]

    def level(self) -> str:
        with self.client as client:
            return str(client.get_compatibility(self.subject))

    def put(self, text: str, level: str | None = None) -> None:
        """Register by other means. A registry may know a level only of a subject that has a version."""
        with self.client as client:
            client.register_schema(self.subject, Schema(text, "AVRO"))
            if level is not None:
                client.set_compatibility(self.subject, level)


@pytest.fixture
def corner(servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corner:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.setenv("SDP_ROOT", str(tmp_path))
    found = Corner(servers, f"s{uuid.uuid4().hex[:10]}-value", tmp_path)
    found.file(1).parent.mkdir(parents=True)
    return found


def test_from_nothing_to_released_and_nothing_twice(corner: Corner) -> None:
    corner.write(A, B)
    assert corner.plan() == (1, ([1, 2], [], None))
    code, done = corner.run("apply")
    assert (code, [line.partition(",")[0] for line in done["done"]]) == (
        0,
        [f"{corner.subject}: v1 registered", f"{corner.subject}: v2 registered"],
    )
    assert corner.registered() == [json.loads(A), json.loads(B)]
    assert corner.level() == "BACKWARD"
    assert corner.plan() == (0, ([], [], "BACKWARD"))
    code, again = corner.run("apply")
    assert (code, again["done"]) == (0, [])
    corner.write(A, B, C)
    assert corner.plan() == (1, ([3], [], "BACKWARD"))
    assert corner.run("apply")[0] == 0
    assert len(corner.registered()) == 3


@pytest.mark.parametrize("level", ["NONE", "FULL", "FORWARD_TRANSITIVE"])
def test_another_level_is_a_difference_and_is_mended(corner: Corner, level: str) -> None:
    corner.write(A)
    corner.put(A, level)
    assert corner.plan() == (1, ([], [], level))
    code, done = corner.run("apply")
    assert (code, done["done"]) == (0, [f"{corner.subject}: level {level} → BACKWARD"])
    assert corner.level() == "BACKWARD"


def test_a_subject_without_a_level_of_its_own_has_that_of_the_registry(corner: Corner) -> None:
    corner.write(A)
    corner.put(A)
    with corner.client as client:
        level = str(client.get_compatibility())
    assert corner.plan() == (0 if level == "BACKWARD" else 1, ([], [], level))
    assert corner.run("apply")[0] == 0
    assert corner.plan() == (0, ([], [], "BACKWARD"))


def test_a_released_file_that_was_edited_is_refused(corner: Corner) -> None:
    corner.write(A, B)
    assert corner.run("apply")[0] == 0
    corner.write(A, schema("a", "x"), C)
    assert corner.plan() == (1, ([3], [(2, "text_differs")], "BACKWARD"))
    code, told = corner.run("apply")
    assert (code, told["done"]) == (1, [])
    assert "differ in field b, field x" in told["subjects"][0]["clashes"][0]["message"]
    assert corner.registered() == [json.loads(A), json.loads(B)]


def test_a_version_that_no_file_has_is_refused(corner: Corner) -> None:
    corner.write(A)
    assert corner.run("apply")[0] == 0
    corner.put(B)
    assert corner.plan() == (1, ([], [(2, "no_file")], "BACKWARD"))
    assert corner.run("apply")[0] == 1
    corner.write(A, B)
    assert corner.plan() == (0, ([], [], "BACKWARD")), "once there is a file, all is well"


def test_versions_that_were_deleted_leave_no_difference(corner: Corner) -> None:
    corner.write(A, B)
    corner.put(schema("wrong"))
    corner.put(A, "NONE")
    with corner.client as client:
        client.delete_version(corner.subject, 1)
    assert corner.plan() == (1, ([2], [], "NONE"))
    assert corner.run("apply")[0] == 0
    assert corner.registered() == [json.loads(A), json.loads(B)]
    assert corner.plan() == (0, ([], [], "BACKWARD"))


def test_files_that_are_wrong_are_wrong_use_and_the_registry_is_left_alone(corner: Corner) -> None:
    corner.write(A, json.dumps(json.loads(A) | {"fields": [{"name": "a", "type": "string"}]}))
    for command in ("plan", "apply"):
        code, told = corner.run(command)
        assert (code, "field a: int can't be read as string (type_mismatch)" in told["error"]) == (2, True)
    with corner.client as client:
        assert corner.subject not in client.get_subjects()
    code, told = corner.run("check")
    assert (code, [finding["code"] for finding in told["findings"]]) == (1, ["type_mismatch"])


def test_subjects_without_files_are_named_and_left_alone(corner: Corner) -> None:
    corner.write(A)
    other = f"{corner.subject}-other"
    with corner.client as client:
        client.register_schema(other, Schema(A, "AVRO"))
        client.set_compatibility(other, "NONE")
    code, told = corner.run("apply")
    assert (code, other in told["unmanaged"]) == (0, True)
    with corner.client as client:
        assert (len(client.get_versions(other)), client.get_compatibility(other)) == (1, "NONE")


def test_a_registry_that_is_away_is_exit_code_3_but_check_needs_none(corner: Corner) -> None:
    corner.write(A)
    nowhere = ["registry.url=http://localhost:9/apis/ccompat/v7"]
    for command in ("plan", "apply"):
        away = sdp(corner.settings, "schemas", command, overrides=nowhere)
        assert (away.returncode, "is not available" in away.stderr) == (3, True), away.stderr
    assert sdp(corner.settings, "schemas", "check", overrides=nowhere).returncode == 0
