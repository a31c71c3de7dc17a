"""The registry's schemas as the stream needs them."""

from __future__ import annotations

from pipelines.adapters.registry import Registry
from pipelines.contracts.writer import LogSchema, SchemaSet
from pipelines.errors import RegistryUnavailable
from pipelines.settings import RegistrySettings


class RegisteredSchemas:
    """Writer schemas of one subject, refreshed at every batch and never forgotten within a process."""

    def __init__(self, registry: Registry, settings: RegistrySettings, reader: LogSchema) -> None:
        self._registry, self._settings, self._reader = registry, settings, reader
        self._known: dict[int, LogSchema] = {}

    def current(self) -> SchemaSet:
        """Every schema that a record produced before this call may carry.

        A registry without the subject is a registry that lost its data: raises RegistryUnavailable, so that no record
        becomes invalid by it (law 4).
        """
        found = self._registry.snapshot(self._settings.subject)
        if not found:
            reason = f"it knows no schema of subject {self._settings.subject}; run `sdp init` if this is a new registry"
            raise RegistryUnavailable("schema registry", self._settings.url, reason)
        for schema_id, text in found.items():
            if schema_id not in self._known:
                self._known[schema_id] = LogSchema(text)
        return SchemaSet(self._reader, dict(self._known))
