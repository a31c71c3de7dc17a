"""Call spark-submit.sh as an operator does, and leave none of its processes behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import psutil

from pipelines.settings import ROOT, Settings

SCRIPT = ROOT / "spark-submit.sh"
LONGEST_S = 600

BRIEF_JVM_CONF = "spark.driver.defaultJavaOptions"
BRIEF_JVM = (
    "SDP_SPARK__CONF",
    json.dumps(
        {
            BRIEF_JVM_CONF: "-XX:TieredStopAtLevel=1 "
            f"-Dlog4j2.configurationFile={(ROOT / 'conf' / 'log4j2.properties').as_uri()}"
        }
    ),
)
"""The setting for a driver that lives for seconds; it quotes the log configuration, which it takes the place of."""


def selection(settings: Settings) -> list[str]:
    """``--set`` for everything that makes a test's corner of the servers its own."""
    chosen = {
        "home": settings.home,
        "dist": settings.dist,
        "checkpoints": settings.checkpoints,
        "kafka.topic": settings.kafka.topic,
        "kafka.dlq_topic": settings.kafka.dlq_topic,
        "metastore.database": settings.metastore.database,
        "elasticsearch.index_prefix": settings.elasticsearch.index_prefix,
        "spark.driver_memory": "1g",
    }
    return [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]


@contextmanager
def submitted(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """The running script; standard output and error together. What it started is gone when the block ends."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SDP_", "PYSPARK_", "SPARK_"))}
    with subprocess.Popen(
        [str(SCRIPT), *arguments],
        env={**inherited, **dict([BRIEF_JVM]), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        started = psutil.Process(process.pid)
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                for one in [*started.children(recursive=True), started] if process.poll() is None else []:
                    with suppress(psutil.NoSuchProcess):
                        one.kill()


def submit(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit code and everything that was said."""
    with submitted(arguments, env) as process:
        said, _ = process.communicate(timeout=LONGEST_S)
    return process.returncode, said
