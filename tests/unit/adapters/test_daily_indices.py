"""Daily indices against a server that has ILM: what is asked of it, and that foreign indices are never named."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipelines.adapters.daily_indices import DailyIndices
from pipelines.errors import SinkUnavailable
from pipelines.maintenance.indices import Ages
from pipelines.settings import ElasticsearchSettings

AGES = Ages(30, 90)
PHASES = {
    "hot": {"min_age": "0ms", "actions": {}},
    "warm": {"min_age": "30d", "actions": {"readonly": {}, "forcemerge": {"max_num_segments": 1}}},
    "delete": {"min_age": "90d", "actions": {"delete": {}}},
}


@dataclass
class Cluster:
    """Answers by method and path; remembers every request that changes something."""

    url: str = ""
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    changes: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path = self.path.partition("?")[0]
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.command != "GET":
                found.changes.append((self.command, path, json.loads(body) if body else None))
            status, content = found.answers.get((self.command, path), (200, {"acknowledged": True}))
            text = json.dumps(content).encode()
            self.send_response(status)
            for name, value in (("X-Elastic-Product", "Elasticsearch"), ("Content-Type", "application/json")):
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 names that http.server wants

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()


def indices(cluster: Cluster) -> DailyIndices:
    settings = {"index_prefix": "logs", "shards": 1, "replicas": 0, "batch_entries": 1, "batch_bytes": "1mb"}
    return DailyIndices(ElasticsearchSettings.model_validate({"url": cluster.url, **settings}))


def settings(**index: Any) -> dict[str, Any]:
    return {"settings": {"index": {"uuid": "u", **index}}}


def test_a_cluster_without_ilm_says_so_with_an_error(cluster: Cluster) -> None:
    assert indices(cluster).has_lifecycle()
    cluster.answers["GET", "/_ilm/policy"] = (400, {"error": "no handler found"})
    assert not indices(cluster).has_lifecycle()
    cluster.answers["GET", "/_ilm/policy"] = (503, {"error": "no master"})
    with pytest.raises(SinkUnavailable):
        indices(cluster).has_lifecycle()


def test_the_policy_is_put_where_it_is_missing_or_of_other_ages(cluster: Cluster) -> None:
    path = "/_ilm/policy/logs"
    cluster.answers["GET", path] = (404, {"error": "missing", "status": 404})
    assert indices(cluster).keep_policy(AGES)
    assert cluster.changes == [("PUT", path, {"policy": {"phases": PHASES}})]
    cluster.answers["GET", path] = (200, {"logs": {"policy": {"phases": PHASES}}})
    assert not indices(cluster).keep_policy(AGES)
    assert indices(cluster).keep_policy(Ages(31, 90))
    assert len(cluster.changes) == 2


def test_the_policy_counts_from_the_day_of_the_name(cluster: Cluster) -> None:
    cluster.answers["GET", "/logs-*/_settings"] = (
        200,
        {
            "logs-2026.01.02": settings(),
            "logs-2026.01.03": settings(lifecycle={"name": "logs"}),
            "logs-2026.01.02-backup": settings(),
        },
    )
    assert indices(cluster).names() == ["logs-2026.01.02", "logs-2026.01.03"]
    assert indices(cluster).without_policy() == ["logs-2026.01.02"]
    indices(cluster).attach_policy("logs-2026.01.02")
    lifecycle = {"name": "logs", "origination_date": 1_767_312_000_000}  # 2026-01-02T00:00:00Z
    assert cluster.changes == [("PUT", "/logs-2026.01.02/_settings", {"index": {"lifecycle": lifecycle}})]


@pytest.mark.parametrize("name", ["*", "logs-*", "logs-2026.01.02,other", "logs-2026.01.02-backup", "_all", ""])
def test_nothing_but_a_daily_index_is_ever_changed(cluster: Cluster, name: str) -> None:
    found = indices(cluster)
    for change in (found.delete, found.block, found.merge, found.attach_policy):
        with pytest.raises(ValueError, match="no daily index"):
            change(name)
    assert cluster.changes == []
