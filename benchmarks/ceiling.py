"""What Elasticsearch itself can take: ready-made NDJSON bulk bodies over two connections of plain HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from elasticsearch.helpers import expand_action

from benchmarks import elastic_lab
from benchmarks.meter import Meter, Outcome
from benchmarks.python_elastic import Feed
from benchmarks.python_loop import Drain
from pipelines.settings import Settings

CONNECTIONS = 2
MEBIBYTE = 1024 * 1024


def run(settings: Settings) -> Outcome:
    """Build every body before the clock starts, then send them all into fresh indices."""
    feed = Feed(settings, drain := Drain(settings))
    bodies: SimpleQueue[bytes] = SimpleQueue()
    for body in _bodies(feed, settings):
        bodies.put(body)
    drain.commit()
    with elastic_lab.fresh_indices(settings):
        meter = Meter()
        with meter, ThreadPoolExecutor(CONNECTIONS) as pool:
            for done in [pool.submit(_send, settings.elasticsearch.url, bodies) for _ in range(CONNECTIONS)]:
                done.result()
        valid = elastic_lab.stored(settings)
    return meter.outcome(valid + feed.invalid, valid=valid, invalid=feed.invalid)


def _bodies(feed: Feed, settings: Settings) -> Iterator[bytes]:
    """Bulks as large as the connector's: bounded by entries and by bytes."""
    limit = int(settings.elasticsearch.batch_bytes.removesuffix("mb")) * MEBIBYTE
    lines: list[bytes] = []
    size = 0
    for entry in feed:
        pair = b"".join(
            json.dumps(p, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for p in expand_action(entry)
        )
        if lines and (len(lines) >= settings.elasticsearch.batch_entries or size + len(pair) > limit):
            yield b"".join(lines)
            lines, size = [], 0
        lines.append(pair)
        size += len(pair)
    if lines:
        yield b"".join(lines)


def _send(url: str, bodies: SimpleQueue[bytes]) -> None:
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "localhost", address.port, timeout=120)
    while True:
        try:
            body = bodies.get_nowait()
        except Empty:
            connection.close()
            return
        connection.request("POST", "/_bulk", body, {"Content-Type": "application/x-ndjson"})
        answer = connection.getresponse().read()
        if b'"errors":false' not in answer[:200]:
            raise RuntimeError(f"Elasticsearch refused documents: {answer[:500]!r}")
