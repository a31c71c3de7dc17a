"""ASGI middleware: each HTTP request becomes an API6 log record. Starlette, FastAPI, Litestar or any other application.

::

    capture = Capture(producer, CaptureSettings(trusted_proxies=["10.0.0.0/8"]))
    app = CaptureMiddleware(app, capture)

A request ends with the last byte of its response: background tasks that run afterwards count neither as time nor as
errors, and the record does not wait for them (unless the response says 500 or more). Websockets pass through. When the
server shuts down, records that wait are handed over before the application is told.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from typing import Any

from sdk import capture as c
from sdk.capture import KEPT_CHAIN, MAX_METHOD, MAX_PEER, MAX_USER_AGENT
from sdk.route_template import of_scope

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SHUTDOWN_DRAIN_S = 5.0
CLIENT_LEFT = "the client left before the response ended"
NOT_ENDED = "the response was not ended"
NO_RESPONSE = "the application sent no response"


class CaptureMiddleware:
    """Measures, and passes everything on as it comes, exceptions included. Two of them on one way count once."""

    def __init__(self, app: Any, capture: c.Capture) -> None:
        self.app: App = app
        self.capture = capture
        name = capture.settings.request_id_header
        self.id_header = name.encode() if name else None
        self.counts_request = capture.settings.payload == "request"
        self.forwarded = capture.settings.forwarded_header.encode() if capture.address.reads_header else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and c.REQUEST_ID_KEY not in scope:
            try:
                exchange = _Exchange(self, scope, receive, send)
            except Exception as error:  # noqa: BLE001 - of what the server gave us, or of our own
                self.capture.lose(error)
                await self.app(scope, receive, send)
                return
            try:
                await self.app(scope, exchange.receive, exchange.send)
            except BaseException as error:
                exchange.end(error)
                raise
            exchange.end(None)
        elif scope["type"] == "lifespan":
            await self.app(scope, self._draining(receive), send)
        else:
            await self.app(scope, receive, send)

    def _draining(self, receive: Receive) -> Receive:
        async def drained() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.capture.drain(SHUTDOWN_DRAIN_S)  # blocks the loop, in which no request is left
            return message

        return drained


class _Exchange:
    """One request on its way through the application. What can wait is left to the thread that feeds the producer.

    Whatever fails here costs the request's record, never its answer.
    """

    _status = _received = _sent = _elapsed_ns = 0
    _response_headers: Iterable[tuple[bytes, bytes]] = ()
    _error: str | None = None
    _client_left = _has_ended = False

    def __init__(self, middleware: CaptureMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._arrived_ns, self._begun_ns = time.time_ns(), time.perf_counter_ns()
        self._of, self._scope, self._receive, self._send = middleware, scope, receive, send
        headers = scope["headers"]
        if type(headers) is not list:  # it may be an iterator, of which the application needs everything
            headers = scope["headers"] = list(headers)
        self._headers: dict[bytes, bytes] = dict(headers)
        given = None if middleware.id_header is None else self._headers.get(middleware.id_header)
        self._id = scope[c.REQUEST_ID_KEY] = c.new_id() if given is None else c.request_id(given.decode("latin-1"))

    async def receive(self) -> Message:
        message = await self._receive()
        try:
            if message["type"] == "http.request":
                self._received += len(message.get("body", b""))
            elif message["type"] == "http.disconnect":
                self._client_left = True
        except Exception as error:  # noqa: BLE001
            self._lose(error)
        return message

    async def send(self, message: Message) -> None:
        kind = None
        try:
            kind = message["type"]
            if kind == "http.response.start":
                message = self._start(message)
        except Exception as error:  # noqa: BLE001
            self._lose(error)
        try:
            await self._send(message)
        except OSError:  # how a server says that nobody listens any more
            self._client_left = True
            raise
        try:
            if kind == "http.response.body":
                self._sent += len(message.get("body", b""))
                if not message.get("more_body", False):
                    self._whole()
            elif kind == "http.response.pathsend":
                self._sent += self._announced()
                self._whole()
        except Exception as error:  # noqa: BLE001
            self._lose(error)

    def _announced(self) -> int:
        """Bytes of a file that the server sends by itself, as the response's header says."""
        lengths = (value for name, value in self._response_headers if name.lower() == b"content-length")
        return next((int(value) for value in lengths if value.isdigit()), 0)

    def end(self, error: BaseException | None) -> None:
        """The application returned, or ended with an error, which counts unless a good response went before it."""
        if self._has_ended:
            return
        try:
            self._judge(error)
            self._finish()
        except Exception as odd:  # noqa: BLE001
            self._lose(odd)

    def _judge(self, error: BaseException | None) -> None:
        if self._elapsed_ns:
            self._error = c.described(error) if error is not None else None
        elif self._client_left:
            self._status = self._status or c.CLIENT_GONE
            self._error = c.described(error) if error is not None else CLIENT_LEFT
        else:
            self._error = c.described(error) if error is not None else NOT_ENDED if self._status else NO_RESPONSE
            self._status = self._status or c.SERVER_ERROR

    def _lose(self, error: Exception) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._of.capture.lose(error)

    def _whole(self) -> None:
        """The response has its last byte. After a failure the error may follow: Starlette answers, then raises it."""
        self._elapsed_ns = self._elapsed_ns or time.perf_counter_ns() - self._begun_ns
        if self._status < c.SERVER_ERROR:
            self._finish()

    def _start(self, message: Message) -> Message:
        self._status = message["status"]
        self._response_headers = headers = message.get("headers", ())
        mine = self._of.id_header
        if mine is None:
            return message
        others = [pair for pair in headers if pair[0].lower() != mine]
        return {**message, "headers": [*others, (mine, self._id.encode())]}

    def _finish(self) -> None:
        if self._has_ended:
            return
        middleware, scope, method = self._of, self._scope, self._scope["method"]
        endpoint, client, agent = of_scope(scope), scope.get("client"), self._headers.get(b"user-agent")
        peer = client[0] if client else None
        build = partial(  # holds no scope: the record may wait for long
            c.record,
            address=middleware.capture.address,
            arrived_ns=self._arrived_ns,
            request_id=self._id,
            endpoint=endpoint,
            method=method if len(method) <= MAX_METHOD else method[:MAX_METHOD],
            status=self._status,
            elapsed_ns=self._elapsed_ns or time.perf_counter_ns() - self._begun_ns,
            peer=peer if not peer or len(peer) <= MAX_PEER else peer[:MAX_PEER],
            forwarded=None if middleware.forwarded is None else self._chain(middleware.forwarded),
            user_agent=agent if not agent or len(agent) <= MAX_USER_AGENT else agent[:MAX_USER_AGENT],
            size=self._received if middleware.counts_request else 0 if method == "HEAD" else self._sent,
            error=self._error or scope.get(c.ERROR_KEY),
        )
        self._has_ended = True
        middleware.capture.take(endpoint, build)

    def _chain(self, name: bytes) -> bytes | None:
        """All lines of the header as one, from its end as far as it is looked at."""
        found, lines = self._headers.get(name), self._scope["headers"]
        if found is None:
            return None
        if len(lines) != len(self._headers):
            found = b",".join(value for key, value in lines if key == name)
        return found if len(found) <= KEPT_CHAIN else found[-KEPT_CHAIN:]
