"""Use a running Airflow as a person does: by its public API."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from stack.airflow import USER, Airflow

LONGEST_S = 600
ENDED = {"success", "failed"}

T = TypeVar("T")


@dataclass
class Api:
    """The API of one Airflow, with a token of its user."""

    url: str
    token: str

    @classmethod
    def of(cls, airflow: Airflow) -> Api:
        login = {"username": USER, "password": airflow.password}
        return cls(airflow.url, _ask("POST", f"{airflow.url}/auth/token", login)["access_token"])

    def get(self, path: str) -> dict[str, Any]:
        return _ask("GET", f"{self.url}/api/v2/{path}", None, self.token)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        return _ask("POST", f"{self.url}/api/v2/{path}", body, self.token)

    def patch(self, path: str, **body: Any) -> dict[str, Any]:
        return _ask("PATCH", f"{self.url}/api/v2/{path}", body, self.token)

    def trigger(self, dag: str, **params: Any) -> str:
        """Start a run as the form does; its id."""
        return str(self.post(f"dags/{dag}/dagRuns", logical_date=None, conf=params)["dag_run_id"])

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """Oldest first."""
        return list(self.get(f"dags/{dag}/dagRuns?order_by=run_after&limit=100")["dag_runs"])

    def ended(self, dag: str, run: str) -> str:
        """Wait for the end of a run; its state."""
        return str(until(lambda: self.get(f"dags/{dag}/dagRuns/{run}"), lambda found: found["state"] in ENDED)["state"])

    def tasks(self, dag: str, run: str) -> dict[str, Any]:
        """Task id → its instance; of a task with one for each channel, the first."""
        found = self.get(f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {one["task_id"]: one for one in sorted(found, key=lambda one: -one["map_index"])}

    def states(self, dag: str, run: str) -> dict[str, str]:
        return {name: one["state"] for name, one in self.tasks(dag, run).items()}

    def answer(self, dag: str, run: str, task: str) -> dict[str, Any]:
        """What a task gave to those behind it."""
        path = f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value?deserialize=true"
        return dict(self.get(path)["value"])

    def log(self, dag: str, run: str, task: str, number: int = 1) -> str:
        """What one try of a task has logged."""
        return json.dumps(self.get(f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{number}")["content"])


def until(look: Callable[[], T], is_so: Callable[[T], bool]) -> T:
    """What ``look`` finds once it is so."""
    deadline = time.monotonic() + LONGEST_S
    while not is_so(found := look()):
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.2)
    return found


def _ask(method: str, url: str, body: Any, token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
