from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import ServerFailed, UsageError
from pipelines.settings import Ports, StackSettings
from stack import ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_further_nodes_take_the_ports_above() -> None:
    stack = StackSettings(brokers=3, ports=Ports(kafka=19092, kafka_controller=0))
    wanted = ports.wanted(stack, {})
    assert wanted["kafka"] == [19092, 19093, 19094]
    assert wanted["kafka_controller"] == [0, 0, 0]
    assert wanted["registry"] == [8081]


def test_a_port_that_nobody_set_stays_what_it_was() -> None:
    stack = StackSettings(brokers=3, ports=Ports(registry=8081))
    wanted = ports.wanted(stack, {"kafka": [23001, 23007, 23002], "metastore": [23003], "registry": [23004]})
    assert (wanted["kafka"], wanted["metastore"]) == ([23001, 23007, 23002], [23003])
    assert wanted["registry"] == [8081]


def test_ports_of_another_number_of_nodes_are_forgotten() -> None:
    assert ports.wanted(StackSettings(brokers=3), {"kafka": [23001]})["kafka"] == [9092, 9093, 9094]


def test_the_last_node_needs_a_port_too() -> None:
    assert ports.wanted(StackSettings(brokers=3, ports=Ports(kafka=65533)), {})["kafka"][-1] == 65535
    with pytest.raises(UsageError, match=r"stack\.ports\.kafka=65534 .* 3 nodes: give 65533 or less"):
        ports.wanted(StackSettings(brokers=3, ports=Ports(kafka=65534)), {})


def test_a_picked_port_is_not_picked_again_but_a_server_can_have_it() -> None:
    picked = [ports.pick() for _ in range(50)]
    assert len(set(picked)) == 50
    assert all(map(ports.is_free, picked))


def test_any_port_is_kept_for_the_next_start() -> None:
    first = ports.assign({"registry": [0]}, {}, running=())
    assert ports.assign({"registry": [0]}, first, running=()) == first


def test_any_port_gives_way_when_somebody_took_it(taken: int) -> None:
    assigned = ports.assign({"registry": [0]}, {"registry": [taken]}, running=())
    assert assigned["registry"] != [taken]


def test_a_taken_fixed_port_names_port_and_setting(taken: int) -> None:
    with pytest.raises(ServerFailed, match=rf"localhost:{taken} .*--set stack\.ports\.kafka_controller=PORT"):
        ports.assign({"kafka_controller": [taken]}, {}, running=())


def test_a_running_server_keeps_its_port_whatever_the_settings_say(taken: int) -> None:
    assert ports.assign({"kafka": [9092]}, {"kafka": [taken]}, running={"kafka"}) == {"kafka": [taken]}


def test_memory_survives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "stack" / "ports.json"
    assert ports.read(path) == {}
    ports.write(path, {"kafka": [1, 2, 3], "registry": [4]})
    assert ports.read(path) == {"kafka": [1, 2, 3], "registry": [4]}
    assert [p.name for p in path.parent.iterdir()] == ["ports.json"]
