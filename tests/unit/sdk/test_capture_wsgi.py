"""One record per WSGI request; both sides of the middleware keep to PEP 3333, as the standard library checks it."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest

from sdk.capture import REQUEST_ID_KEY, ROUTE_KEY, UNMATCHED, CaptureSettings, note_error
from sdk.capture_wsgi import CLIENT_LEFT, CaptureMiddleware
from tests.unit.sdk.capturing import Seen

PLAIN = [("Content-Type", "text/plain")]
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def orders(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    environ[ROUTE_KEY] = "/v6/orders/<int:order>"
    start_response("201 Created", PLAIN)
    return [b"01234", b"56789"]


def ask(app: Application, seen: Seen, method: str = "GET", **how: Any) -> httpx.Response:
    """Through httpx, with the validator on both sides of the middleware."""
    wrapped = validator(CaptureMiddleware(validator(app), seen.capture))
    remote = how.pop("remote", "192.0.2.7")
    transport = httpx.WSGITransport(app=wrapped, remote_addr=remote, raise_app_exceptions=False)
    with httpx.Client(transport=transport, base_url="http://api6.example") as client:
        return client.request(method, "/v6/orders/7", **how)


class Server:
    """A server that goes as far as it is told to."""

    def __init__(self, app: Application, seen: Seen, **environ: Any) -> None:
        self.environ: dict[str, Any] = environ
        setup_testing_defaults(self.environ)
        self.answered: list[Any] = []
        self.written: list[bytes] = []
        self.response: Any = CaptureMiddleware(app, seen.capture)(self.environ, self.start_response)

    def start_response(self, *given: Any) -> Callable[[bytes], object]:
        self.answered.append(given)
        return self.written.append


def test_a_request_becomes_a_record() -> None:
    seen = Seen()
    headers = {"User-Agent": "curl/8.5", "X-Request-ID": "req-1"}
    answer = ask(orders, seen, "POST", headers=headers, content=b"abc")
    assert (answer.status_code, answer.content, answer.headers["x-request-id"]) == (201, b"0123456789", "req-1")
    record = seen.one()
    assert record.pop("timestamp") > 0
    assert record.pop("response_time_ms") >= 0
    assert record == {
        "request_id": "req-1",
        "api_endpoint": "/v6/orders/{order}",
        "http_method": "POST",
        "status_code": 201,
        "client_ip": "192.0.2.7",
        "user_agent": "curl/8.5",
        "payload_size": 10,
        "error_message": None,
    }


def test_an_id_that_is_not_well_formed_gives_way_to_a_new_one() -> None:
    seen = Seen()
    answer = ask(orders, seen, headers={"X-Request-ID": "no, no"})
    assert str(uuid.UUID(seen.one()["request_id"])) == answer.headers["x-request-id"]


def test_the_client_behind_proxies() -> None:
    seen = Seen(CaptureSettings(trusted_proxies=["10.0.0.0/8", "unix"], forwarded_header="forwarded"))
    for remote in ("10.0.0.1", "203.0.113.1", ""):
        ask(orders, seen, remote=remote, headers={"Forwarded": 'for="[2001:db8::7]"', "X-Forwarded-For": "1.2.3.4"})
    assert [r["client_ip"] for r in seen.records()] == ["2001:db8::7", "203.0.113.1", "2001:db8::7"]


def test_flask_has_its_rule_in_its_request_until_the_response_starts() -> None:
    seen = Seen()

    def flask(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        rule = SimpleNamespace(rule="/orders/<int:order>/<path:rest>")
        environ["werkzeug.request"] = SimpleNamespace(url_rule=rule)
        start_response("200 OK", PLAIN)
        environ["werkzeug.request"] = None
        return [b""]

    def lost(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["werkzeug.request"] = SimpleNamespace(url_rule=None)
        start_response("404 Not Found", PLAIN)
        return [b""]

    ask(flask, seen)
    ask(lost, seen)
    assert [r["api_endpoint"] for r in seen.records()] == ["/orders/{order}/{rest}", UNMATCHED]


def test_a_generator_that_starts_its_response_late() -> None:
    seen = Seen()

    def late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"123"
        assert seen.records() == []  # the record waits for the last byte
        yield b"45"

    assert ask(late, seen).content == b"12345"
    record = seen.one()
    assert (record["status_code"], record["payload_size"]) == (200, 5)


def test_bytes_given_to_write_count() -> None:
    seen = Seen()

    def writes(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)(b"123")
        return [b"45"]

    server = Server(writes, seen)
    assert list(server.response) == [b"45"]
    assert server.written == [b"123"]
    assert seen.one()["payload_size"] == 5


def fails_at_once(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    raise LookupError("nothing there")


def fails_half_way(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", PLAIN)
    yield b"123"
    raise LookupError("nothing there")


class FailsToClose:
    def __init__(self, environ: dict[str, Any], start_response: Any) -> None:
        start_response("200 OK", PLAIN)

    def __iter__(self) -> Iterator[bytes]:
        yield b"123"

    def close(self) -> None:
        raise LookupError("nothing there")


def test_an_exception_at_once() -> None:
    seen = Seen()
    with pytest.raises(LookupError):
        Server(fails_at_once, seen)
    record = seen.one()
    assert (record["status_code"], record["error_message"]) == (500, "LookupError: nothing there")


def test_an_exception_half_way() -> None:
    seen = Seen()
    server = Server(fails_half_way, seen)
    assert next(server.response) == b"123"
    with pytest.raises(LookupError):
        next(server.response)
    server.response.close()
    record = seen.one()
    assert (record["status_code"], record["error_message"]) == (200, "LookupError: nothing there")
    assert record["payload_size"] == 3


def test_an_exception_of_close_goes_on() -> None:
    seen = Seen()
    server = Server(FailsToClose, seen)
    with pytest.raises(LookupError):
        server.response.close()
    assert seen.one()["error_message"] == "LookupError: nothing there"


@pytest.mark.parametrize("read", [0, 1])
def test_a_response_that_the_server_closes_before_its_end(read: int) -> None:
    seen, closed = Seen(), []

    def streams(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        try:
            yield b"123"
            yield b"45"
        finally:
            closed.append(True)

    server = Server(streams, seen)
    for _ in range(read):
        next(server.response)
    server.response.close()
    record = seen.one()
    assert record["error_message"] == CLIENT_LEFT
    assert (record["status_code"], record["payload_size"]) == ((200, 3) if read else (499, 0))
    assert closed == [True] * read


def test_a_response_is_counted_once_however_often_it_is_closed() -> None:
    seen = Seen()
    server = Server(orders, seen)
    assert list(server.response) == [b"01234", b"56789"]
    server.response.close()
    server.response.close()
    assert seen.one()["error_message"] is None


def test_an_application_that_never_starts_its_response() -> None:
    seen = Seen()
    assert list(Server(lambda environ, start_response: [], seen).response) == []
    assert seen.one()["status_code"] == 500


def test_a_second_status_with_exc_info_is_the_one_that_counts() -> None:
    seen = Seen()

    def recovers(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        info = (LookupError, LookupError("x"), None)
        note_error(environ, info[1])
        start_response("503 Service Unavailable", PLAIN, info)
        return [b"sorry"]

    server = Server(recovers, seen)
    assert list(server.response) == [b"sorry"]
    assert [len(given) for given in server.answered] == [2, 3]
    record = seen.one()
    assert (record["status_code"], record["error_message"]) == (503, "LookupError: x")


def test_a_status_or_a_route_that_is_none_does_not_fail_the_request() -> None:
    seen = Seen()

    def odd(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[ROUTE_KEY] = 7
        start_response("fine", PLAIN)
        return [b"x"]

    assert list(Server(odd, seen).response) == [b"x"]
    record = seen.one()
    assert (record["status_code"], record["api_endpoint"]) == (500, UNMATCHED)


@pytest.mark.parametrize(("method", "size"), [("HEAD", 0), ("GET", 10)])
def test_a_head_has_no_payload(method: str, size: int) -> None:
    seen = Seen()
    list(Server(orders, seen, REQUEST_METHOD=method).response)
    assert seen.one()["payload_size"] == size


@pytest.mark.parametrize(
    "read",
    [
        lambda body: body.read(),
        lambda body: body.read(100),
        lambda body: body.readline() + body.readline(),
        lambda body: b"".join(body.readlines()),
        lambda body: b"".join(body),
    ],
)
def test_the_payload_of_the_request(read: Callable[[Any], bytes]) -> None:
    seen = Seen(CaptureSettings(payload="request"))

    def echoes(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return [read(environ["wsgi.input"]) * 2]

    server = Server(echoes, seen, **{"wsgi.input": io.BytesIO(b"one\ntwo")})
    assert list(server.response) == [b"one\ntwoone\ntwo"]
    assert seen.one()["payload_size"] == 7


def test_two_middlewares_on_one_way_make_one_record() -> None:
    seen = Seen()
    server = Server(CaptureMiddleware(orders, seen.capture), seen)
    assert list(server.response) == [b"01234", b"56789"]
    assert seen.one()["request_id"] == server.environ[REQUEST_ID_KEY]


def test_no_header_is_read_or_set_if_none_is_wanted() -> None:
    seen = Seen(CaptureSettings(request_id_header=None))
    server = Server(orders, seen, HTTP_X_REQUEST_ID="req-1")
    assert list(server.response)
    assert seen.one()["request_id"] != "req-1"
    assert server.answered == [("201 Created", PLAIN)]


class Proxy:
    """As Flask's ``request`` is outside of a request."""

    @property
    def url_rule(self) -> Any:
        raise RuntimeError("working outside of request context")


