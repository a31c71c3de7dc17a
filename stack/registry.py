"""Schema registry: Apicurio with its Confluent-compatible API, its schemas in a database file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from stack import dist, java
from stack.process import Launch
from stack.server import NotReady, Server, http_get


class Registry(Server):
    name = "registry"
    dist_set = "registry"
    port_keys = ("registry",)

    @property
    def address(self) -> str:
        return f"http://localhost:{self.ports[0]}/apis/ccompat/v7"

    def prepare(self) -> Sequence[Launch]:
        home = self.site.data(self.name)
        home.mkdir(parents=True, exist_ok=True)
        (runner,) = dist.folder(self.site.settings, self.dist_set).glob("*-runner.jar")
        properties = {
            "quarkus.http.host": "localhost",
            "quarkus.http.port": str(self.ports[0]),
            "quarkus.http.access-log.enabled": "false",
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            # WRITE_DELAY=0: a schema that was acknowledged survives a kill
            "apicurio.datasource.url": f"jdbc:h2:file:{home / 'registry'};WRITE_DELAY=0",
            "apicurio.datasource.jdbc.initial-size": "2",
            "apicurio.datasource.jdbc.min-size": "2",
        }
        options = [f"-D{key}={value}" for key, value in properties.items()]
        command: list[str | Path] = [
            java.executable(),
            "-Xmx384m",
            "-XX:+ExitOnOutOfMemoryError",
            *options,
            "-jar",
            runner,
        ]
        return [Launch(self.name, command, folder=home)]

    def check(self) -> None:
        answer = http_get(f"{self.address}/subjects")
        if not isinstance(json.loads(answer), list):
            raise NotReady(f"{self.address}/subjects is not a list")
