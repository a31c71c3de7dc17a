"""The registry's schemas as the stream needs them."""

from __future__ import annotations

from pipelines.adapters.registry import Registry
from pipelines.contracts.evolution import merge
from pipelines.contracts.writer import LogSchema, SchemaSet
from pipelines.errors import RegistryUnavailable
from pipelines.settings import RegistrySettings


class RegisteredSchemas:
    """Writer schemas of one subject, refreshed at every batch and never forgotten within a process.

    ``base``: the schema that the tables were made for.
    """

    def __init__(self, registry: Registry, settings: RegistrySettings, base: LogSchema) -> None:
        self._registry, self._settings, self._base = registry, settings, base
        self._known: dict[int, LogSchema] = {}
        self._merged: tuple[set[int], SchemaSet] | None = None

    def current(self) -> SchemaSet:
        """Every schema that a record produced before this call may carry.

        A registry without the subject is a registry that lost its data: raises RegistryUnavailable, so that no record
        becomes invalid by it (law 4).
        """
        found = self._registry.snapshot(self._settings.subject)
        if not found:
            raise RegistryUnavailable.without(self._settings.subject, self._settings.url)
        for schema_id, text in found.items():
            if schema_id not in self._known:
                self._known[schema_id] = LogSchema(text)
        if self._merged is None or self._merged[0] != self._known.keys():
            self._merged = set(self._known), merge(self._base, self._known)
        return self._merged[1]
