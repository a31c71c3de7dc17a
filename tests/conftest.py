"""One set of real servers and one Spark session for the whole run; every test has topics and tables of its own."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings as hypothesis_settings
from pyspark.sql import SparkSession
from pytest_spark.config import SparkConfigBuilder

from pipelines import settings as settings_module
from pipelines.adapters.spark import conf, workers_like_us
from pipelines.settings import ROOT, Settings
from stack import dist, lifecycle
from tests.submitting import BRIEF_JVM, BRIEF_JVM_CONF
from tests.world import World

FREE_PORTS = dict.fromkeys(lifecycle.PORT_KEYS, 0)

hypothesis_settings.register_profile("sdp", deadline=None, print_blob=True)
hypothesis_settings.load_profile("sdp")


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A shell starts its background jobs with SIGINT ignored; tests of Ctrl-C need it, whoever started them.

    SIGTERM does the same as Ctrl-C: a run that is cancelled stops the servers that it started.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A command sets logging up for the standard error of its test, which is closed when a later one writes there."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True, scope="module")
def brief_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Jobs and commands in processes of their own, which end after some seconds, compile quickly instead of well."""
    with pytest.MonkeyPatch.context() as patch:
        if "unit" not in request.path.relative_to(ROOT).parts:
            patch.setenv(*BRIEF_JVM)
        yield


@pytest.fixture(scope="session")
def dist_folder() -> Path:
    """Where `make install` put jars and servers."""
    return Path(os.environ.get("SDP_DIST", ROOT / ".sdp" / "dist"))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, dist_folder: Path) -> Iterator[Settings]:
    """A running stack in a home of its own, stopped and removed at the end."""
    home = tmp_path_factory.mktemp("home")
    settings = settings_module.load(home=home, dist=dist_folder, stack={"ports": FREE_PORTS})
    lifecycle.up(settings)
    try:
        yield settings_module.load(home=home, dist=dist_folder)
    finally:
        lifecycle.down(settings, purge=True)


@pytest.fixture(scope="session")
def spark(servers: Settings, request: pytest.FixtureRequest) -> SparkSession:
    """pytest-spark's session with our configuration."""
    workers_like_us()
    options = SparkConfigBuilder().get()
    for key, value in conf(servers).items():
        if key != BRIEF_JVM_CONF:
            options.set(key, value)
    options.setMaster("local[2]").set("spark.driver.memory", "3g").set("spark.default.parallelism", "2")
    options.set("spark.jars", ",".join(map(str, dist.jars(servers, "spark"))))
    session: SparkSession = request.getfixturevalue("spark_session")
    session.sparkContext.setLogLevel("ERROR")
    return session


@pytest.fixture
def world(servers: Settings, spark: SparkSession, tmp_path: Path) -> Iterator[World]:
    """Topics, schema, tables, indices and checkpoints that no other test sees."""
    name = f"t{uuid.uuid4().hex[:10]}"
    own = settings_module.load(
        home=servers.home,
        dist=servers.dist,
        checkpoints=str(tmp_path / "checkpoints"),
        kafka={"topic": f"{name}-logs", "dlq_topic": f"{name}-dlq"},
        elasticsearch={"index_prefix": name},
        metastore={"database": name},
        ingest={"retry_for_s": 60},
        index={"retry_for_s": 60},
    )
    yield World.create(own, spark)
    jvm: Any = spark._jvm
    jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # else the state of every test's tables stays in the heap
