"""A sink in place of the producer, and an ASGI server of a few lines that can lose its client at any message."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.contracts import avro
from pipelines.contracts.evaluate import evaluator
from pipelines.contracts.evolution import base_schema
from pipelines.contracts.rule_file import load_rules
from pipelines.settings import ROOT
from sdk.capture import Capture, CaptureSettings

SCHEMA = avro.load("api6-logs-value")
JUDGE = evaluator(load_rules(ROOT / "conf" / "rules" / "api6-logs.yaml", base_schema("api6-logs-value").kinds))


class Sink:
    """Takes records; ``refuse``: errors to raise instead, first."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.thread: int | None = None
        self.refuse: list[Exception] = []

    def send(self, record: Mapping[str, Any]) -> None:
        self.thread = threading.get_ident()
        if self.refuse:
            raise self.refuse.pop(0)
        self.records.append(dict(record))


@dataclass
class Seen:
    """A capture with its sink."""

    settings: CaptureSettings = field(default_factory=CaptureSettings)
    sink: Sink = field(default_factory=Sink)

    def __post_init__(self) -> None:
        self.capture = Capture(self.sink, self.settings)

    def records(self) -> list[dict[str, Any]]:
        """What was captured so far; every record fits the schema and breaks no rule."""
        assert self.capture.close(10)
        now_ms = int(time.time() * 1000)
        for record in self.sink.records:
            avro.encode(SCHEMA, record)
            assert JUDGE(record, now_ms) == []
        return self.sink.records

    def one(self) -> dict[str, Any]:
        [record] = self.records()
        return record


@dataclass
class Exchange:
    """What an application answered, and what it raised."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(bytes(n), bytes(v)) for m in self.messages for n, v in m.get("headers", ())]

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.messages)


def scope(path: str = "/", **changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"api6.example")],
        "client": ("192.0.2.7", 40000),
        "server": ("api6.example", 80),
        **changes,
    }


def call(
    app: Callable[..., Awaitable[None]],
    scope: dict[str, Any],
    *,
    body: bytes = b"",
    leaves_after: int | None = None,
    raises: bool = False,
) -> Exchange:
    """Run one request; the client leaves after so many messages of the response (``raises``: send says so)."""
    exchange = Exchange()

    async def run() -> None:
        left = asyncio.Event()
        asked = False
        if leaves_after == 0:
            left.set()

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked and not left.is_set():
                asked = True
                return {"type": "http.request", "body": body, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if left.is_set():
                if raises:
                    raise OSError("the client left")
                return
            exchange.messages.append(message)
            if len(exchange.messages) == leaves_after:
                left.set()

        try:
            await app(scope, receive, send)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            exchange.error = error

    asyncio.run(run())
    return exchange


def as_json(exchange: Exchange) -> Any:
    return json.loads(exchange.body)
