"""Schema registry with the Confluent API: register a schema, and know every schema a writer may have used."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from pipelines.contracts.schema_plan import COMPATIBILITY as COMPATIBILITY  # for those who look at the level
from pipelines.errors import RegistryUnavailable, UsageError
from pipelines.settings import RegistrySettings

_REQUEST_TIMEOUT_S = 10
_CLIENT_RETRIES = 2
_FIRST_RETRY_MS, _LONGEST_RETRY_MS = 200, 2_000

_SUBJECT_UNKNOWN, _VERSION_UNKNOWN, _NO_LEVEL_OF_ITS_OWN = 40401, 40402, 40408
_INCOMPATIBLE, _INVALID = 409, 422


class Registry:
    """Client of one registry.

    Every call raises RegistryUnavailable when the registry does not answer, answers 5xx, or answers something that no
    registry answers (a wrong address, a proxy's page, refused credentials): none of these says anything about a record
    (law 4).
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._client = SchemaRegistryClient(_options(settings))
        weakref.finalize(self, self._client.close)
        self._seen: dict[str, dict[int, tuple[int, str]]] = {}

    def register(self, subject: str, avsc: str) -> int:
        """Register a schema under BACKWARD compatibility and return its id.

        Idempotent: a schema that is there already, in whatever layout of its JSON, keeps its id. Raises UsageError when
        the schema is not valid or not compatible with what is there.
        """
        self.hold(subject)
        wanted = json.loads(avsc)
        for schema_id, text in reversed(self.snapshot(subject).items()):
            if json.loads(text) == wanted:
                return schema_id
        with self._answering(f"schema of {subject} refused"):
            return self._client.register_schema(subject, Schema(avsc, "AVRO"))

    def hold(self, subject: str) -> None:
        """Hold the subject to BACKWARD compatibility."""
        with self._answering(f"level of {subject} refused"):
            self._client.set_compatibility(subject, COMPATIBILITY)

    def subjects(self) -> list[str]:
        """Every subject that has a version."""
        with self._answering("subjects refused"):
            return sorted(self._client.get_subjects())

    def snapshot(self, subject: str) -> dict[int, str]:
        """Schema id → schema text for all versions of the subject, oldest first; empty when there is no such one."""
        return dict(self.versions(subject).values())

    def versions(self, subject: str) -> dict[int, tuple[int, str]]:
        """Version → schema id and text, oldest first; empty when there is no such subject.

        Ids never change their schema, so only versions not seen before are fetched.
        """
        seen = self._seen.setdefault(subject, {})
        with self._answering(f"versions of {subject} refused"):
            versions = self._versions(subject)
            for version in versions:
                if version not in seen:
                    found = self._client.get_version(subject, version)
                    assert found.schema_id is not None
                    assert found.schema.schema_str is not None
                    seen[version] = found.schema_id, found.schema.schema_str
        return {version: seen[version] for version in versions}

    def compatibility(self, subject: str) -> str:
        """Compatibility level in force for the subject: its own or, without one, the registry's."""
        with self._answering(f"compatibility of {subject} refused"):
            try:
                return str(self._client.get_compatibility(subject))
            except SchemaRegistryError as error:
                if error.error_code not in (_SUBJECT_UNKNOWN, _NO_LEVEL_OF_ITS_OWN):
                    raise
                return str(self._client.get_compatibility())

    def test_compatibility(self, subject: str, avsc: str) -> bool:
        """Whether the registry would take a schema as the next version, by the level in force; changes nothing.

        A subject without versions takes any schema; what the registry can't make sense of it does not take.
        """
        with self._answering(f"schema for {subject} refused"):
            try:
                return self._client.test_compatibility(subject, Schema(avsc, "AVRO"))
            except SchemaRegistryError as error:
                if error.error_code in (_SUBJECT_UNKNOWN, _VERSION_UNKNOWN):
                    return True
                if error.http_status_code in (_INCOMPATIBLE, _INVALID):
                    return False
                raise

    def _versions(self, subject: str) -> list[int]:
        try:
            return sorted(self._client.get_versions(subject))
        except SchemaRegistryError as error:
            if error.error_code == _SUBJECT_UNKNOWN:
                return []
            raise

    @contextmanager
    def _answering(self, refused: str) -> Iterator[None]:
        """Turn errors of the client into ours."""
        try:
            yield
        except SchemaRegistryError as error:
            if error.http_status_code in (_INCOMPATIBLE, _INVALID):
                raise UsageError(f"{refused}: {error.error_message}") from None
            raise self._unavailable(error) from error
        except (httpx2.HTTPError, ValueError, TypeError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> RegistryUnavailable:
        reason = str(error) or type(error).__name__
        return RegistryUnavailable("schema registry", self._settings.url, reason)


def _options(settings: RegistrySettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "url": settings.url,
        "timeout": _REQUEST_TIMEOUT_S,
        "max.retries": _CLIENT_RETRIES,
        "retries.wait.ms": _FIRST_RETRY_MS,
        "retries.max.wait.ms": _LONGEST_RETRY_MS,
    }
    if settings.username and settings.password:
        options["basic.auth.user.info"] = f"{settings.username}:{settings.password.get_secret_value()}"
    return options
