"""The real frameworks: each tells the template of its route in its own way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from litestar import Litestar, asgi, get
from litestar.exceptions import NotAuthorizedException
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket

from sdk.capture import UNMATCHED, note_error
from sdk.capture_asgi import CaptureMiddleware
from tests.unit.sdk.capturing import Seen, call, scope

Wrap = Callable[[Any, Seen], Any]
Asked = tuple[int, str]


def ask(app: Any, method: str, path: str) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api6.example") as client:
            return await client.request(method, path)

    return asyncio.run(run())


def found(app: Any, seen: Seen, method: str, path: str) -> Asked:
    """Status and endpoint of the record; the client saw the same status and the record's id."""
    answer = ask(app, method, path)
    record = seen.records()[-1]
    assert answer.status_code == record["status_code"]
    assert answer.headers["x-request-id"] == record["request_id"]
    return record["status_code"], record["api_endpoint"]


def inside(app: Any, seen: Seen) -> Any:
    """As the framework's own middleware."""
    app.add_middleware(CaptureMiddleware, capture=seen.capture)
    return app


def outside(app: Any, seen: Seen) -> Any:
    """Around the application."""
    return CaptureMiddleware(app, seen.capture)


both_ways = pytest.mark.parametrize("wrap", [inside, outside])


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


async def foreign(scope: Any, receive: Any, send: Any) -> None:
    """An application that tells nobody its routes."""
    await PlainTextResponse("foreign")(scope, receive, send)


def starlette_app() -> Starlette:
    inner = Starlette(routes=[Route("/items/{item:int}", hello), Route("/", hello)])
    return Starlette(
        routes=[
            Route("/", hello),
            Route("/orders/{number:int}", hello, methods=["GET"]),
            Route("/orders/{number:int}/lines/{line}", hello),
            WebSocketRoute("/chat", chat),
            Mount("/static", app=foreign),
            Mount("/shop", app=inner),
            Mount("/tenants/{tenant}", routes=[Route("/users/{user}", hello), Mount("/deep/{level:int}", app=inner)]),
            Host("admin.example", app=Router([Route("/panel/{x}", hello)])),
        ]
    )


STARLETTE = [
    ("GET", "/", (200, "/")),
    ("GET", "/orders/7", (200, "/orders/{number}")),
    ("HEAD", "/orders/7", (200, "/orders/{number}")),
    ("DELETE", "/orders/7", (405, "/orders/{number}")),
    ("GET", "/orders/seven", (404, UNMATCHED)),
    ("GET", "/orders/7/", (307, UNMATCHED)),
    ("GET", "/orders/7/lines/a%20b", (200, "/orders/{number}/lines/{line}")),
    ("GET", "/.env", (404, UNMATCHED)),
    ("GET", "/static/css/a.css", (200, "/static/{path}")),
    ("GET", "/shop/items/7", (200, "/shop/items/{item}")),
    ("GET", "/shop/", (200, "/shop/")),
    ("GET", "/shop/nothing/here", (404, "/shop/{path}")),
    ("GET", "/tenants/acme/users/7", (200, "/tenants/{tenant}/users/{user}")),
    ("GET", "/tenants/acme/deep/007/items/7", (200, "/tenants/{tenant}/deep/{level}/items/{item}")),
    ("GET", "/tenants/acme/nothing", (404, "/tenants/{tenant}/{path}")),
]


@both_ways
@pytest.mark.parametrize(("method", "path", "expected"), STARLETTE)
def test_starlette(wrap: Wrap, method: str, path: str, expected: Asked) -> None:
    seen = Seen()
    assert found(wrap(starlette_app(), seen), seen, method, path) == expected


def test_starlette_by_host() -> None:
    seen = Seen()
    request = scope("/panel/7", headers=[(b"host", b"admin.example")])
    call(outside(starlette_app(), seen), request)
    assert seen.one()["api_endpoint"] == "/panel/{x}"


