"""The id of a schema: asked for once, kept for times without a registry, never guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import settings as settings_module
from pipelines.contracts import avro
from pipelines.errors import RegistryUnavailable, UsageError
from pipelines.settings import Settings
from sdk.schemas import RegisteredSchemas
from tests.unit.sdk.registries import FakeRegistry

SUBJECT = "api6-logs-value"
TEXT = avro.load(SUBJECT).text
OTHER = json.dumps(json.loads(TEXT) | {"fields": json.loads(TEXT)["fields"][:3]})


def settings(folder: Path, url: str = "http://registry:8081") -> Settings:
    return settings_module.load(producer={"schema_cache": folder / "cache"}, registry={"url": url})


def test_asked_once_and_compared_as_json(tmp_path: Path) -> None:
    registry = FakeRegistry({SUBJECT: [OTHER, json.dumps(json.loads(TEXT)), OTHER]})
    schemas = RegisteredSchemas(settings(tmp_path), registry)
    assert [schemas.get(SUBJECT).schema_id for _ in range(3)] == [101] * 3
    assert schemas.get(SUBJECT).schema.text == TEXT
    assert registry.asked == 1


def test_away_with_the_id_in_memory(tmp_path: Path) -> None:
    registry = FakeRegistry({SUBJECT: [TEXT]})
    schemas = RegisteredSchemas(settings(tmp_path), registry)
    schemas.get(SUBJECT)
    registry.is_up = False
    assert schemas.get(SUBJECT).schema_id == 100


def test_away_with_the_id_on_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry = FakeRegistry({SUBJECT: [TEXT]})
    RegisteredSchemas(settings(tmp_path), registry).get(SUBJECT)
    registry.is_up = False
    assert RegisteredSchemas(settings(tmp_path), registry).get(SUBJECT).schema_id == 100
    assert "schema 100 of api6-logs-value is taken from" in caplog.text


def test_away_without_an_id_is_said_at_once(tmp_path: Path) -> None:
    registry = FakeRegistry({SUBJECT: [TEXT]}, is_up=False)
    schemas = RegisteredSchemas(settings(tmp_path), registry)
    for _ in range(5):
        with pytest.raises(RegistryUnavailable, match="http://registry:8081"):
            schemas.get(SUBJECT)
    assert registry.asked == 1


def test_each_caller_gets_an_error_of_its_own(tmp_path: Path) -> None:
    """An exception that is raised again grows by a traceback each time."""
    schemas = RegisteredSchemas(settings(tmp_path), FakeRegistry(is_up=False))
    caught = []
    for _ in range(5):
        with pytest.raises(RegistryUnavailable) as each:
            schemas.get(SUBJECT)
        caught.append(each)
    assert len({str(each.value) for each in caught}) == 1
    assert len(caught[-1].traceback) == len(caught[1].traceback)


@pytest.mark.parametrize("kept", [{}, {"id": None}, {"id": "x"}])
def test_a_kept_file_without_an_id_is_as_none(tmp_path: Path, kept: dict[str, str | None]) -> None:
    registry = FakeRegistry({SUBJECT: [TEXT]})
    RegisteredSchemas(settings(tmp_path), registry).get(SUBJECT)
    file = tmp_path / "cache" / f"{SUBJECT}.json"
    content = json.loads(file.read_text())
    del content["id"]
    file.write_text(json.dumps(content | kept))
    registry.is_up = False
    with pytest.raises(RegistryUnavailable):
        RegisteredSchemas(settings(tmp_path), registry).get(SUBJECT)


def test_a_registry_that_comes_back_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdk.schemas._ASK_AGAIN_S", 0)
    registry = FakeRegistry({SUBJECT: [TEXT]}, is_up=False)
    schemas = RegisteredSchemas(settings(tmp_path), registry)
    with pytest.raises(RegistryUnavailable):
        schemas.get(SUBJECT)
    registry.is_up = True
    assert schemas.get(SUBJECT).schema_id == 100


def test_an_id_of_another_registry_or_another_schema_is_not_taken(tmp_path: Path) -> None:
    registry = FakeRegistry({SUBJECT: [TEXT]})
    RegisteredSchemas(settings(tmp_path), registry).get(SUBJECT)
    registry.is_up = False
    with pytest.raises(RegistryUnavailable):
        RegisteredSchemas(settings(tmp_path, "http://other"), registry).get(SUBJECT)
    file = tmp_path / "cache" / f"{SUBJECT}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": json.loads(OTHER)}))
    with pytest.raises(RegistryUnavailable):
        RegisteredSchemas(settings(tmp_path), registry).get(SUBJECT)
    file.write_text("no json")
    with pytest.raises(RegistryUnavailable):
        RegisteredSchemas(settings(tmp_path), registry).get(SUBJECT)


def test_a_registry_without_the_subject_or_without_the_schema(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="`sdp init`"):
        RegisteredSchemas(settings(tmp_path), FakeRegistry()).get(SUBJECT)
    with pytest.raises(UsageError, match="has no version of api6-logs-value"):
        RegisteredSchemas(settings(tmp_path), FakeRegistry({SUBJECT: [OTHER]})).get(SUBJECT)


def test_a_cache_that_can_not_be_written_is_no_reason_to_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").touch()
    assert RegisteredSchemas(settings(tmp_path), FakeRegistry({SUBJECT: [TEXT]})).get(SUBJECT).schema_id == 100
    assert "is not kept" in caplog.text
