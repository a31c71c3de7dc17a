"""Who calls what: pools of paths, clients and answers, drawn once from a seed and encoded once.

A record takes one entry of each pool, chosen by the bits of one random number. That makes a record cost a few lookups
and one concatenation, and leaves every distribution (Zipf, log-normal, errors by route) as drawn.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import log
from random import Random
from typing import NamedTuple, TypeVar

from pipelines.traffic.encoding import LogRecord, long_bytes, optional_text_bytes, text_bytes
from pipelines.traffic.routes import AGENTS, FAILURE, REASONS, ROUTES, SLOWNESS, SUCCESS, TIMEOUT_MS, Route

T = TypeVar("T")

ROUTE_SLOTS = 4096
PATHS = 512
ANSWERS = 1024
CLIENT_SLOTS = 16_384
CLIENTS = 5_000
"""Pool sizes; the slots and the pools of a route are powers of two, because bits of a random number index them."""

ROUTE_SKEW, AGENT_SKEW, CLIENT_SKEW = 1.1, 0.9, 0.7
"""Exponents of Zipf's law."""

IPV6_SHARE = 0.3
_NO_CONTENT = {204, 304}


class Answer(NamedTuple):
    """How a call went."""

    http_method: str
    status_code: int
    response_time_ms: int
    payload_size: int
    error_message: str | None


class Client(NamedTuple):
    """Who called."""

    client_ip: str
    user_agent: str | None


class RoutePool(NamedTuple):
    """One route's paths and answers, as values and as Avro: each list of bytes runs beside its list of values."""

    paths: list[str]
    path_bytes: list[bytes]
    answers: list[Answer]
    head_bytes: list[bytes]
    """http_method, status_code, response_time_ms"""
    tail_bytes: list[bytes]
    """payload_size, error_message"""


@dataclass(frozen=True, slots=True)
class Population:
    """All pools. Lists have the lengths that the constants above name."""

    routes: list[RoutePool]
    clients: list[Client]
    client_bytes: list[bytes]

    def record(self, bits: int, timestamp_ms: int, request_id: str) -> LogRecord:
        """The record that these bits mean; ``pick`` gives the places."""
        route, path, answer, client = pick(bits)
        pool = self.routes[route]
        went, caller = pool.answers[answer], self.clients[client]
        return LogRecord(
            timestamp=timestamp_ms,
            request_id=request_id,
            api_endpoint=pool.paths[path],
            http_method=went.http_method,
            status_code=went.status_code,
            response_time_ms=went.response_time_ms,
            client_ip=caller.client_ip,
            user_agent=caller.user_agent,
            payload_size=went.payload_size,
            error_message=went.error_message,
        )


def pick(bits: int) -> tuple[int, int, int, int]:
    """Places in the pools: (slot of the route, path, answer, slot of the client). Takes the lowest 45 bits."""
    return bits & 4095, (bits >> 12) & 511, (bits >> 21) & 1023, (bits >> 31) & 16_383


@lru_cache(maxsize=2)
def population(seed: int) -> Population:
    """The pools of a seed (about 0.3 s, 11 MB)."""
    rng = Random(f"population:{seed}")
    pools = [_route_pool(route, rng) for route in ROUTES]
    drawn = [_client(rng) for _ in range(CLIENTS)]
    clients = zipf_slots(drawn, CLIENT_SKEW, CLIENT_SLOTS)
    encoded = {c: text_bytes(c.client_ip) + optional_text_bytes(c.user_agent) for c in drawn}
    return Population(zipf_slots(pools, ROUTE_SKEW, ROUTE_SLOTS), clients, [encoded[c] for c in clients])


def zipf_slots(items: Sequence[T], exponent: float, slots: int) -> list[T]:
    """A list of ``slots`` entries in which the k-th item stands in proportion to 1/k^exponent, each at least once."""
    weights = list(accumulate(1 / rank**exponent for rank in range(1, len(items) + 1)))
    spare = slots - len(items)
    ends = [index + 1 + round(spare * weight / weights[-1]) for index, weight in enumerate(weights)]
    return [item for item, start, end in zip(items, [0, *ends], ends, strict=False) for _ in range(end - start)]


def _route_pool(route: Route, rng: Random) -> RoutePool:
    paths = [route.template.replace("{}", str(_id(rng))) for _ in range(PATHS)]
    answers = [_answer(route, rng) for _ in range(ANSWERS)]
    heads = [text_bytes(a.http_method) + long_bytes(a.status_code) + long_bytes(a.response_time_ms) for a in answers]
    tails = [long_bytes(a.payload_size) + optional_text_bytes(a.error_message) for a in answers]
    return RoutePool(paths, [text_bytes(p) for p in paths], answers, heads, tails)


def _id(rng: Random) -> int:
    """Few ids are asked for often, many seldom."""
    return 1000 + int(60 * rng.paretovariate(0.8)) % 900_000


def _answer(route: Route, rng: Random) -> Answer:
    method = rng.choices(route.methods, [3.0**-k for k in range(len(route.methods))])[0]
    latency_ms = rng.lognormvariate(log(route.median_ms), route.sigma)
    if rng.random() >= route.errors:
        status = rng.choice(SUCCESS[method])
        empty = status in _NO_CONTENT or method == "HEAD"
        payload = 0 if empty else round(rng.lognormvariate(log(route.payload), 0.7))
        return Answer(method, status, round(latency_ms), payload, None)
    status = rng.choice(FAILURE)
    took_ms = TIMEOUT_MS + latency_ms if status == 504 else latency_ms * SLOWNESS.get(status, 1)
    return Answer(method, status, round(took_ms), rng.randrange(60, 600), rng.choice(REASONS[status]))


def _client(rng: Random) -> Client:
    agent = rng.choices(AGENTS, [1 / rank**AGENT_SKEW for rank in range(1, len(AGENTS) + 1)])[0]
    if rng.random() >= IPV6_SHARE:
        return Client(str(ipaddress.IPv4Address(rng.randrange(1 << 24, 224 << 24))), agent)
    prefix = 0x2001_0DB8 << 96 | rng.getrandbits(16) << 80
    host = rng.choice((rng.getrandbits(64), rng.getrandbits(12)))
    return Client(str(ipaddress.IPv6Address(prefix | host)), agent)