@pytest.mark.parametrize("path", ["/orders/7", "/tenants/acme/users/7"])
def test_a_release_of_starlette_that_leaves_the_endpoint_only(path: str) -> None:
    seen = Seen()

    async def older(scope: Any, receive: Any, send: Any) -> None:
        async def without_route(message: Any) -> None:
            scope.pop("route", None)
            await send(message)

        await starlette_app()(scope, receive, without_route)

    call(outside(older, seen), scope(path))
    assert seen.one()["api_endpoint"] == ("/orders/{number}" if "orders" in path else "/tenants/{tenant}/users/{user}")


def test_a_root_path_of_a_proxy_is_no_part_of_the_template() -> None:
    seen = Seen()
    call(outside(starlette_app(), seen), scope("/behind/shop/items/7", root_path="/behind"))
    assert seen.one()["api_endpoint"] == "/shop/items/{item}"


def test_websockets_of_starlette_work_and_make_no_record() -> None:
    from starlette.testclient import TestClient

    seen = Seen()
    with TestClient(inside(starlette_app(), seen)) as client, client.websocket_connect("/chat"):
        pass
    assert seen.records() == []


@both_ways
def test_an_unhandled_exception_of_starlette(wrap: Wrap) -> None:
    seen = Seen()

    async def fails(request: Request) -> Response:
        raise LookupError("nothing there")

    app = wrap(Starlette(routes=[Route("/fails/{id}", fails)]), seen)
    assert ask(app, "GET", "/fails/7").status_code == 500
    record = seen.one()
    assert (record["status_code"], record["api_endpoint"]) == (500, "/fails/{id}")
    assert record["error_message"] == "LookupError: nothing there"


def test_an_exception_in_a_background_task_is_not_the_requests() -> None:
    seen = Seen()

    def fails() -> None:
        raise LookupError

    async def answers(request: Request) -> Response:
        return PlainTextResponse("fine", background=BackgroundTask(fails))

    assert ask(inside(Starlette(routes=[Route("/", answers)]), seen), "GET", "/").text == "fine"
    assert seen.one()["error_message"] is None


