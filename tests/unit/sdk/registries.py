"""A schema registry in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryError

from pipelines.contracts import avro
from sdk.schemas import Registered


@dataclass
class FakeRegistry:
    """Subject → its schemas in order; ids count from 100. ``asked``: how often somebody asked for versions."""

    subjects: dict[str, list[str]] = field(default_factory=dict)
    is_up: bool = True
    asked: int = 0

    def get_versions(self, subject_name: str) -> list[int]:
        self.asked += 1
        if not self.is_up:
            raise SchemaRegistryError(503, 50301, "away")
        if subject_name not in self.subjects:
            raise SchemaRegistryError(404, 40401, "no such subject")
        return list(range(1, len(self.subjects[subject_name]) + 1))

    def get_version(self, subject_name: str, version: int) -> RegisteredSchema:
        text = self.subjects[subject_name][version - 1]
        return RegisteredSchema(subject_name, version, 99 + version, None, Schema(text, "AVRO"))


class FixedSchemas:
    """Every subject's newest schema, under one id."""

    def __init__(self, schema_id: int = 7) -> None:
        self.schema_id = schema_id

    def get(self, subject: str) -> Registered:
        return Registered(self.schema_id, avro.load(subject))
