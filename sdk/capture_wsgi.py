"""WSGI middleware: each request becomes an API6 log record. Flask, Django or any other application.

::

    app.wsgi_app = CaptureMiddleware(app.wsgi_app, capture)

A request ends with the last chunk of its response, or when the server closes the response before. A response that
``wsgi.file_wrapper`` would send is sent in chunks, as its bytes are counted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from sdk import capture as c
from sdk.capture import KEPT_CHAIN, MAX_METHOD, MAX_PEER, MAX_USER_AGENT
from sdk.route_template import of_environ

Environ = dict[str, Any]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

CLIENT_LEFT = "the server closed the response before it ended"

_CODE = re.compile(r"[1-5][0-9]{2}\b")


class CaptureMiddleware:
    """Measures, and passes everything on as it comes, exceptions included. Two of them on one way count once."""

    def __init__(self, app: App, capture: c.Capture) -> None:
        self.app, self.capture = app, capture
        self.id_header = capture.settings.request_id_header
        self.id_key = _key(self.id_header) if self.id_header else None
        self.counts_request = capture.settings.payload == "request"
        self.forwarded_key = _key(capture.settings.forwarded_header) if capture.address.reads_header else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if c.REQUEST_ID_KEY in environ:
            return self.app(environ, start_response)
        try:
            exchange = _Exchange(self, environ, start_response)
        except Exception as error:  # noqa: BLE001 - of what the server gave us, or of our own
            self.capture.lose(error)
            return self.app(environ, start_response)
        try:
            body = self.app(environ, exchange.start_response)
        except BaseException as error:
            exchange.end(error)
            raise
        return (_SizedBody if hasattr(type(body), "__len__") else _Body)(body, exchange)


class _Exchange:
    """One request on its way through the application. Whatever fails here costs its record, never its answer."""

    def __init__(self, middleware: CaptureMiddleware, environ: Environ, start_response: StartResponse) -> None:
        self._arrived_ns, self._begun_ns = time.time_ns(), time.perf_counter_ns()
        self._of, self._environ, self._start_response = middleware, environ, start_response
        given = None if middleware.id_key is None else environ.get(middleware.id_key)
        self._id = environ[c.REQUEST_ID_KEY] = c.request_id(given)
        self._status = self.sent = 0
        self._received: _Counted | None = None
        if middleware.counts_request and "wsgi.input" in environ:
            self._received = environ["wsgi.input"] = _Counted(environ["wsgi.input"])
        self._has_ended = False
        self._error: str | None = None
        self._endpoint = c.UNMATCHED

    def start_response(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Write:
        """Take the status, put the request's id on the response, count what goes through ``write``."""
        try:
            self._status = int(status[:3]) if _CODE.match(status) else c.SERVER_ERROR
            self._endpoint = of_environ(self._environ)  # Flask takes its request away before the response ends
            mine = self._of.id_header
            if mine is not None:
                headers = [*(pair for pair in headers if pair[0].lower() != mine), (mine, self._id)]
        except Exception as error:  # noqa: BLE001
            self.lose(error)
        write = self._start_response(status, headers, *exc_info)

        def counted(chunk: bytes) -> object:
            try:
                self.sent += len(chunk)
            except Exception as error:  # noqa: BLE001
                self.lose(error)
            return write(chunk)

        return counted

    def end(self, error: BaseException | None = None, *, is_whole: bool = False) -> None:
        """The response is over, by its last chunk, an error or the server. Only the first call counts."""
        if self._has_ended:
            return
        try:
            if error is not None:
                self._error = c.described(error)
            elif not is_whole:
                self._error = CLIENT_LEFT
            self._status = self._status or (c.CLIENT_GONE if error is None and not is_whole else c.SERVER_ERROR)
            self._finish()
        except Exception as odd:  # noqa: BLE001
            self.lose(odd)

    def lose(self, error: Exception) -> None:
        """Give the record up, for something that it can't be made with."""
        if not self._has_ended:
            self._has_ended = True
            self._of.capture.lose(error)

    def _finish(self) -> None:
        environ, middleware, elapsed_ns = self._environ, self._of, time.perf_counter_ns() - self._begun_ns
        method, peer, agent = environ["REQUEST_METHOD"], environ.get("REMOTE_ADDR"), environ.get("HTTP_USER_AGENT")
        chain = environ.get(middleware.forwarded_key) if middleware.forwarded_key else None
        endpoint = of_environ(environ) if self._endpoint == c.UNMATCHED else self._endpoint
        build = partial(
            c.record,
            address=middleware.capture.address,
            arrived_ns=self._arrived_ns,
            request_id=self._id,
            endpoint=endpoint,
            method=method if len(method) <= MAX_METHOD else method[:MAX_METHOD],
            status=self._status,
            elapsed_ns=elapsed_ns,
            peer=peer if not peer or len(peer) <= MAX_PEER else peer[:MAX_PEER],
            forwarded=chain if not chain or len(chain) <= KEPT_CHAIN else chain[-KEPT_CHAIN:],
            user_agent=agent if not agent or len(agent) <= MAX_USER_AGENT else agent[:MAX_USER_AGENT],
            size=self._received.count if self._received is not None else 0 if method == "HEAD" else self.sent,
            error=self._error or environ.get(c.ERROR_KEY),
        )
        self._has_ended = True
        middleware.capture.take(endpoint, build)


class _Body:
    """The application's response, counted. Iterating it to the end, or closing it, ends the exchange."""

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body, self._exchange = body, exchange
        self._chunks: Iterator[bytes] | None = None

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        try:
            if self._chunks is None:
                self._chunks = iter(self._body)
            chunk = next(self._chunks)
        except StopIteration:
            self._exchange.end(is_whole=True)
            raise
        except BaseException as error:
            self._exchange.end(error)
            raise
        try:
            self._exchange.sent += len(chunk)
        except Exception as error:  # noqa: BLE001
            self._exchange.lose(error)
        return chunk

    def close(self) -> None:
        """Close the application's response, as the server must after every request."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._exchange.end(error)
            raise
        self._exchange.end()


class _SizedBody(_Body):
    """Tells how many chunks there are: of a single one, a server makes the header Content-Length."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


class _Counted:
    """The request's body, counted as the application reads it."""

    def __init__(self, body: Any) -> None:
        self._body, self.count = body, 0

    def read(self, *size: int) -> bytes:
        return self._took(self._body.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._took(self._body.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._took(line) for line in self._body.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._took, self._body)

    def __next__(self) -> bytes:
        return self._took(next(self._body))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def _took(self, part: bytes) -> bytes:
        if part:  # None is what a stream gives that must not wait
            self.count += len(part)
        return part


def _key(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"
