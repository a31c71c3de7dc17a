"""Registered schemas: from the registry when it is there, else as it was seen last."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError

from pipelines.contracts import avro
from pipelines.errors import RegistryUnavailable, UsageError
from pipelines.settings import RegistrySettings, Settings

log = logging.getLogger(__name__)

_TIMEOUT_S = 5
_RETRIES = 1
_ASK_AGAIN_S = 5.0
"""How long a registry that did not answer is not asked again: a service must not wait for it with every request."""

_SUBJECT_UNKNOWN = 40401


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema of ours and its id in the registry."""

    schema_id: int
    schema: avro.Schema


class Versions(Protocol):
    """The part of Confluent's client that is used."""

    def get_versions(self, subject_name: str) -> list[int]: ...
    def get_version(self, subject_name: str, version: int) -> Any: ...


class RegisteredSchemas:
    """Schemas of ``schemas/`` with their ids.

    An id is asked for once per process. It is also kept in a file, by registry and subject, for the next process that
    finds the registry away. Safe to use from many threads.
    """

    def __init__(self, settings: Settings, client: Versions | None = None) -> None:
        self._url = settings.registry.url
        self._folder = settings.schema_cache_path
        self._client = client or _client(settings.registry, self)
        self._known: dict[str, Registered] = {}
        self._lock = threading.Lock()
        self._away: tuple[float, str] | None = None
        """Until when the registry is not asked again, and why."""

    def get(self, subject: str) -> Registered:
        """The newest schema of ``schemas/<subject>`` and its id.

        Raises RegistryUnavailable when the registry does not answer and never did, or knows no such subject, and
        UsageError when it knows the subject but not this schema.
        """
        known = self._known.get(subject)
        if known is None:
            with self._lock:
                known = self._known.get(subject) or self._find(subject)
                self._known[subject] = known
        return known

    def _find(self, subject: str) -> Registered:
        wanted = avro.load(subject)
        try:
            found = Registered(self._ask(subject, wanted.text), wanted)
        except RegistryUnavailable as error:
            kept = self._read(subject, wanted.text)
            if kept is None:
                raise
            log.warning("%s; schema %d of %s is taken from %s", error, kept, subject, self._folder)
            return Registered(kept, wanted)
        self._write(subject, found)
        return found

    def _ask(self, subject: str, text: str) -> int:
        if self._away is not None and time.monotonic() < self._away[0]:
            raise RegistryUnavailable("schema registry", self._url, self._away[1])
        try:
            return self._id_of(subject, text)
        except (SchemaRegistryError, httpx2.HTTPError, ValueError, TypeError) as error:
            if isinstance(error, SchemaRegistryError) and error.error_code == _SUBJECT_UNKNOWN:
                raise RegistryUnavailable.without(subject, self._url) from None
            reason = str(error) or type(error).__name__
            self._away = time.monotonic() + _ASK_AGAIN_S, reason
            raise RegistryUnavailable("schema registry", self._url, reason) from error

    def _id_of(self, subject: str, text: str) -> int:
        """Compared as JSON: registries lay texts out anew."""
        wanted = json.loads(text)
        for version in sorted(self._client.get_versions(subject), reverse=True):
            found = self._client.get_version(subject, version)
            if json.loads(found.schema.schema_str or "") == wanted and found.schema_id is not None:
                return found.schema_id
        raise UsageError(
            f"the registry at {self._url} has no version of {subject} that is the newest in schemas/{subject}; "
            f"register it first (`sdp init`)"
        )

    def _file(self, subject: str) -> Path:
        return self._folder / f"{subject}.json"

    def _read(self, subject: str, text: str) -> int | None:
        try:
            kept = json.loads(self._file(subject).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(kept, dict) or (kept.get("registry"), kept.get("schema")) != (self._url, json.loads(text)):
            return None
        schema_id = kept.get("id")
        return schema_id if isinstance(schema_id, int) else None

    def _write(self, subject: str, found: Registered) -> None:
        content = {"registry": self._url, "id": found.schema_id, "schema": json.loads(found.schema.text)}
        file = self._file(subject)
        draft = file.with_suffix(f".{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(content, indent=1), encoding="utf-8")
            draft.replace(file)
        except OSError as error:
            log.warning("schema %d of %s is not kept for times without a registry: %s", found.schema_id, subject, error)


def _client(settings: RegistrySettings, owner: object) -> SchemaRegistryClient:
    options: dict[str, Any] = {"url": settings.url, "timeout": _TIMEOUT_S, "max.retries": _RETRIES}
    if settings.username and settings.password:
        options["basic.auth.user.info"] = f"{settings.username}:{settings.password.get_secret_value()}"
    client = SchemaRegistryClient(options)
    weakref.finalize(owner, client.close)
    return client
