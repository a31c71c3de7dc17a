"""Versions of the schema that exist for one test only."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fastavro
import httpx2

from pipelines.contracts import avro
from pipelines.settings import Settings
from tests.world import record

V1 = json.loads(avro.load("api6-logs-value", 1).text)
TEXT_STATUS = {**V1, "fields": [f | ({"type": "string"} if f["name"] == "status_code" else {}) for f in V1["fields"]]}
"""Fits no column."""

Register = Callable[[dict[str, Any]], int]


@contextmanager
def registering(settings: Settings) -> Iterator[Register]:
    """Register a version and get its id; all but those of before are gone afterwards, and BACKWARD holds again."""
    registry, subject = settings.registry, settings.registry.subject
    rest = httpx2.Client(base_url=registry.url, headers={"Content-Type": "application/vnd.schemaregistry.v1+json"})
    before = set(rest.get(f"/subjects/{subject}/versions").json())

    def add(schema: dict[str, Any]) -> int:
        answer = rest.post(f"/subjects/{subject}/versions", json={"schema": json.dumps(schema)}).raise_for_status()
        return int(answer.json()["id"])

    try:
        yield add
    finally:
        for version in sorted(set(rest.get(f"/subjects/{subject}/versions").json()) - before):
            rest.delete(f"/subjects/{subject}/versions/{version}").raise_for_status()
        rest.put(f"/config/{subject}", json={"compatibility": "BACKWARD"}).raise_for_status()
        rest.close()


def take_anything(settings: Settings) -> None:
    """Let the registry take versions that are not compatible."""
    url = f"{settings.registry.url}/config/{settings.registry.subject}"
    httpx2.put(url, json={"compatibility": "NONE"}).raise_for_status()


def encoded(schema: dict[str, Any], schema_id: int, **values: Any) -> bytes:
    """A framed record of this version, by fastavro and struct alone: no code of ours."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record(**values))
    return b"\x00" + struct.pack(">I", schema_id) + out.getvalue()