def test_a_stack_of_middlewares() -> None:
    seen = Seen()

    async def passes(request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        return answer

    app = Starlette(
        routes=[Route("/orders/{number}", hello)],
        middleware=[
            Middleware(CaptureMiddleware, capture=seen.capture),
            Middleware(BaseHTTPMiddleware, dispatch=passes),
        ],
    )
    assert found(app, seen, "GET", "/orders/7") == (200, "/orders/{number}")
    assert seen.one()["payload_size"] == len("hello")


def fastapi_app() -> FastAPI:
    app, sub, lines, orders = FastAPI(), FastAPI(), APIRouter(prefix="/{number}/lines"), APIRouter(prefix="/orders")

    @app.get("/health")
    def health() -> str:
        return "ok"

    @lines.get("/{line}")
    async def line(number: int, line: str) -> str:
        return line

    @orders.get("/{number}")
    async def order(number: int) -> int:
        return number

    @orders.get("/{number}/gone")
    async def gone(number: int) -> None:
        raise HTTPException(410, "gone")

    @orders.get("/{number}/stream")
    async def stream(number: int) -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"0123456789"

        return StreamingResponse(chunks())

    @orders.get("/{number}/fails")
    async def fails(number: int) -> None:
        raise LookupError("nothing there")

    @sub.get("/items/{item}")
    async def item(item: str) -> str:
        return item

    orders.include_router(lines)
    sub.include_router(orders, prefix="/v1")
    app.include_router(orders, prefix="/v6")
    app.mount("/shop/{tenant}", sub)
    app.mount("/static", foreign)
    return app


FASTAPI = [
    ("GET", "/health", (200, "/health")),
    ("GET", "/v6/orders/7", (200, "/v6/orders/{number}")),
    ("GET", "/v6/orders/seven", (422, "/v6/orders/{number}")),
    ("POST", "/v6/orders/7", (405, "/v6/orders/{number}")),
    ("GET", "/v6/orders/7/lines/a", (200, "/v6/orders/{number}/lines/{line}")),
    ("GET", "/v6/orders/7/gone", (410, "/v6/orders/{number}/gone")),
    ("GET", "/orders/7", (404, UNMATCHED)),
    ("GET", "/shop/acme/items/7", (200, "/shop/{tenant}/items/{item}")),
    ("GET", "/shop/acme/v1/orders/7", (200, "/shop/{tenant}/v1/orders/{number}")),
    ("GET", "/shop/acme/nothing", (404, "/shop/{tenant}/{path}")),
    ("GET", "/static/a.css", (200, "/static/{path}")),
    ("GET", "/docs", (200, "/docs")),
]


@both_ways
@pytest.mark.parametrize(("method", "path", "expected"), FASTAPI)
def test_fastapi(wrap: Wrap, method: str, path: str, expected: Asked) -> None:
    seen = Seen()
    assert found(wrap(fastapi_app(), seen), seen, method, path) == expected


def test_a_stream_of_fastapi() -> None:
    seen = Seen()
    assert len(ask(inside(fastapi_app(), seen), "GET", "/v6/orders/7/stream").content) == 100
    record = seen.one()
    assert (record["payload_size"], record["api_endpoint"]) == (100, "/v6/orders/{number}/stream")


@both_ways
def test_an_unhandled_exception_of_fastapi(wrap: Wrap) -> None:
    seen = Seen()
    answer = ask(wrap(fastapi_app(), seen), "GET", "/v6/orders/7/fails")
    record = seen.one()
    assert (answer.status_code, record["status_code"]) == (500, 500)
    assert record["error_message"] == "LookupError: nothing there"
    if wrap is outside:  # what stands inside does not see the answer
        assert answer.headers["x-request-id"] == record["request_id"]
        assert record["payload_size"] == len(answer.content)


def litestar_app(seen: Seen | None) -> Litestar:
    @get("/")
    async def root() -> str:
        return "root"

    @get("/orders/{number:int}")
    async def order(number: FromPath[int]) -> str:
        return str(number)

    @get("/orders/{number:int}/fails")
    async def fails(number: FromPath[int]) -> None:
        raise LookupError("nothing there")

    @get("/private")
    async def private() -> None:
        raise NotAuthorizedException

    @asgi("/static", is_mount=True, copy_scope=False)
    async def static(scope: Any, receive: Any, send: Any) -> None:
        await foreign(scope, receive, send)

    async def keep(error: Exception, scope: Any) -> None:
        note_error(scope, error)

    return Litestar(
        [root, order, fails, private, static],
        middleware=[] if seen is None else [DefineMiddleware(CaptureMiddleware, capture=seen.capture)],
        after_exception=[keep],
        logging_config=None,
        openapi_config=None,
    )


LITESTAR = [
    ("GET", "/", (200, "/")),
    ("GET", "/orders/7", (200, "/orders/{number}")),
    ("GET", "/private", (401, "/private")),
    ("GET", "/static/css/a.css", (200, "/static/{path}")),
]


@pytest.mark.parametrize("is_inside", [True, False])
@pytest.mark.parametrize(("method", "path", "expected"), LITESTAR)
def test_litestar(is_inside: bool, method: str, path: str, expected: Asked) -> None:
    seen = Seen()
    app: Any = litestar_app(seen) if is_inside else outside(litestar_app(None), seen)
    assert found(app, seen, method, path) == expected


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/.env", 404), ("PUT", "/orders/7", 405)])
def test_what_litestar_routes_nowhere_is_seen_from_outside_only(method: str, path: str, status: int) -> None:
    seen = Seen()
    assert found(outside(litestar_app(None), seen), seen, method, path) == (status, UNMATCHED)
    within = Seen()
    assert ask(litestar_app(within), method, path).status_code == status
    assert within.records() == []


@pytest.mark.parametrize("is_inside", [True, False])
def test_litestar_answers_an_error_itself_and_its_hook_keeps_the_text(is_inside: bool) -> None:
    seen = Seen()
    app: Any = litestar_app(seen) if is_inside else outside(litestar_app(None), seen)
    assert ask(app, "GET", "/orders/7/fails").status_code == 500
    assert ask(app, "GET", "/private").status_code == 401
    assert [(r["status_code"], r["error_message"]) for r in seen.records()] == [
        (500, "LookupError: nothing there"),
        (401, None),
    ]
