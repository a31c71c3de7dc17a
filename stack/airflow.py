"""A real Airflow on this machine with our DAGs: scheduler, DAG processor, triggerer and API server.

Not part of `sdp stack up`: it lives while `sdp airflow` runs. Its database is a SQLite file.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ServerFailed, UsageError
from pipelines.settings import ROOT, Settings
from stack import dist, ports
from stack.process import Launch, Processes
from stack.server import NotReady, http_get, processes

DIST_SET = "airflow"
USER = "admin"
READY_TIMEOUT_S = 180.0
DAGS = ROOT / "dags"
_POLL_S = 0.2
_COMPONENTS = {
    "airflow-api": ["api-server"],
    "airflow-scheduler": ["scheduler"],  # with the log of a running task, which the page of the task asks it for
    "airflow-dag-processor": ["dag-processor"],
    "airflow-triggerer": ["triggerer", "--skip-serve-logs"],
}
_HEALTH = ("metadatabase", "scheduler", "dag_processor", "triggerer")


@dataclass(frozen=True, slots=True)
class Airflow:
    """A running one. ``password`` is in ``password_file`` too, which only its owner can read."""

    url: str
    password_file: Path
    home: Path

    @property
    def password(self) -> str:
        return str(json.loads(self.password_file.read_text(encoding="utf-8"))[USER])


@contextmanager
def running(settings: Settings, dags: Path = DAGS, env: Mapping[str, str] | None = None) -> Iterator[Airflow]:
    """An Airflow while the block runs; nothing of it is left afterwards but its database and logs.

    ``dags``: folder of the DAGs; ``env``: further variables of its processes and so of its tasks. Needs
    ``dist.fetch(settings, ["airflow"])``. Raises ServerFailed if one of its processes dies or does not get ready.
    """
    known = processes(settings)
    if any(map(known.alive, _COMPONENTS)):
        raise UsageError(f"an Airflow of {settings.home_path} is running; `sdp stack down` stops it with all servers")
    port = _port(settings)
    home = _prepare(settings)
    logs = {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports.pick())}
    variables = {**_environment(settings, home, port, dags), **logs, **(env or {})}
    found = Airflow(f"http://localhost:{port}", home / "passwords.json", home)
    try:
        _migrate(settings, variables)
        for name, command in _COMPONENTS.items():
            known.start(Launch(name, [*_airflow(settings), *command], folder=home, env=variables))
        _wait(known, found.url)
        yield found
    finally:
        _stop(known)


def check(settings: Settings) -> None:
    """Raises ServerFailed if a process of a running Airflow has died."""
    known = processes(settings)
    for name in _COMPONENTS:
        if not known.alive(name):
            raise ServerFailed("airflow", name, f"it died; {_end_of_log(known, name)}")


def run_command(settings: Settings, arguments: Sequence[str]) -> int:
    """Airflow's own command line on this home's Airflow, on our terminal; its exit code."""
    home = _prepare(settings)
    variables = _environment(settings, home, settings.stack.airflow_port, DAGS)
    command = [*map(str, _airflow(settings)), *arguments]
    return subprocess.run(command, cwd=home, env={**os.environ, **variables}, check=False).returncode


def _airflow(settings: Settings) -> list[str | Path]:
    return [dist.folder(settings, DIST_SET) / "bin" / "python", "-m", "airflow"]


def _port(settings: Settings) -> int:
    port = settings.stack.airflow_port or ports.pick()
    if not ports.is_free(port):
        taken = "the port is taken by another program; --set stack.airflow_port=PORT takes another one, 0 any free one"
        raise ServerFailed("airflow", f"localhost:{port}", taken)
    return port


def _prepare(settings: Settings) -> Path:
    """Its home with its own secrets, made once: readable by nobody else."""
    home = settings.stack_path / "data" / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    _once(
        home / "airflow.cfg",
        f"[core]\nfernet_key = {fernet}\n"
        f"[api]\nsecret_key = {secrets.token_hex(32)}\n"
        f"[api_auth]\njwt_secret = {secrets.token_hex(32)}\n",
    )
    _once(home / "passwords.json", json.dumps({USER: secrets.token_urlsafe(16)}))
    return home


def _once(path: Path, text: str) -> None:
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)


def _environment(settings: Settings, home: Path, port: int, dags: Path) -> dict[str, str]:
    url = f"http://localhost:{port}"
    given = {
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",  # it forks as many workers at once
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "API__HOST": "localhost",
        "API__PORT": str(port),
        "API__BASE_URL": url,
        "API__WORKERS": "1",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {
        **{f"AIRFLOW__{key}": value for key, value in given.items()},
        "AIRFLOW_HOME": str(home),
        # tasks talk to their API server, and that asks this host for logs, by the name Airflow knows it by
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), "localhost", socket.getfqdn()])),
        # what spark-submit.sh of the tasks needs to find this home and this environment
        "SDP_HOME": str(settings.home_path),
        "SDP_DIST": str(settings.dist_path),
        "VENV": sys.prefix,
    }


def _migrate(settings: Settings, variables: Mapping[str, str]) -> None:
    command = [*map(str, _airflow(settings)), "db", "migrate"]
    done = subprocess.run(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerFailed("airflow", variables["AIRFLOW_HOME"], f"its database can't be made: {done.stdout[-2000:]}")


def _wait(known: Processes, url: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            return _check(url)
        except NotReady as reason:
            for name in _COMPONENTS:
                if not known.alive(name):
                    raise ServerFailed(
                        "airflow", url, f"{name} died while starting; {_end_of_log(known, name)}"
                    ) from None
            if time.monotonic() > deadline:
                logs = ", ".join(str(known.log(name)) for name in _COMPONENTS)
                late = f"not ready after {READY_TIMEOUT_S:.0f} s ({reason}); see {logs}"
                raise ServerFailed("airflow", url, late) from None
            time.sleep(_POLL_S)


def _check(url: str) -> None:
    health = json.loads(http_get(f"{url}/api/v2/monitor/health"))
    for part in _HEALTH:
        if health[part]["status"] != "healthy":
            raise NotReady(f"{part} is {health[part]['status']}")


def _end_of_log(known: Processes, name: str) -> str:
    return f"{known.log(name)} ends with:\n{known.last_lines(name)}"


def _stop(known: Processes) -> None:
    with ThreadPoolExecutor(len(_COMPONENTS)) as pool:
        list(pool.map(known.stop, _COMPONENTS))
