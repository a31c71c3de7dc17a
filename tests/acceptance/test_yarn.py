"""spark-submit.sh on a real YARN, in cluster mode, against real Kafka, registry and metastore."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines import bootstrap
from pipelines.settings import Settings
from stack import dist, yarn
from stack.metastore import pyspark_jars
from tests.submitting import LONGEST_S, selection, submit, submitted
from tests.world import World, fields, record

pytestmark = pytest.mark.yarn

SECRET = "open-sesame"  # travels along, and must show up nowhere
VALID, INVALID = 600, 30


@dataclass(frozen=True)
class Cluster:
    """A running YARN: the folder it lives in, and its configuration."""

    folder: Path
    conf: Path

    def applications(self) -> list[dict[str, Any]]:
        """What the ResourceManager's own REST API says, oldest first."""
        site = ET.parse(self.conf / "yarn-site.xml").getroot()
        values = {p.findtext("name"): p.findtext("value") for p in site}
        url = f"http://{values['yarn.resourcemanager.webapp.address']}/ws/v1/cluster/apps"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["apps"]["app"]
        return sorted(found, key=lambda app: int(app["startedTime"]))

    def logs(self) -> str:
        """Everything that containers wrote."""
        files = (path for path in (self.folder / "containers").rglob("*") if path.is_file())
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)

    def submit(self, settings: Settings, *options: str) -> tuple[int, str]:
        """``spark-submit.sh yarn-cluster ingest --once`` with one small executor."""
        return submit(*self.call(settings, "--once", *options))

    def call(self, settings: Settings, *options: str) -> tuple[list[str], dict[str, str]]:
        """Arguments and environment of ``spark-submit.sh yarn-cluster ingest``."""
        spark = [
            *("--conf", f"spark.yarn.jars=local:{pyspark_jars()}/*"),  # else 300 MB are copied for each application
            *("--conf", f"spark.yarn.stagingDir={(self.folder / 'staging').as_uri()}"),
            *("--num-executors", "1", "--executor-memory", "1g", "--executor-cores", "2"),
        ]
        env = {
            "SDP_SPARK__CONF": "{}",  # a driver on a node has the log configuration of its archive
            "HADOOP_CONF_DIR": str(self.conf),
            "PYSPARK_PYTHON": sys.executable,
            "SDP_ELASTICSEARCH__PASSWORD": SECRET,
        }
        return ["yarn-cluster", "ingest", *selection(settings), *options, "--", *spark], env


@pytest.fixture(scope="module")
def cluster(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    dist.fetch(servers, [yarn.DIST_SET])
    folder = tmp_path_factory.mktemp("yarn")
    with yarn.running(servers, folder) as conf:
        yield Cluster(folder, conf)


def test_ingest_in_cluster_mode_takes_every_record_once(world: World, cluster: Cluster) -> None:
    records = [record() for _ in range(VALID)]
    world.send([world.encode(each) for each in records] + [b"\x01no Avro"] * INVALID)

    code, said = cluster.submit(world.settings)

    assert code == 0, said + cluster.logs()
    newest = cluster.applications()[-1]
    assert (newest["name"], newest["state"], newest["finalStatus"]) == ("sdp-ingest", "FINISHED", "SUCCEEDED")
    assert {at: fields(row) for at, row in world.valid().items()} == {
        (i % 12, i // 12): each for i, each in enumerate(records)
    }
    assert world.invalid().keys() == {(i % 12, i // 12) for i in range(VALID, VALID + INVALID)}
    for entries in world.ledger("ingest").values():
        for start, until, valid, invalid, gaps, lost in entries:
            assert until - start == valid + invalid + gaps + lost
    counted = [sum(column) for column in zip(*(e for p in world.ledger("ingest").values() for e in p), strict=True)]
    assert counted[2:] == [VALID, INVALID, 0, 0]
    assert SECRET not in said + cluster.logs()


def test_the_exit_code_of_the_job_comes_back_from_the_cluster(world: World, cluster: Cluster) -> None:
    code, said = cluster.submit(world.settings, "--set", "rules.file=conf/rules/none.yaml")
    assert code == 2, said
    assert cluster.applications()[-1]["finalStatus"] == "FAILED"
    assert "none.yaml:1: No such file" in " ".join(cluster.logs().split())


def test_sdp_stop_ends_a_job_in_cluster_mode_after_its_batch(world: World, cluster: Cluster) -> None:
    world.send([world.encode(record()) for _ in range(VALID)])
    batch_done = Path(world.settings.checkpoints_uri) / "ingest" / "commits" / "0"
    with submitted(*cluster.call(world.settings)) as process:
        until(lambda: batch_done.exists() or process.poll() is not None)
        asked = bootstrap.ask_to_stop("ingest", world.settings, world.spark)
        said, _ = process.communicate(timeout=LONGEST_S)
    assert asked.holder is not None, said + cluster.logs()
    assert process.returncode == 0, said + cluster.logs()
    newest = cluster.applications()[-1]
    assert (newest["state"], newest["finalStatus"]) == ("FINISHED", "SUCCEEDED")
    assert "ingest stopped as asked" in cluster.logs()
    assert not Path(asked.uri).exists()
    assert len(world.valid()) == sum(r[2] for rows in world.ledger("ingest").values() for r in rows) == VALID


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.1)
