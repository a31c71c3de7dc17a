"""Bringing up and down, with small Python programs in place of the servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from pipelines.errors import ServerFailed, UsageError
from pipelines.settings import Settings, load
from stack import dist, lifecycle, ports
from stack.process import Launch
from stack.server import NotReady, Server, processes

LISTEN = "import socket, sys, time; s = socket.create_server(('localhost', int(sys.argv[1]))); time.sleep(600)"
DIE = "import sys; print('no luck today'); sys.exit(1)"
SLEEP = "import time; time.sleep(600)"


class Fake(Server):
    dist_set = "spark"
    code: ClassVar[str] = LISTEN

    @property
    def address(self) -> str:
        return f"fake://localhost:{self.ports[0]}"

    def prepare(self) -> Sequence[Launch]:
        home = self.site.data(self.name)
        home.mkdir(parents=True, exist_ok=True)
        return [
            Launch(self.node_name(node), [sys.executable, "-c", self.code, str(self.ports[node - 1])], folder=home)
            for node in self.nodes
        ]

    def check(self) -> None:
        for port in self.ports:
            try:
                socket.create_connection(("localhost", port), timeout=1).close()
            except OSError as error:
                raise NotReady(str(error)) from None


class Kafka(Fake):
    name = "kafka"
    port_keys = ("kafka",)
    size_setting = "brokers"


class Elasticsearch(Fake):
    name = "elasticsearch"
    port_keys = ("elasticsearch",)


class Registry(Fake):
    name = "registry"
    port_keys = ("registry",)


class Metastore(Fake):
    name = "metastore"
    port_keys = ("metastore",)


class DyingMetastore(Metastore):
    code = DIE


class SilentMetastore(Metastore):
    code = SLEEP


@pytest.fixture(autouse=True)
def fakes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    dist._target(settings, "spark").mkdir(parents=True)
    use(monkeypatch, Metastore)


def use(monkeypatch: pytest.MonkeyPatch, metastore: type[Server]) -> None:
    monkeypatch.setattr(lifecycle, "SERVERS", (Kafka, Elasticsearch, Registry, metastore))


def running(settings: Settings) -> list[str]:
    known = processes(settings)
    return [name for name in known.names() if known.alive(name)]


def test_up_writes_the_addresses_that_settings_read(settings: Settings) -> None:
    found = lifecycle.up(settings)
    assert list(found) == ["kafka", "elasticsearch", "registry", "metastore", "warehouse"]
    assert found["warehouse"] == str(settings.home_path / "warehouse")
    assert json.loads((settings.stack_path / "endpoints.json").read_text()) == found
    again = load(home=str(settings.home))
    assert (again.kafka.bootstrap, again.metastore.uri) == (found["kafka"], found["metastore"])


def test_up_is_idempotent_and_starts_only_what_is_missing(settings: Settings) -> None:
    first = lifecycle.up(settings)
    known = processes(settings)
    kept = known.pid("kafka")
    known.stop("registry")
    assert lifecycle.up(settings) == first
    assert known.pid("kafka") == kept
    assert len(running(settings)) == 4


def test_ports_and_addresses_stay_over_a_restart(settings: Settings) -> None:
    first = lifecycle.up(settings)
    assert lifecycle.down(settings) == ["elasticsearch", "kafka", "metastore", "registry"]
    assert running(settings) == []
    assert lifecycle.endpoints(settings) == first
    assert lifecycle.up(settings) == first


def test_ports_that_are_not_set_again_stay_too(settings: Settings) -> None:
    first = lifecycle.up(settings)
    lifecycle.down(settings)
    assert lifecycle.up(load(home=str(settings.home))) == first


def test_a_server_that_dies_is_reported_with_its_log_and_the_others_are_stopped(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, DyingMetastore)
    with pytest.raises(ServerFailed, match=r"(?s)metastore died while starting.*metastore\.log.*no luck today"):
        lifecycle.up(settings)
    assert running(settings) == []
    assert not (settings.stack_path / "endpoints.json").exists()


def test_a_failed_up_leaves_alone_what_was_running_before(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lifecycle.up(settings)
    processes(settings).stop("metastore")
    use(monkeypatch, DyingMetastore)
    with pytest.raises(ServerFailed):
        lifecycle.up(settings)
    assert running(settings) == ["elasticsearch", "kafka", "registry"]


def test_a_server_that_never_answers_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, SilentMetastore)
    monkeypatch.setattr(lifecycle, "READY_TIMEOUT_S", 0.5)
    with pytest.raises(ServerFailed, match="not ready after"):
        lifecycle.up(settings)
    assert running(settings) == []


def test_an_interrupt_stops_what_was_started(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, SilentMetastore)

    def interrupt_when_waiting(server: str, doing: str) -> None:
        if (server, doing) == ("metastore", "starting"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        lifecycle.up(settings, interrupt_when_waiting)
    assert running(settings) == []


def test_status_tells_who_answers(settings: Settings) -> None:
    found = lifecycle.up(settings)
    processes(settings).stop("registry")
    state = lifecycle.status(settings)
    assert {key: state[key] for key in found} == found
    assert {name: server["running"] for name, server in state["servers"].items()} == {
        "kafka": True,
        "elasticsearch": True,
        "registry": False,
        "metastore": True,
    }
    assert state["servers"]["registry"]["reason"] == "0 of 1 processes are running"


def test_data_of_another_size_are_refused_and_nothing_changes(settings: Settings) -> None:
    first = lifecycle.up(settings)
    larger = load(home=str(settings.home), overrides=["stack.brokers=3"], stack=settings.stack.model_dump())
    with pytest.raises(UsageError, match=r"belong to 1 node\(s\), not 3: use --set stack\.brokers=1"):
        lifecycle.up(larger)
    assert lifecycle.endpoints(settings) == first
    assert len(running(settings)) == 4


def test_three_nodes_get_a_process_each(settings: Settings) -> None:
    three = load(home=str(settings.home), overrides=["stack.brokers=3"], stack=settings.stack.model_dump())
    lifecycle.up(three)
    assert running(three) == ["elasticsearch", "kafka", "kafka-2", "kafka-3", "metastore", "registry"]


@pytest.mark.parametrize("dead", ["kafka", "kafka-2"])
def test_a_node_that_died_comes_back_and_the_others_keep_process_and_port(settings: Settings, dead: str) -> None:
    three = load(home=str(settings.home), overrides=["stack.brokers=3"], stack=settings.stack.model_dump())
    first = lifecycle.up(three)
    known = processes(settings)
    pids = {name: known.pid(name) for name in running(settings)}
    known.stop(dead)
    assert lifecycle.up(three) == first
    assert {name for name, pid in pids.items() if known.pid(name) != pid} == {dead}


def test_purge_removes_data_tables_and_checkpoints_of_this_home_only(settings: Settings, tmp_path: Path) -> None:
    lifecycle.up(settings)
    elsewhere = tmp_path / "elsewhere"
    for folder in (settings.home_path / "warehouse", settings.home_path / "checkpoints", elsewhere):
        folder.mkdir()
    link = settings.stack_path / "data" / "linked"
    link.symlink_to(tmp_path / "sheltered")
    (tmp_path / "sheltered").mkdir()
    lifecycle.down(load(home=str(settings.home), warehouse=str(elsewhere)), purge=True)
    assert sorted(path.name for path in settings.home_path.iterdir()) == ["dist", "stack", "warehouse"]
    assert elsewhere.is_dir()
    assert not (tmp_path / "sheltered").exists()
    assert ports.read(settings.stack_path / "ports.json") == {}


def test_a_home_that_nothing_can_be_written_to_is_named() -> None:
    with pytest.raises(UsageError, match=r"/proc/home/stack can't be written to .*SDP_HOME"):
        lifecycle.down(load(home="/proc/home"))


def test_two_commands_on_one_home_do_not_mix(settings: Settings) -> None:
    refused: list[UsageError] = []

    def down_meanwhile(server: str, doing: str) -> None:
        with pytest.raises(UsageError, match="another `sdp stack` command") as caught:
            lifecycle.down(settings)
        refused.append(caught.value)

    lifecycle.up(settings, down_meanwhile)
    assert refused
    assert len(running(settings)) == 4
