"""An HTTP proxy in front of a real Elasticsearch that refuses bulk requests as a cluster in trouble does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

REJECTED = {
    "type": "es_rejected_execution_exception",
    "reason": "rejected execution of coordinating operation [coordinating_and_primary_bytes=53687091]",
}
BLOCKED = {
    "type": "cluster_block_exception",
    "reason": "blocked by: [SERVICE_UNAVAILABLE/2/no master];",
}

Answer = tuple[int, bytes]
Bulk = Callable[[bytes], Answer]
"""Body of a bulk request → status and body of the answer."""

Trouble = Callable[[bytes, Bulk], Answer]
"""What is answered instead; the second argument asks the real server."""

_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


def whole(status: int, error: dict[str, str]) -> Trouble:
    """Refuse the request with this status; nothing of it reaches the server."""
    answer = {"error": {"root_cause": [error], **error}, "status": status}
    return lambda body, bulk: (status, json.dumps(answer).encode())


def every_second_item(body: bytes, bulk: Bulk) -> Answer:
    """Answer 200, but hold every second document back and say 429 for it; the others are really written."""
    lines = body.splitlines(keepends=True)
    items = [b"".join(pair) for pair in zip(lines[::2], lines[1::2], strict=True)]
    status, said = bulk(b"".join(items[1::2])) if items[1:] else (200, b'{"took": 0, "items": []}')
    assert status == 200, said
    answer: dict[str, Any] = json.loads(said)
    taken = iter(answer["items"])
    held = [{"index": _refused_item(json.loads(item.splitlines()[0])["index"])} for item in items[::2]]
    refused = iter(held)
    answer["items"] = [next(taken) if n % 2 else next(refused) for n in range(len(items))]
    return 200, json.dumps({**answer, "errors": True}).encode()


def _refused_item(action: dict[str, Any]) -> dict[str, Any]:
    return {"_index": action["_index"], "_id": action["_id"], "status": 429, "error": REJECTED}


class Overloaded:
    """Passes everything on, but meets the first ``times`` bulk requests with ``trouble``."""

    def __init__(self, url: str, trouble: Trouble, times: int) -> None:
        self._target = urlsplit(url).netloc
        self._trouble, self._times = trouble, times
        self._lock = threading.Lock()
        self.bulks = 0
        self._server = ThreadingHTTPServer(("localhost", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The server's URL, through this proxy."""
        return f"http://localhost:{self._server.server_address[1]}"

    @property
    def refused(self) -> int:
        """Bulk requests that met trouble so far."""
        return min(self.bulks, self._times)

    def __enter__(self) -> Overloaded:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _is_in_trouble(self) -> bool:
        with self._lock:
            self.bulks += 1
            return self.bulks <= self._times

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = b"".join(self._body())
                is_bulk = urlsplit(self.path).path.endswith("/_bulk")
                if is_bulk and proxy._is_in_trouble():
                    self._reply(*proxy._trouble(body, self._bulk), {"Content-Type": "application/json"})
                else:
                    self._reply(*self._forward(body))

            def _body(self) -> Iterator[bytes]:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    yield self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    return
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

            def _bulk(self, body: bytes) -> Answer:
                status, said, _ = self._forward(body)
                return status, said

            def _forward(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
                connection = HTTPConnection(proxy._target, timeout=60)
                try:
                    connection.request(self.command, self.path, body or None, _passed_on(dict(self.headers)))
                    answer = connection.getresponse()
                    return answer.status, answer.read(), _passed_on(dict(answer.getheaders()))
                finally:
                    connection.close()

            def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {"X-elastic-product": "Elasticsearch", **headers}.items():
                    self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


def _passed_on(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
