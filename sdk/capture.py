"""What both middlewares and the log handler share: settings, and the way from a request's facts to an API6 log record.

Nothing here makes a request wait or fail: records go through a bounded queue (``sdk.handover``).
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, MutableMapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sdk.client_address import MAX_CHAIN, ClientAddress, ForwardedHeader
from sdk.handover import NOT_BUILT, Handover, Record, RecordSink

UNMATCHED = "/{unmatched}"
"""Endpoint of a request that no route took: raw paths would make as many endpoints as there are scanners."""

REQUEST_ID_KEY = "api6.request_id"
"""Where the service finds the request's id: in the ASGI scope or the WSGI environ."""
ROUTE_KEY = "api6.route"
"""Where a service may put the route template itself, for a framework that is not known here."""
ERROR_KEY = "api6.error_message"
"""Where ``note_error`` puts the text of an error that the framework turned into a response."""

CLIENT_GONE = 499
"""Status of a request whose client left before any response, as nginx logs it."""
SERVER_ERROR = 500

MAX_INT = 2**31 - 1
"""The largest Avro int."""
MAX_USER_AGENT, MAX_ERROR = 1024, 8192
"""Characters; longer texts are cut. Source: conf/rules/api6-logs.yaml."""
MAX_METHOD, MAX_PEER = 32, 256
"""Characters, so that a record that waits is small; no method of the rules and no address is as long."""
KEPT_CHAIN = MAX_CHAIN + 1
"""Characters of the forwarded header that are kept, from its end; the one too many tells that it was longer."""

_ids = random.Random()
"""Seeded by the system, and apart from the one that a service may seed itself."""
os.register_at_fork(after_in_child=_ids.seed)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:+/=@-]{1,128}")


class CaptureSettings(BaseModel):
    """How requests become records.

    ``trusted_proxies``: networks of the proxies in front of the service, ``unix`` for a proxy behind a Unix socket;
    ``forwarded_header``: the one header that they set. ``request_id_header``: read if well-formed, and set on every
    response; None makes an id for each request and sets nothing. ``payload``: whose body ``payload_size`` counts.
    ``skip``: endpoints, as templates, that are not captured. ``queue_records``: records that may wait for the producer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trusted_proxies: tuple[IPv4Network | IPv6Network | Literal["unix"], ...] = ()
    forwarded_header: ForwardedHeader = "x-forwarded-for"
    request_id_header: str | None = Field("x-request-id", pattern=r"^[a-z0-9-]+$")
    payload: Literal["response", "request"] = "response"
    skip: frozenset[str] = frozenset()
    queue_records: int = Field(10_000, ge=1)

    @field_validator("request_id_header", mode="before")
    @classmethod
    def _small_letters(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class Capture:
    """Turns requests into records and hands them to ``sink``. One for the process; middlewares may share it.

    ``close`` it before the sink: it gives the sink what still waits. ``losses`` counts what did not get there.
    """

    def __init__(self, sink: RecordSink, settings: CaptureSettings | None = None) -> None:
        self.settings = settings = settings or CaptureSettings()
        self.handover = Handover(sink, settings.queue_records)
        self._skipped = settings.skip
        networks = [n for n in settings.trusted_proxies if n != "unix"]
        self.address = ClientAddress(
            networks, settings.forwarded_header, trusts_unix_socket="unix" in settings.trusted_proxies
        )

    @property
    def losses(self) -> dict[str, int]:
        """Reason → records that the producer did not take."""
        return self.handover.losses.counts

    def take(self, endpoint: str, build: Callable[[], Record]) -> None:
        """Hand over the record that ``build`` makes, later and in another thread, unless ``endpoint`` is to be skipped.

        Never waits, never raises.
        """
        try:
            if endpoint not in self._skipped:
                self.handover.offer(build)
        except Exception as error:  # noqa: BLE001 - an endpoint that has no hash
            self.lose(error)

    def lose(self, error: Exception) -> None:
        """Count a request that can't be made a record: what is odd about it is no matter of the service."""
        self.handover.losses.add(NOT_BUILT, error)

    def drain(self, timeout_s: float = 30) -> bool:
        """Wait until the sink was given every record; whether that was so in time."""
        return self.handover.drain(timeout_s)

    def close(self, timeout_s: float = 30) -> bool:
        """Drain and end the thread. The sink stays open: it is the caller's."""
        return self.handover.close(timeout_s)


def record(
    *,
    address: ClientAddress,
    arrived_ns: int,
    request_id: str,
    endpoint: str,
    method: str,
    status: int,
    elapsed_ns: int,
    peer: str | None,
    forwarded: bytes | str | None,
    user_agent: bytes | str | None,
    size: int,
    error: str | None,
) -> Record:
    """The API6 log record of a request, from what is known when it has ended; ``user_agent`` is cut by the caller.

    Header values as the server gives them: bytes (ASGI) or text (WSGI), each byte a character.
    """
    return {
        "timestamp": arrived_ns // 1_000_000,
        "request_id": request_id,
        "api_endpoint": endpoint,
        "http_method": method,
        "status_code": status,
        "response_time_ms": min((elapsed_ns + 500_000) // 1_000_000, MAX_INT),
        "client_ip": address.of(peer, _text(forwarded)),
        "user_agent": _text(user_agent) or None,
        "payload_size": min(size, MAX_INT),
        "error_message": error,
    }


def _text(value: bytes | str | None) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def request_id(given: str | None) -> str:
    """The id that came with the request if it is well-formed, else a new UUID."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else new_id()


def new_id() -> str:
    """A random UUID (version 4, RFC 9562) as text, in a fifth of the time that ``uuid.uuid4`` takes.

    Unique, and no secret: it can be guessed from others. A child of ``fork`` makes other ones than its parent.
    """
    digits = f"{_ids.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def note_error(request: MutableMapping[str, Any], error: BaseException) -> None:
    """Keep an error for the record of a request, for frameworks that answer it themselves (Litestar, Flask).

    ``request``: the ASGI scope or the WSGI environ. Answers below 500, such as "not found", are no errors.
    """
    try:
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
    except Exception:  # noqa: BLE001 - an error that can't tell its status is none that the service expected
        status = None
    if not isinstance(status, int) or status >= SERVER_ERROR:
        request[ERROR_KEY] = described(error)


def described(error: BaseException) -> str:
    """Type and text of an error, fit for the record."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error that can't be told must not hide itself, or fail the request
        text = ""
    name = type(error).__name__
    return fit(f"{name}: {text}" if text else name, MAX_ERROR)


def fit(text: str, most: int) -> str:
    """At most ``most`` characters that UTF-8 can write."""
    return text[:most].encode("utf-8", "replace").decode()