def test_a_request_of_flask_that_is_gone_is_no_matter_of_the_request() -> None:
    seen = Seen()

    def gone(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["werkzeug.request"] = Proxy()
        start_response("200 OK", PLAIN)
        return [b"x"]

    assert ask(gone, seen).content == b"x"
    assert seen.one()["api_endpoint"] == UNMATCHED


@pytest.mark.parametrize(
    "odd",
    [
        {"HTTP_X_REQUEST_ID": 7},
        {"HTTP_USER_AGENT": 7},
        {"REMOTE_ADDR": 7},
        {"REQUEST_METHOD": None},
        {"HTTP_X_FORWARDED_FOR": 7, "REMOTE_ADDR": "10.0.0.1"},
    ],
)
def test_an_environ_that_is_odd_costs_the_record_not_the_answer(odd: dict[str, Any]) -> None:
    seen = Seen(CaptureSettings(trusted_proxies=["10.0.0.0/8"]))
    server = Server(orders, seen, **odd)
    assert list(server.response) == [b"01234", b"56789"]
    assert server.answered[0][0] == "201 Created"
    assert seen.records() == []
    assert seen.capture.losses == {"not_built": 1}


@pytest.mark.parametrize(
    ("status", "headers", "chunks"), [(b"200 OK", [], [b"x"]), ("200 OK", [7], [b"x"]), ("200 OK", [], [None])]
)
def test_an_answer_that_is_odd_passes_as_it_came(status: Any, headers: Any, chunks: Any) -> None:
    seen = Seen()

    def odd(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, headers)
        return chunks

    server = Server(odd, seen)
    assert list(server.response) == chunks
    server.response.close()
    assert server.answered[0][0] == status
    assert seen.records() == []
    assert seen.capture.losses == {"not_built": 1}


def test_an_answer_that_is_written_oddly_passes_as_it_came() -> None:
    seen = Seen()

    def odd(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", PLAIN)(None)
        return []

    server = Server(odd, seen)
    assert list(server.response) == []
    written: list[Any] = server.written
    assert written == [None]
    assert seen.capture.losses == {"not_built": 1}


@pytest.mark.parametrize(("chunks", "length"), [([b"0123456789"], "10"), ([b"01234", b"56789"], None)])
def test_a_server_learns_the_length_of_a_response_as_it_would_without(chunks: list[bytes], length: str | None) -> None:
    found = []
    for wrapped in (lambda app: app, lambda app: CaptureMiddleware(app, Seen().capture)):

        def answers(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [*PLAIN])  # wsgiref adds to it
            return chunks

        environ: dict[str, Any] = {"SERVER_PROTOCOL": "HTTP/1.0"}
        setup_testing_defaults(environ)
        sent = io.BytesIO()
        SimpleHandler(io.BytesIO(), sent, io.StringIO(), environ).run(wrapped(answers))
        found.append(re.findall(rb"(?i)content-length: (\d+)", sent.getvalue()))
    assert found[0] == found[1] == ([] if length is None else [length.encode()])


def test_a_response_without_a_length_has_none() -> None:
    server = Server(fails_half_way, Seen())
    assert not hasattr(server.response, "__len__")
    assert server.response  # and so it is true, as a generator is
    server.response.close()


class NothingYet(io.BytesIO):
    """A stream that must not wait."""

    def read(self, *_: Any) -> Any:
        return None


def test_the_payload_of_a_request_that_is_read_line_by_line_or_has_nothing_yet() -> None:
    seen = Seen(CaptureSettings(payload="request"))

    def reads(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"]
        start_response("200 OK", PLAIN)
        return [next(body), str(body.read()).encode()]

    server = Server(reads, seen, **{"wsgi.input": NothingYet(b"one\ntwo")})
    assert list(server.response) == [b"one\n", b"None"]
    assert seen.one()["payload_size"] == 4


def test_what_waits_is_small_whatever_the_headers_are() -> None:
    seen, waiting = Seen(CaptureSettings(trusted_proxies=["10.0.0.0/8"])), list[Any]()
    seen.capture.handover.offer = waiting.append  # type: ignore[method-assign,assignment]
    chain = "6.6.6.6, " * 7_000 + "203.0.113.9, 10.0.0.2"
    odd = {"HTTP_USER_AGENT": "a" * 60_000, "HTTP_X_FORWARDED_FOR": chain, "REQUEST_METHOD": "M" * 60_000}
    list(Server(orders, seen, REMOTE_ADDR="10.0.0.1", **odd).response)
    [build] = waiting
    assert sum(len(value) for value in build.keywords.values() if isinstance(value, str | bytes)) < 6_000
    assert build()["client_ip"] == "203.0.113.9"
    assert build()["user_agent"] == "a" * 1024
