"""One record per request, whatever becomes of the response; the application notices nothing."""

from __future__ import annotations

import asyncio
import time
import uuid
from functools import partial
from typing import Any

import pytest

from pipelines.errors import ContractViolation
from pipelines.records import Severity, Violation
from sdk.capture import ERROR_KEY, REQUEST_ID_KEY, ROUTE_KEY, UNMATCHED, CaptureSettings, new_id, note_error
from sdk.capture_asgi import CLIENT_LEFT, NO_RESPONSE, NOT_ENDED, CaptureMiddleware
from tests.unit.sdk.capturing import Exchange, Seen, call, scope

START = {"type": "http.response.start", "status": 201, "headers": [(b"content-type", b"text/plain")]}


def app(*steps: dict[str, Any] | BaseException | float) -> Any:
    """An application that sends messages, sleeps or raises, in that order."""

    async def run(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        scope[ROUTE_KEY] = "/v6/orders/{id}"
        for step in steps:
            if isinstance(step, dict):
                await send(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                await asyncio.sleep(step)

    return run


def body(chunk: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


def run(seen: Seen, application: Any, **how: Any) -> Exchange:
    request = how.pop("scope", None) or scope("/v6/orders/7")
    return call(CaptureMiddleware(application, seen.capture), request, **how)


def test_a_request_becomes_a_record() -> None:
    seen, before_ms = Seen(), int(time.time() * 1000)
    headers = [(b"host", b"h"), (b"user-agent", b"curl/8.5 (Z\xfcrich)"), (b"x-request-id", b"req-1")]
    done = run(seen, app(START, body(b"0123456789")), scope=scope("/v6/orders/7", method="POST", headers=headers))
    assert done.body == b"0123456789"
    record = seen.one()
    assert before_ms <= record.pop("timestamp") <= int(time.time() * 1000)
    assert record.pop("response_time_ms") >= 0
    assert record == {
        "request_id": "req-1",
        "api_endpoint": "/v6/orders/{id}",
        "http_method": "POST",
        "status_code": 201,
        "client_ip": "192.0.2.7",
        "user_agent": "curl/8.5 (Zürich)",
        "payload_size": 10,
        "error_message": None,
    }


def test_the_time_runs_until_the_last_byte() -> None:
    seen = Seen()
    run(
        seen,
        app(START, body(b"a", more=True), 0.05, body(b"b", more=True), 0.05, body(b"c"), 5.0, RuntimeError("late")),
    )
    record = seen.one()
    assert 100 <= record["response_time_ms"] < 5_000
    assert record["payload_size"] == 3
    assert (record["status_code"], record["error_message"]) == (201, None)  # the client has it all


def test_a_background_task_does_not_hold_the_record_back() -> None:
    seen = Seen()
    found: list[int] = []

    async def with_task(scope: Any, receive: Any, send: Any) -> None:
        await app(START, body())(scope, receive, send)
        found.append(len(seen.records()))

    run(seen, with_task)
    assert found == [1]


def test_an_error_that_follows_its_answer_is_in_the_record() -> None:
    seen, error = Seen(), LookupError("nothing there")
    failed = {**START, "status": 503}
    assert run(seen, app(failed, body(b"sorry"), 0.05, error)).error is error
    record = seen.one()
    assert (record["status_code"], record["error_message"]) == (503, "LookupError: nothing there")
    assert (record["payload_size"], record["response_time_ms"] < 50) == (5, True)


def test_an_answer_of_500_without_an_error() -> None:
    seen = Seen()
    run(seen, app({**START, "status": 500}, body(b"sorry")))
    assert seen.one()["error_message"] is None


def test_the_application_may_listen_and_speak_after_the_response() -> None:
    seen = Seen()
    heard: list[str] = []

    async def talks_on(scope: Any, receive: Any, send: Any) -> None:
        await app(START, body(b"x"))(scope, receive, send)
        heard.append((await receive())["type"])
        await send(body(b"too late"))

    assert run(seen, talks_on, leaves_after=2).error is None
    assert heard == ["http.disconnect"]
    assert (seen.one()["payload_size"], seen.one()["error_message"]) == (1, None)


@pytest.mark.parametrize(
    ("steps", "status", "text"),
    [
        ([KeyError("id")], 500, "KeyError: 'id'"),
        ([START, ValueError("half way")], 201, "ValueError: half way"),
        ([START, body(b"part", more=True), ValueError("half way")], 201, "ValueError: half way"),
        ([ValueError()], 500, "ValueError"),
        ([asyncio.CancelledError()], 500, "CancelledError"),
    ],
)
def test_an_exception_is_in_the_record_and_goes_on(steps: list[Any], status: int, text: str) -> None:
    seen = Seen()
    done = run(seen, app(*steps))
    assert done.error is steps[-1]
    record = seen.one()
    assert (record["status_code"], record["error_message"]) == (status, text)


class Untellable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [Untellable(), ValueError("x" * 100_000), ValueError("\ud800 lone")])
def test_an_exception_with_an_odd_text(error: Exception) -> None:
    seen = Seen()
    assert run(seen, app(error)).error is error
    message = seen.one()["error_message"]
    assert message.startswith(type(error).__name__)
    assert len(message) <= 8192


@pytest.mark.parametrize(
    ("steps", "status", "text"),
    [([], 500, NO_RESPONSE), ([START], 201, NOT_ENDED), ([START, body(b"a", more=True)], 201, NOT_ENDED)],
)
def test_an_application_that_does_not_answer(steps: list[Any], status: int, text: str) -> None:
    seen = Seen()
    run(seen, app(*steps))
    record = seen.one()
    assert (record["status_code"], record["error_message"]) == (status, text)


async def waits_for_the_client(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def streams_until_the_client_left(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(body(b"12345", more=True))
    await waits_for_the_client(scope, receive, send)


async def streams_for_ever(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    while True:
        await send(body(b"12345", more=True))


def test_a_client_that_leaves_before_the_response() -> None:
    seen = Seen()
    run(seen, waits_for_the_client, leaves_after=0)
    record = seen.one()
    assert (record["status_code"], record["error_message"], record["payload_size"]) == (499, CLIENT_LEFT, 0)


def test_a_client_that_leaves_while_the_response_streams() -> None:
    seen = Seen()
    run(seen, streams_until_the_client_left, leaves_after=2)
    record = seen.one()
    assert (record["status_code"], record["error_message"], record["payload_size"]) == (201, CLIENT_LEFT, 5)


def test_a_server_that_says_by_an_error_that_the_client_left() -> None:
    seen = Seen()
    done = run(seen, streams_for_ever, leaves_after=3, raises=True)
    assert isinstance(done.error, OSError)
    record = seen.one()
    assert (record["status_code"], record["error_message"]) == (201, "OSError: the client left")
    assert record["payload_size"] == 10


@pytest.mark.parametrize(("method", "size"), [("HEAD", 0), ("GET", 10)])
def test_a_head_has_no_payload(method: str, size: int) -> None:
    seen = Seen()
    run(seen, app(START, body(b"0123456789")), scope=scope(method=method))
    assert seen.one()["payload_size"] == size


def test_a_file_that_the_server_sends() -> None:
    seen = Seen()
    start = {**START, "headers": [(b"Content-Length", b"4711")]}
    run(seen, app(start, {"type": "http.response.pathsend", "path": "/tmp/x"}))
    record = seen.one()
    assert (record["payload_size"], record["error_message"]) == (4711, None)


def test_the_payload_of_the_request() -> None:
    seen = Seen(CaptureSettings(payload="request"))
    run(seen, app(START, body(b"0123456789")), body=b"123")
    assert seen.one()["payload_size"] == 3


@pytest.mark.parametrize("given", ["a", "0b7c" * 32, "Root=1-67891233-abcdef012345678912345678", "a/b+c=="])
def test_a_request_id_that_is_well_formed_is_kept(given: str) -> None:
    seen = Seen()
    request = scope(headers=[(b"x-request-id", given.encode())])
    done = run(seen, app(START, body()), scope=request)
    assert seen.one()["request_id"] == given
    assert request[REQUEST_ID_KEY] == given
    assert (b"x-request-id", given.encode()) in done.headers


@pytest.mark.parametrize(
    "given", [None, "", "  ", "a" * 129, "a b", "a,b", "a\r\nset-cookie: b", "\x00", "é", '"x"', "a;b"]
)
def test_otherwise_it_is_a_new_uuid(given: str | None) -> None:
    seen = Seen()
    headers = [] if given is None else [(b"x-request-id", given.encode("latin-1"))]
    done = run(seen, app(START, body()), scope=scope(headers=headers))
    found = seen.one()["request_id"]
    assert str(uuid.UUID(found)) == found
    assert [value for name, value in done.headers if name == b"x-request-id"] == [found.encode()]


def test_the_header_of_the_request_id_by_another_name_or_none() -> None:
    seen = Seen(CaptureSettings(request_id_header="X-Correlation-Id"))
    request = scope(headers=[(b"x-correlation-id", b"c-1"), (b"x-request-id", b"r-1")])
    done = run(seen, app(START, body()), scope=request)
    assert seen.one()["request_id"] == "c-1"
    assert (b"x-correlation-id", b"c-1") in done.headers
    silent = Seen(CaptureSettings(request_id_header=None))
    done = run(silent, app(START, body()), scope=scope(headers=[(b"x-request-id", b"r-1")]))
    assert silent.one()["request_id"] != "r-1"
    assert done.headers == START["headers"]


def test_an_id_that_the_application_sets_gives_way() -> None:
    seen = Seen()
    start = {**START, "headers": ((b"X-Request-ID", b"theirs"), (b"a", b"b"))}
    done = run(seen, app(start, body()), scope=scope(headers=[(b"x-request-id", b"ours")]))
    assert done.headers == [(b"a", b"b"), (b"x-request-id", b"ours")]


def test_lines_of_a_header_are_one_chain() -> None:
    seen = Seen(CaptureSettings(trusted_proxies=["10.0.0.0/8"]))
    lines = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-for", b"198.51.100.1, 10.0.0.9")]
    run(seen, app(START, body()), scope=scope(headers=lines, client=("10.0.0.1", 1)))
    assert seen.one()["client_ip"] == "198.51.100.1"


@pytest.mark.parametrize("client", [None, ("testclient", 50000), ("", 0)])
def test_a_peer_without_an_address(client: Any) -> None:
    seen = Seen()
    run(seen, app(START, body()), scope=scope(client=client, headers=[(b"x-forwarded-for", b"203.0.113.9")]))
    assert seen.one()["client_ip"] == "0.0.0.0"


@pytest.mark.parametrize(("agent", "kept"), [(b"", None), (b"x" * 5000, "x" * 1024)])
def test_user_agents_that_are_empty_or_too_long(agent: bytes, kept: str | None) -> None:
    seen = Seen()
    run(seen, app(START, body()), scope=scope(headers=[(b"user-agent", agent)]))
    assert seen.one()["user_agent"] == kept


def test_no_route_is_known() -> None:
    seen = Seen()

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body())

    run(seen, bare, scope=scope("/wp-admin/setup.php"))
    assert seen.one()["api_endpoint"] == UNMATCHED


def test_an_error_noted_by_the_framework_is_in_the_record() -> None:
    seen = Seen()

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        scope[ERROR_KEY] = "ValueError: x"
        await app({**START, "status": 500}, body())(scope, receive, send)

    run(seen, answers)
    assert seen.one()["error_message"] == "ValueError: x"


def test_endpoints_may_be_skipped() -> None:
    seen = Seen(CaptureSettings(skip=frozenset({"/v6/orders/{id}"})))
    run(seen, app(START, body()))
    assert seen.records() == []


def test_two_middlewares_on_one_way_make_one_record() -> None:
    seen = Seen()
    run(seen, CaptureMiddleware(app(START, body()), seen.capture))
    seen.one()


@pytest.mark.parametrize("kind", ["websocket", "something-new"])
def test_other_kinds_of_connections_pass_through(kind: str) -> None:
    seen = Seen()
    passed: list[Any] = []

    async def other(*given: Any) -> None:
        passed.extend(given)

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    connection = {"type": kind}
    asyncio.run(CaptureMiddleware(other, seen.capture)(connection, receive, send))
    assert passed == [connection, receive, send]
    assert connection == {"type": kind}
    assert seen.records() == []


def test_records_that_wait_are_handed_over_before_the_application_shuts_down() -> None:
    seen = Seen()
    handed_over: list[int] = []

    async def service(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        for number in range(100):
            seen.capture.take("/", partial(dict, n=number))
        assert (await receive())["type"] == "lifespan.shutdown"
        handed_over.append(len(seen.sink.records))

    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None: ...

    asyncio.run(CaptureMiddleware(service, seen.capture)({"type": "lifespan"}, receive, send))
    assert handed_over == [100]


def test_a_producer_that_refuses_is_no_matter_of_the_request() -> None:
    seen = Seen()
    seen.sink.refuse = [ContractViolation([Violation("c", None, "m", Severity.CRITICAL)])]
    assert run(seen, app(START, body(b"x"))).body == b"x"
    assert run(seen, app(START, body(b"y"))).body == b"y"
    assert seen.one()["payload_size"] == 1
    assert seen.capture.losses == {"ContractViolation": 1}


def test_a_route_that_can_not_be_told_is_no_matter_of_the_request() -> None:
    seen = Seen()

    async def odd(scope: Any, receive: Any, send: Any) -> None:
        scope[ROUTE_KEY] = 7
        await send(START)
        await send(body(b"x"))

    assert run(seen, odd).body == b"x"
    assert seen.one()["api_endpoint"] == UNMATCHED


def test_a_request_that_can_not_be_made_a_record_is_answered_and_counted() -> None:
    seen = Seen()
    assert run(seen, app(START, body(b"x")), scope=scope(client=([], 1))).body == b"x"
    assert seen.records() == []
    assert seen.capture.losses == {"not_built": 1}


def test_new_ids_are_uuids_of_version_4_and_differ() -> None:
    ids = [new_id() for _ in range(2_000)]
    assert all(str(uuid.UUID(i)) == i and uuid.UUID(i).version == 4 for i in ids)
    assert {uuid.UUID(i).variant for i in ids} == {uuid.RFC_4122}
    assert len(set(ids)) == len(ids)
    assert len({i[19] for i in ids}) == 4  # every bit that may be random is


class Untold(Exception):
    @property
    def status_code(self) -> int:
        raise RuntimeError("no status")

    def __str__(self) -> str:
        raise RecursionError


def test_note_error_takes_any_error() -> None:
    request = scope()
    note_error(request, Untold())
    assert request[ERROR_KEY] == "Untold"


class Odd:
    """Has no hash, no length and no truth."""

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("neither")


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in scope().items() if name not in names}


@pytest.mark.parametrize(
    "request_",
    [
        without("headers"),
        without("method"),
        scope(headers=7),
        scope(headers=[7]),
        scope(headers=[(b"x-request-id", 7)]),
        scope(headers=[(b"x-request-id", "text")]),
        scope(headers=[([], b"x")]),
        scope(headers=[(b"user-agent", 7)]),
        scope(headers=[(b"user-agent", Odd())]),
        scope(headers=[(b"x-forwarded-for", 7)], client=("10.0.0.1", 1)),
        scope(headers=[(b"x-forwarded-for", "a"), (b"x-forwarded-for", b"b")], client=("10.0.0.1", 1)),
        scope(client=7),
        scope(client=Odd()),
        scope(client=(7, 7)),
        scope(method=7),
    ],
)
def test_a_scope_that_is_odd_costs_the_record_not_the_answer(request_: dict[str, Any]) -> None:
    seen = Seen(CaptureSettings(trusted_proxies=["10.0.0.0/8"]))
    done = run(seen, app(START, body(b"x")), scope=request_)
    assert (done.error, done.body) == (None, b"x")
    assert seen.records() == []
    assert seen.capture.losses == {"not_built": 1}


def test_a_scope_without_a_client_has_a_record() -> None:
    seen = Seen()
    run(seen, app(START, body(b"x")), scope=without("client"))
    assert seen.one()["client_ip"] == "0.0.0.0"


def test_headers_that_can_be_read_once_reach_the_application() -> None:
    seen = Seen()
    heard: list[Any] = []

    async def listens(scope: Any, receive: Any, send: Any) -> None:
        heard.extend(scope["headers"])
        await app(START, body())(scope, receive, send)

    run(seen, listens, scope=scope(headers=iter([(b"host", b"h"), (b"user-agent", b"curl")])))
    assert heard == [(b"host", b"h"), (b"user-agent", b"curl")]
    assert seen.one()["user_agent"] == "curl"


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.start"}, body(b"x")],
        [{**START, "status": "201"}, body(b"x")],
        [{**START, "status": Odd()}, body(b"x")],
        [START, {**body(), "body": None}],
        [START, {**body(), "more_body": Odd()}],
        [{**START, "headers": [(b"content-length", "²")]}, {"type": "http.response.pathsend", "path": "/x"}],
        [{"status": 201}],
    ],
)
def test_messages_that_are_odd_pass_as_they_came(messages: list[dict[str, Any]]) -> None:
    seen, passed = Seen(CaptureSettings(request_id_header=None)), list[Any]()

    async def receive() -> Any:
        return {"body": None} if passed else {"type": "http.request", "body": None}

    async def send(message: Any) -> None:
        passed.append(message)

    asyncio.run(CaptureMiddleware(app(*messages), seen.capture)(scope(), receive, send))
    assert passed == messages
    assert seen.records() == []
    assert seen.capture.losses == {"not_built": 1}


@pytest.mark.parametrize("odd", [7, [7], [(7, 7)], [()]])
def test_headers_of_the_response_that_are_odd_pass_as_they_came(odd: Any) -> None:
    seen, passed = Seen(), list[Any]()

    async def receive() -> Any: ...
    async def send(message: Any) -> None:
        passed.append(message)

    messages = [{**START, "headers": odd}, body(b"x")]
    asyncio.run(CaptureMiddleware(app(*messages), seen.capture)(scope(), receive, send))
    assert passed == messages
    assert seen.capture.losses == {"not_built": 1}


@pytest.mark.parametrize("odd", [["/a"], Odd(), Untold()])
def test_a_route_without_a_hash_is_no_matter_of_the_request(odd: Any) -> None:
    seen = Seen()

    async def routes(scope: Any, receive: Any, send: Any) -> None:
        scope[ROUTE_KEY] = odd
        await send(START)
        await send(body(b"x"))

    assert run(seen, routes).body == b"x"
    assert seen.one()["api_endpoint"] == UNMATCHED


def test_a_route_whose_error_has_no_text_is_no_matter_of_the_request() -> None:
    seen = Seen()

    class Route:
        def __getattr__(self, name: str) -> Any:
            raise Untold

    async def routes(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = Route()
        await send(START)
        await send(body(b"x"))

    assert run(seen, routes).body == b"x"
    assert seen.one()["api_endpoint"] == UNMATCHED


def test_what_waits_is_small_whatever_the_headers_are() -> None:
    seen, waiting = Seen(CaptureSettings(trusted_proxies=["10.0.0.0/8"])), list[Any]()
    seen.capture.handover.offer = waiting.append  # type: ignore[method-assign,assignment]
    agent, chain = b"a" * 60_000, b"6.6.6.6, " * 7_000 + b"203.0.113.9, 10.0.0.2"
    request = scope(
        method="M" * 60_000,
        client=("10.0.0.1", 1),
        headers=[(b"user-agent", agent), (b"x-forwarded-for", chain), (b"x-forwarded-for", b"10.0.0.3")],
    )
    run(seen, app(START, body()), scope=request)
    [build] = waiting
    assert sum(len(value) for value in build.keywords.values() if isinstance(value, str | bytes)) < 6_000
    assert build()["client_ip"] == "203.0.113.9"
    assert build()["user_agent"] == "a" * 1024


def test_a_chain_that_is_cut_never_makes_an_address_of_a_part_of_one() -> None:
    """Wherever in the hop before the proxy the cut is: ``66.6.6.6`` and ``6.6.6.6`` are no part of this chain."""
    for spaces in range(4_070, 4_085):
        seen = Seen(CaptureSettings(trusted_proxies=["10.0.0.0/8"]))
        chain = b"166.6.6.6," + b" " * spaces + b"10.10.10.10"
        run(seen, app(START, body()), scope=scope(client=("10.0.0.1", 1), headers=[(b"x-forwarded-for", chain)]))
        assert seen.one()["client_ip"] == ("166.6.6.6" if len(chain) <= 4_096 else "10.10.10.10")
