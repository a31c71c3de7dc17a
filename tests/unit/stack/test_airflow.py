"""Starting Airflow, with a shell script in the place of its Python."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from pipelines.errors import ServerFailed
from pipelines.settings import Settings, load
from stack import airflow, dist
from stack.server import processes


def with_python(settings: Settings, lines: str) -> None:
    """An environment whose python runs these lines; $3 is Airflow's command."""
    python = dist._target(settings, airflow.DIST_SET) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/bash\n{lines}\n", encoding="utf-8")
    python.chmod(0o755)


def left(settings: Settings) -> list[str]:
    known = processes(settings)
    return [name for name in known.names() if known.alive(name)]


@pytest.fixture
def on_any_port(settings: Settings) -> Settings:
    return load(home=str(settings.home), overrides=["stack.airflow_port=0"])


def test_a_part_that_dies_is_told_with_its_log_and_the_others_are_stopped(on_any_port: Settings) -> None:
    with_python(on_any_port, "[[ $3 != db ]] || exit 0; [[ $3 != triggerer ]] || { echo no luck; exit 1; }; sleep 600")
    with (
        pytest.raises(ServerFailed, match=r"(?s)airflow-triggerer died while starting.*no luck"),
        airflow.running(on_any_port),
    ):
        pass
    assert left(on_any_port) == []


def test_the_log_of_a_running_task_is_served_where_its_page_asks_for_it(on_any_port: Settings, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    noted = f'echo "$3 $AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT ${{*:4}}" >>{seen}'
    both = f"until [[ $(grep -cE '^(scheduler|api-server) ' {seen}) == 2 ]]; do sleep 0.1; done"
    with_python(
        on_any_port, f"[[ $3 != db ]] || exit 0; {noted}; [[ $3 != triggerer ]] || {{ {both}; exit 1; }}; sleep 600"
    )
    found: list[str] = []
    for _ in range(2):
        with pytest.raises(ServerFailed), airflow.running(on_any_port):
            pass
        told = {line.split()[0]: line.split()[1:] for line in seen.read_text(encoding="utf-8").splitlines()}
        assert told["scheduler"] == told["api-server"]  # the port, and no option not to serve
        found += told["scheduler"]
        seen.unlink()
    assert len(set(map(int, found))) == 2


def test_a_database_that_can_not_be_made_says_why(on_any_port: Settings) -> None:
    with_python(on_any_port, "echo disk full; exit 1")
    with pytest.raises(ServerFailed, match="disk full"), airflow.running(on_any_port):
        pass


def test_a_port_that_is_taken_is_named_with_its_setting(settings: Settings) -> None:
    with_python(settings, "exit 1")
    with socket.create_server(("localhost", 0)) as other:
        taken = load(home=str(settings.home), overrides=[f"stack.airflow_port={other.getsockname()[1]}"])
        with pytest.raises(ServerFailed, match=r"stack\.airflow_port"), airflow.running(taken):
            pass


def test_secrets_are_made_once_and_for_their_owner_only(on_any_port: Settings, tmp_path: Path) -> None:
    with_python(
        on_any_port, f'ls -A "$AIRFLOW_HOME" >{tmp_path / "seen"}; cat "$AIRFLOW_HOME"/*.json >>{tmp_path}/kept'
    )
    for _ in range(2):
        assert airflow.run_command(on_any_port, ["version"]) == 0
    first, second = (tmp_path / "kept").read_text(encoding="utf-8").replace("}{", "}\n{").splitlines()
    assert first == second
    assert len(json.loads(first)[airflow.USER]) >= 20
    home = on_any_port.stack_path / "data" / "airflow"
    assert (tmp_path / "seen").read_text(encoding="utf-8").split() == ["airflow.cfg", "passwords.json"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.iterdir())}
    assert modes == {"airflow": 0o700, "airflow.cfg": 0o600, "passwords.json": 0o600}
