"""What spark-submit is given: per target, without secrets, and with files that are whole."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines import settings as settings_module
from pipelines.adapters.submission import Submission, arguments, carry, pack
from pipelines.errors import UsageError
from pipelines.settings import Settings

CONF = {"spark.sql.session.timeZone": "UTC", "spark.hadoop.fs.s3a.secret.key": "sesame"}
SHARED = {"warehouse": "hdfs:///sdp/warehouse", "checkpoints": "hdfs:///sdp/checkpoints"}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SDP_ENV", "SDP_SETTINGS_FILE", "SDP_WAREHOUSE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SDP_HOME", str(tmp_path / "home"))


def call(target: str, tmp_path: Path, settings: Settings | None = None, **changes: Any) -> list[str]:
    wanted: dict[str, Any] = {"flags": ["--once"], "selection": ["--set", "kafka.topic=a"], "extra": [], **changes}
    submission = Submission(target=target, job="ingest", folder=tmp_path, **wanted)
    return arguments(settings or settings_module.load(**SHARED), submission, CONF, lambda: [tmp_path / "one.jar"])


def value(of: str, given: Sequence[str]) -> str:
    return given[given.index(of) + 1]


def test_local_runs_in_this_python(tmp_path: Path) -> None:
    given = call("local", tmp_path)
    assert value("--master", given) == "local[*]"
    assert "spark.sql.session.timeZone=UTC" in given
    assert given[-3:] == ["--once", "--set", "kafka.topic=a"]


@pytest.mark.parametrize("target", ["local", "yarn-client", "yarn-cluster", "kubernetes"])
def test_no_secret_is_an_argument(target: str, tmp_path: Path) -> None:
    secret = settings_module.load(
        **SHARED,
        kafka={"sasl_password": "sesame"},
        spark={"master": "k8s://x", "conf": {"spark.kubernetes.container.image": "y"}},
    )
    given = call(target, tmp_path, secret, python="/opt/python")
    assert not [argument for argument in given if "sesame" in argument]


def test_settings_travel_to_yarn_in_a_file_that_only_the_owner_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = settings_module.load(**SHARED, kafka={"sasl_password": "se'sa${m}e"}, spark={"conf": {"spark.a.b": "c"}})
    file = carry(before, tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setenv("SDP_SETTINGS_FILE", str(file))
    monkeypatch.setenv("SDP_HOME", "/elsewhere")
    after = settings_module.load()
    assert after.kafka.sasl_password is not None
    assert after.kafka.sasl_password.get_secret_value() == "se'sa${m}e"
    assert after.model_dump(exclude={"home", "dist"}) == before.model_dump(exclude={"home", "dist"})


def test_yarn_cluster_gets_code_settings_and_python(tmp_path: Path) -> None:
    given = call("yarn-cluster", tmp_path, python_archive="hdfs:///sdp/venv.tar.gz")
    assert value("--deploy-mode", given) == "cluster"
    assert value("--files", given) == f"{tmp_path}/sdp-settings.json#sdp-settings.json"
    code, environment = value("--archives", given).split(",")
    assert Path(code.removesuffix("#app")).is_file()
    assert environment == "hdfs:///sdp/venv.tar.gz#environment"
    for option in (
        "spark.pyspark.python=./environment/bin/python",
        "spark.yarn.appMasterEnv.PYTHONPATH=app",
        "spark.yarn.appMasterEnv.SDP_SETTINGS_FILE=sdp-settings.json",
        "spark.executorEnv.PYTHONPATH=app",
        "spark.yarn.maxAppAttempts=1",
    ):
        assert option in given
    assert given[-1] == "--once", "the selection is in the settings that travel"


def test_the_driver_of_yarn_client_has_this_environment_and_its_own_python(tmp_path: Path) -> None:
    given = call("yarn-client", tmp_path, python="/opt/python")
    assert "--files" not in given
    assert "spark.pyspark.python=/opt/python" in given
    assert given[-2:] == ["--set", "kafka.topic=a"]


def test_kubernetes_runs_what_the_image_holds(tmp_path: Path) -> None:
    image = ["--master", "k8s://x", "--conf", "spark.kubernetes.container.image=y"]
    given = call("kubernetes", tmp_path, extra=image)
    assert "local:///opt/sdp/jobs/ingest_logs.py" in given
    assert "--jars" not in given


@pytest.mark.parametrize("place", [None, "warehouse", "../warehouse"])
def test_a_place_of_this_machine_is_refused_on_a_cluster(place: str | None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="every node reaches"):
        call("yarn-cluster", tmp_path, settings_module.load(warehouse=place, checkpoints="/x"), python="/opt/python")


def test_yarn_must_be_told_its_python(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="SDP_PYTHON_ARCHIVE"):
        call("yarn-client", tmp_path)


@pytest.mark.parametrize("text", ["kafka.sasl_password=x", "registry={password: x}", "spark.conf={a.secret.b: x}"])
def test_a_secret_among_the_overrides_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="visible to everybody"):
        call("local", tmp_path, selection=["--set", text])


def test_jars_are_a_folder_or_uris(tmp_path: Path) -> None:
    (tmp_path / "b.jar").touch()
    (tmp_path / "a.jar").touch()
    assert value("--jars", call("local", tmp_path, jars=str(tmp_path))) == f"{tmp_path}/a.jar,{tmp_path}/b.jar"
    assert value("--jars", call("local", tmp_path, jars="hdfs:///j/*.jar")) == "hdfs:///j/*.jar"


def test_the_archive_is_whole_and_named_after_its_content(tmp_path: Path) -> None:
    first = pack(tmp_path)
    written = first.stat().st_mtime_ns
    assert pack(tmp_path) == first
    assert first.stat().st_mtime_ns == written, "a running job may still need it as it is"
    names = set(zipfile.ZipFile(first).namelist())
    assert {
        "pipelines/settings.py",
        "sdk/topics.py",
        "stack/dist.py",
        "conf/base.yaml",
        "schemas/api6-logs-value/v1.avsc",
    } <= names
    assert not [name for name in names if "__pycache__" in name]
