"""Metrics are there for Prometheus while a job goes on, and at the Pushgateway once a single run has ended."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.error import URLError

import pytest
from prometheus_client import CollectorRegistry, Counter

from pipelines.adapters.exposition import Exposition
from pipelines.errors import UsageError
from pipelines.settings import MonitoringSettings

HERE = "127.0.0.1"


class Gateway(HTTPServer):
    """Keeps what was pushed: method, path, body."""

    def __init__(self, status: int = 202) -> None:
        super().__init__((HERE, 0), _Push)
        self.status, self.pushed = status, list[tuple[str, str, str]]()

    @property
    def url(self) -> str:
        return f"http://{HERE}:{self.server_port}"


class _Push(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        assert isinstance(self.server, Gateway)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.pushed.append((self.command, self.path, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 http.server's name
        pass


@contextmanager
def gateway(status: int = 202) -> Iterator[Gateway]:
    with Gateway(status) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class House:
    """An exposition with one counter, and what it warned of."""

    def __init__(self, **settings: object) -> None:
        registry = CollectorRegistry()
        Counter("sdp_things", "Things", registry=registry).inc(7)
        self.warnings: list[tuple[str, Exception]] = []
        self.show = Exposition(
            "ingest",
            registry,
            MonitoringSettings.model_validate({"metrics_address": HERE, **settings}),
            lambda where, error: self.warnings.append((where, error)),
        )


def free_port() -> int:
    with socket.socket() as free:
        free.bind((HERE, 0))
        return int(free.getsockname()[1])


def fetched(port: int) -> str:
    with urllib.request.urlopen(f"http://{HERE}:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_job_that_goes_on_serves_until_it_ends() -> None:
    port = free_port()
    house = House(metrics_port=port)
    for _ in range(2):  # the port is free again at once
        with house.show(False):
            assert "sdp_things_total 7.0" in fetched(port)
        with pytest.raises(URLError):
            fetched(port)


def test_a_job_that_fails_stops_serving_too() -> None:
    port = free_port()
    with pytest.raises(ZeroDivisionError), House(metrics_port=port).show(False):
        raise ZeroDivisionError
    with pytest.raises(URLError):
        fetched(port)


def test_a_port_that_is_taken_is_wrong_use() -> None:
    with socket.create_server((HERE, 0)) as other:
        port = other.getsockname()[1]
        taken = rf"^ingest: can't serve metrics at 127\.0\.0\.1:{port}: Address already in use\. Nothing was read"
        with pytest.raises(UsageError, match=taken), House(metrics_port=port).show(False):
            raise AssertionError("the job began")


def test_an_address_that_is_not_of_this_host_is_wrong_use() -> None:
    with (
        pytest.raises(UsageError, match=r"can't serve metrics at 192\.0\.2\.1:"),
        House(metrics_port=free_port(), metrics_address="192.0.2.1").show(False),
    ):
        raise AssertionError("the job began")


def test_a_single_run_pushes_when_it_ends_and_serves_nothing() -> None:
    port = free_port()
    with gateway() as server:
        house = House(metrics_port=port, pushgateway=server.url)
        with house.show(True):
            assert server.pushed == []
            with pytest.raises(URLError):
                fetched(port)
        [(method, path, body)] = server.pushed
    assert (method, path) == ("PUT", "/metrics/job/ingest")
    assert "sdp_things_total 7.0" in body
    assert house.warnings == []


def test_a_run_that_fails_pushes_what_it_did_and_fails_as_it_would() -> None:
    with gateway() as server:
        with pytest.raises(ZeroDivisionError), House(pushgateway=server.url).show(True):
            raise ZeroDivisionError
        assert len(server.pushed) == 1


def test_a_gateway_that_is_away_or_refuses_is_a_warning_and_no_failure() -> None:
    nobody = f"http://{HERE}:{free_port()}"
    house = House(pushgateway=nobody)
    with house.show(True):
        pass
    [(where, error)] = house.warnings
    assert where == nobody
    assert "refused" in str(error)
    with gateway(status=500) as server:
        house = House(pushgateway=server.url)
        with house.show(True):
            pass
        assert [where for where, _ in house.warnings] == [server.url]


def test_a_job_that_goes_on_does_not_push_and_off_means_off() -> None:
    with gateway() as server:
        with House(pushgateway=server.url).show(False), House().show(False), House().show(True):
            pass
        assert server.pushed == []
