from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipelines.settings import Settings, load
from stack import dist, doctor, lifecycle, ports
from stack.doctor import Finding, Level

GIB = 1024**3


def java(tmp_path: Path, version: str) -> Path:
    program = tmp_path / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("version", "level"), [("17.0.15", Level.OK), ("11.0.2", Level.PROBLEM), ("21", Level.PROBLEM), ("", Level.PROBLEM)]
)
def test_java(tmp_path: Path, version: str, level: Level) -> None:
    assert doctor.check_java(java(tmp_path, version)).level is level


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (doctor.check_java(None), Level.PROBLEM),
        (doctor.check_maven(None), Level.WARNING),
        (doctor.check_maven("/usr/bin/mvn"), Level.OK),
        (doctor.check_python((3, 11)), Level.OK),
        (doctor.check_python((3, 13)), Level.WARNING),
        (doctor.check_memory(8 * GIB), Level.OK),
        (doctor.check_memory(2 * GIB), Level.WARNING),
    ],
)
def test_machine(finding: Finding, level: Level) -> None:
    assert finding.level is level
    assert bool(finding.advice) == (level is not Level.OK)


def test_disk_of_a_home_that_is_not_there_yet(tmp_path: Path) -> None:
    assert f"at {tmp_path}" in doctor.check_disk(tmp_path / "not" / "yet").found


def test_jars_not_fetched(settings: Settings) -> None:
    (finding,) = doctor.check_jars(settings)
    assert finding.level is Level.PROBLEM
    assert "sdp stack fetch" in finding.advice


def fetched(settings: Settings, *jars: str) -> list[Finding]:
    for name in dist.STACK_SETS:
        dist._target(settings, name).mkdir(parents=True)
    for jar in jars:
        (dist.folder(settings, "spark") / jar).touch()
    return list(doctor.check_jars(settings))


def test_jars_that_fit_the_wheels(settings: Settings) -> None:
    findings = fetched(settings, "spark-sql-kafka-0-10_2.12-3.5.7.jar", "delta-spark_2.12-3.3.3.jar")
    assert [(f.what, f.level) for f in findings] == [("pyspark", Level.OK), ("delta-spark", Level.OK)]


def test_jars_of_another_version_missing_or_twice(settings: Settings) -> None:
    findings = fetched(settings, "spark-sql-kafka-0-10_2.12-3.5.1.jar", "scala-library-2.12.20.jar")
    assert [(f.what, f.level, f.found) for f in findings] == [
        ("pyspark", Level.PROBLEM, "wheel 3.5.7, jar 3.5.1"),
        ("delta-spark", Level.PROBLEM, "wheel 3.3.3, jar missing"),
        ("jars", Level.PROBLEM, "twice: scala-library"),
    ]


def test_a_taken_port_is_named_with_its_setting(settings: Settings) -> None:
    assert list(doctor.check_ports(settings)) == []
    with socket.create_server(("localhost", 0)) as listener:
        port = listener.getsockname()[1]
        fixed = load(
            home=str(settings.home), overrides=[f"stack.ports.registry={port}"], stack=settings.stack.model_dump()
        )
        (finding,) = doctor.check_ports(fixed)
    assert finding.found == f"{port} is taken"
    assert "stack.ports.registry" in finding.advice


def test_ports_of_the_last_start_are_looked_at(settings: Settings) -> None:
    with socket.create_server(("localhost", 0)) as listener:
        port = listener.getsockname()[1]
        remembered = {key: [port if key == "registry" else ports.pick()] for key in lifecycle.PORT_KEYS}
        ports.write(settings.stack_path / "ports.json", remembered)
        findings = list(doctor.check_ports(load(home=str(settings.home))))
    assert [(f.what, f.found) for f in findings] == [("port of registry", f"{port} is taken")]


def test_servers_that_are_down_are_problems(settings: Settings) -> None:
    findings = list(doctor.check_servers(load(home=str(settings.home))))
    assert [(f.what, f.level) for f in findings] == [
        ("kafka", Level.PROBLEM),
        ("elasticsearch", Level.PROBLEM),
        ("registry", Level.PROBLEM),
        ("metastore", Level.PROBLEM),
    ]
    assert all("sdp stack up" in f.advice for f in findings)


def test_an_address_in_force_that_is_not_the_stacks_is_asked_too(settings: Settings) -> None:
    with socket.create_server(("localhost", 0)) as listener:
        here = f"http://localhost:{listener.getsockname()[1]}"
        past = load(home=str(settings.home), kafka={"bootstrap": "localhost:1"}, elasticsearch={"url": here})
        findings = list(doctor.check_servers(past))[4:]
    assert [(f.what, f.level) for f in findings] == [
        ("kafka.bootstrap", Level.PROBLEM),
        ("elasticsearch.url", Level.OK),
    ]
    assert "SDP_KAFKA__BOOTSTRAP" in findings[0].advice


@pytest.mark.parametrize("address", ["localhost:abc", "localhost:99999", "[::1:9092", "a..b:9092"])
def test_what_is_no_address_is_a_problem(settings: Settings, address: str) -> None:
    kafka = settings.kafka.model_copy(update={"bootstrap": address})
    finding = next(doctor.check_servers(settings.model_copy(update={"env": "prod", "kafka": kafka})))
    assert (finding.what, finding.level) == ("kafka", Level.PROBLEM)
    assert finding.found.startswith(f"{address}: ")


def test_servers_of_another_environment_are_asked_at_their_addresses(settings: Settings) -> None:
    with socket.create_server(("localhost", 0)) as listener:
        here = f"localhost:{listener.getsockname()[1]}"
        elsewhere = settings.model_copy(
            update={
                "env": "prod",
                "kafka": settings.kafka.model_copy(update={"bootstrap": f"{here},{here}"}),
                "elasticsearch": settings.elasticsearch.model_copy(update={"url": f"http://{here}"}),
                "registry": settings.registry.model_copy(update={"url": f"http://{here}/apis/ccompat/v7"}),
                "metastore": settings.metastore.model_copy(update={"uri": "thrift://localhost:1"}),
            }
        )
        levels = [(finding.what, finding.level) for finding in doctor.check_servers(elsewhere)]
    assert levels == [
        ("kafka", Level.OK),
        ("elasticsearch", Level.OK),
        ("registry", Level.OK),
        ("metastore", Level.PROBLEM),
    ]
