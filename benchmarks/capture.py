"""What capture costs a service: a minimal FastAPI route with the middleware against the same without.

Twice: the application alone, called as a server calls it, where nothing hides the middleware's share; and behind
uvicorn, over HTTP on kept connections, as a service runs. The producer only takes the records: what a
real one costs is measured by itself.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from subprocess import Popen
from typing import Any

from fastapi import FastAPI

from benchmarks.compare import WARM_UPS, Bench, Part, Ratio, say
from benchmarks.meter import Meter, Outcome
from sdk.capture import Capture, CaptureSettings
from sdk.capture_asgi import CaptureMiddleware
from sdk.handover import Record

BARE, CAPTURED = "bare", "captured"
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
    """Both ratios. Needs no server of the laboratory."""
    requests = max(1_000, bench.plan.records // RECORDS_PER_REQUEST)
    runs = {**_alone(requests, bench.plan.runs), **_behind_a_server(requests, bench.plan.runs)}
    ratios = [
        _ratio("FastAPI route behind uvicorn with capture ÷ without (requests/s)", "http", 0.9, runs),
        _ratio("the same without a server", "alone", None, runs),
    ]
    return Part("capture", runs, ratios)


def application(kind: str) -> FastAPI:
    """One route with a path parameter."""
    app = FastAPI()

    @app.get("/v6/orders/{order}")
    async def order(order: int) -> dict[str, int]:
        return {"order": order}

    if kind == CAPTURED:
        app.add_middleware(CaptureMiddleware, capture=Capture(Taken(), SETTINGS))
    return app


def _alone(requests: int, runs: int) -> dict[str, list[Outcome]]:
    apps = {f"alone {kind}": application(kind) for kind in (BARE, CAPTURED)}
    return _in_turn({name: partial(_call, app, requests) for name, app in apps.items()}, requests, runs)


def _behind_a_server(requests: int, runs: int) -> dict[str, list[Outcome]]:
    with ExitStack() as servers:
        ports = {f"http {kind}": servers.enter_context(_served(kind)) for kind in (BARE, CAPTURED)}
        return _in_turn({name: partial(_ask, port, requests) for name, port in ports.items()}, requests, runs)


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
def _served(kind: str) -> Iterator[int]:
    """A uvicorn in a process of its own, for one kind; gives its port. Connections wait until it is up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        passed = listening.fileno()
        server = Popen([sys.executable, "-m", "benchmarks.capture", kind, str(passed)], pass_fds=[passed])
        try:
            yield listening.getsockname()[1]
        finally:
            server.terminate()
            server.wait(STOP_S)


def _ratio(name: str, where: str, target: float | None, runs: Mapping[str, list[Outcome]]) -> Ratio:
    of, by = f"{where} {CAPTURED}", f"{where} {BARE}"
    return Ratio(name, of, by, target, tuple(a.rate / b.rate for a, b in zip(runs[of], runs[by], strict=True)))


if __name__ == "__main__":
    import uvicorn

    config = uvicorn.Config(application(sys.argv[1]), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[2]))])
