"""What capture costs a service: a minimal FastAPI route with the middleware against the same without.

Behind uvicorn, over HTTP on kept connections, as a service runs; and the application alone, called as a server calls
it, where nothing hides the middleware's share.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from subprocess import Popen
from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.compare import WARM_UPS, Bench, Part, ratio, say
from benchmarks.meter import Meter, Outcome
from pipelines import bootstrap
from pipelines.settings import ROOT, load
from sdk.capture import Capture, CaptureSettings
from sdk.capture_asgi import CaptureMiddleware
from sdk.handover import Record, RecordSink
from sdk.producer import Api6LogProducer

BARE, CAPTURED, PRODUCED = "bare", "captured", "produced"
"""Without middleware; with it and a producer that only takes records; with it and Api6LogProducer."""
TOPIC = "kafka.topic=bench-capture"
RECORDS_PER_REQUEST = 50
"""A run makes one request for so many records of the plan."""
CONNECTIONS = 8
STOP_S = 30

Task = Callable[[], Coroutine[Any, Any, None]]

HEADERS = {
    "host": "api6.example",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "accept": "*/*",
    "accept-encoding": "gzip, deflate, br",
    "connection": "keep-alive",
    "x-forwarded-for": "203.0.113.9",
}
SETTINGS = CaptureSettings.model_validate({"trusted_proxies": ["127.0.0.0/8"], "queue_records": 1_000_000})


class Taken:
    """A producer that costs next to nothing."""

    def send(self, _: Record, /) -> None: ...


def capture(bench: Bench) -> Part:
    """With a producer that only takes records, alone and behind uvicorn, and behind uvicorn with ours on real Kafka."""
    requests = max(1_000, bench.plan.records // RECORDS_PER_REQUEST)
    settings = bench.lab.settings([TOPIC])
    bootstrap.prepare(settings)
    runs = {**alone(requests, bench.plan.runs), **served(requests, bench.plan.runs, [*bench.lab.common(), TOPIC])}
    ratios = [
        ratio("FastAPI route behind uvicorn, with the middleware ÷ without", "http captured", "http bare", 0.9, runs),
        ratio("the same with Api6LogProducer", "http produced", "http bare", None, runs),
        ratio(
            "FastAPI route without a server, with the middleware ÷ without", "alone captured", "alone bare", None, runs
        ),
    ]
    return Part("capture", runs, ratios)


def application(kind: str, overrides: Sequence[str] = ()) -> FastAPI:
    """One route with a path parameter."""
    app = FastAPI()

    @app.get("/v6/orders/{order}")
    async def order(order: int) -> dict[str, int]:
        return {"order": order}

    if kind != BARE:
        app.add_middleware(CaptureMiddleware, capture=Capture(_sink(kind, overrides), SETTINGS))
    return app


def alone(requests: int, runs: int) -> dict[str, list[Outcome]]:
    """Runs of the application, called in this process."""
    apps = {f"alone {kind}": application(kind) for kind in (BARE, CAPTURED)}
    return _in_turn({name: partial(_call, app, requests) for name, app in apps.items()}, requests, runs)


def served(requests: int, runs: int, overrides: Sequence[str] | None) -> dict[str, list[Outcome]]:
    """Runs over HTTP; ``overrides``: settings of our producer, None leaves it out."""
    kinds = (BARE, CAPTURED) if overrides is None else (BARE, CAPTURED, PRODUCED)
    with ExitStack() as servers:
        ports = {f"http {kind}": servers.enter_context(_server(kind, overrides or ())) for kind in kinds}
        return _in_turn({name: partial(_ask, port, requests) for name, port in ports.items()}, requests, runs)


def _sink(kind: str, overrides: Sequence[str]) -> RecordSink:
    if kind == CAPTURED:
        return Taken()
    producer = Api6LogProducer(load("local", overrides), registry=None)
    producer.prepare()
    return producer


def _in_turn(tasks: Mapping[str, Task], requests: int, runs: int) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {name: [] for name in tasks}
    for turn in range(WARM_UPS + runs):
        for name, task in tasks.items():
            with Meter() as meter:
                asyncio.run(task())
            outcome = meter.outcome(requests)
            say(f"{name:15} {requests:10,d} requests {outcome.rate:10,.0f}/s")
            if turn >= WARM_UPS:
                found[name].append(outcome)
    return found


async def _call(app: Any, requests: int) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None: ...

    for _ in range(requests):
        await app(_scope(), receive, send)


def _scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/v6/orders/7",
        "raw_path": b"/v6/orders/7",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in HEADERS.items()],
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


async def _ask(port: int, requests: int) -> None:
    lines = ["GET /v6/orders/7 HTTP/1.1", *(f"{name}: {value}" for name, value in HEADERS.items()), "", ""]
    request = "\r\n".join(lines).encode()

    async def on_one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // CONNECTIONS):
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200 "), head
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()

    await asyncio.gather(*(on_one_connection() for _ in range(CONNECTIONS)))


@contextmanager
def _server(kind: str, overrides: Sequence[str]) -> Iterator[int]:
    """A uvicorn in a process of its own, for one kind; gives its port. Connections wait until it is up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        passed = listening.fileno()
        command = [sys.executable, "-m", "benchmarks.capture", kind, str(passed), *overrides]
        server = Popen(command, pass_fds=[passed], env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            yield listening.getsockname()[1]
        finally:
            server.terminate()
            server.wait(STOP_S)


def main(kind: str, passed: str, *overrides: str) -> None:
    """Serve on the socket that was passed, until SIGTERM."""
    config = uvicorn.Config(application(kind, overrides), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(passed))])


if __name__ == "__main__":
    main(*sys.argv[1:])
