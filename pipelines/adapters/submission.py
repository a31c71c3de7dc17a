"""What ``spark-submit`` is given, per place where a job can run, and the files that travel with it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from pipelines.errors import UsageError
from pipelines.settings import ROOT, Settings

LOCAL, YARN_CLIENT, YARN_CLUSTER, KUBERNETES = "local", "yarn-client", "yarn-cluster", "kubernetes"

SECRET = re.compile(r"(?i)secret|password|token|access[._]?key|jaas")
"""Names that Spark itself masks (``spark.redaction.regex``), and Kafka's."""

IMAGE_HOME = "/opt/sdp"
"""Where deploy/kubernetes/Dockerfile puts the application."""

STREAMING = {"ingest": "ingest_logs.py", "index": "index_logs.py"}
"""Jobs that may run on; the others do their work and end."""
JOB_FILES = {
    **STREAMING,
    "reconcile": "reconcile_logs.py",
    "repair": "repair_logs.py",
    "complete": "complete.py",
    "quality": "quality.py",
    "maintain": "maintain.py",
    "lag": "lag.py",
}
"""Job → its file in jobs/. spark-submit.sh knows its driver by JOB.py or JOB_logs.py."""

_PACKED = ("pipelines", "sdk", "stack", "conf", "schemas")
_LOGGING = "conf/log4j2.properties"
_DRIVER_OPTIONS = "spark.driver.defaultJavaOptions"
_SETTINGS_NAME = "sdp-settings.json"
_ANYWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|/")
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Submission:
    """One call of spark-submit.sh.

    ``flags``: the job's own options. ``selection``: --env and --set as they were given. ``extra``: options for
    spark-submit, which win over ours. ``folder``: private to this call. ``jars``: folder or URIs, empty for the
    fetched ones. ``python``, ``python_archive``: what the nodes of a cluster run.
    """

    target: str
    job: str
    flags: Sequence[str]
    selection: Sequence[str]
    extra: Sequence[str]
    folder: Path
    jars: str = ""
    python: str = ""
    python_archive: str = ""


def arguments(
    settings: Settings, wanted: Submission, conf: Mapping[str, str], fetched: Callable[[], Sequence[Path]]
) -> list[str]:
    """Everything behind ``spark-submit``: options, the job's file, the job's arguments.

    ``conf``: what the session would set itself. No secret is among them: names that look like one are left out, and the
    session takes them from its settings. Raises UsageError for what can't work where the job shall run.
    """
    _refuse_visible_secrets(wanted.selection)
    if wanted.target == KUBERNETES:
        return _kubernetes(settings, wanted, conf)
    options = ["--name", f"sdp-{wanted.job}", "--driver-memory", settings.spark.driver_memory]
    options += ["--jars", _jars(wanted.jars, fetched)]
    application = [str(ROOT / "jobs" / JOB_FILES[wanted.job]), *wanted.flags]
    if wanted.target == LOCAL:
        given = {**_quiet((ROOT / _LOGGING).as_uri()), **conf, "spark.pyspark.python": sys.executable}
        options += ["--master", settings.spark.master, *_as_options(given)]
        return [*options, *wanted.extra, *application, *wanted.selection]
    yarn = [*options, *_yarn(settings, wanted, conf), *wanted.extra, *application]
    return yarn if wanted.target == YARN_CLUSTER else [*yarn, *wanted.selection]


def pack(folder: Path) -> Path:
    """The application as a zip, named after its content, so that a running job never sees it change."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(file for top in _PACKED for file in (ROOT / top).rglob("*") if _belongs(file)):
            entry = zipfile.ZipInfo(path.relative_to(ROOT).as_posix(), _ZIP_EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    target = folder / f"sdp-app-{hashlib.sha256(content.getvalue()).hexdigest()[:12]}.zip"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        beside = target.with_suffix(f".{os.getpid()}")
        beside.write_bytes(content.getvalue())
        beside.replace(target)
    return target


def carry(settings: Settings, folder: Path) -> Path:
    """All settings with their secrets, in a file that only its owner can read (``SDP_SETTINGS_FILE`` of the job)."""
    path = folder / _SETTINGS_NAME
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(_plain(settings) | {"home": str(settings.home_path), "dist": str(settings.dist_path)}, file)
    return path


def _yarn(settings: Settings, wanted: Submission, conf: Mapping[str, str]) -> list[str]:
    _require_shared_places(settings, wanted.target)
    archives, python = [f"{pack(ROOT / 'build')}#app"], wanted.python
    if wanted.python_archive:
        archives.append(f"{wanted.python_archive}#environment")
        python = python or "./environment/bin/python"
    if not python:
        raise UsageError(
            "which Python do the nodes run? Set PYSPARK_PYTHON to one that has requirements/runtime.txt installed on "
            "every node, or SDP_PYTHON_ARCHIVE to a packed virtual environment; docs/yarn.md shows both"
        )
    given = {**_quiet(f"app/{_LOGGING}"), **conf, "spark.pyspark.python": python, "spark.executorEnv.PYTHONPATH": "app"}
    given["spark.ui.enabled"] = settings.spark.conf.get("spark.ui.enabled", "true")
    given |= _attempts(wanted.job not in STREAMING or "--once" in wanted.flags)
    options = ["--master", "yarn", "--archives", ",".join(archives)]
    if wanted.target == YARN_CLIENT:
        given["spark.pyspark.driver.python"] = sys.executable
        given[_DRIVER_OPTIONS] = conf.get(_DRIVER_OPTIONS, _quiet((ROOT / _LOGGING).as_uri())[_DRIVER_OPTIONS])
        return [*options, "--deploy-mode", "client", *_as_options(given)]
    given["spark.yarn.appMasterEnv.PYTHONPATH"] = "app"
    given["spark.yarn.appMasterEnv.SDP_SETTINGS_FILE"] = _SETTINGS_NAME
    options += ["--deploy-mode", "cluster", "--files", f"{carry(settings, wanted.folder)}#{_SETTINGS_NAME}"]
    return [*options, *_as_options(given)]


def _attempts(once: bool) -> dict[str, str]:
    """A drain is repeated by whoever scheduled it; a job that runs on survives the loss of its node."""
    if once:
        return {"spark.yarn.maxAppAttempts": "1"}
    return {"spark.yarn.maxAppAttempts": "4", "spark.yarn.am.attemptFailuresValidityInterval": "1h"}


def _quiet(logging: str) -> dict[str, str]:
    """What the JVMs log; in the options that Spark puts before those on which correctness rests."""
    option = f"-Dlog4j2.configurationFile={logging}"
    return {_DRIVER_OPTIONS: option, "spark.executor.defaultJavaOptions": option}


def _kubernetes(settings: Settings, wanted: Submission, conf: Mapping[str, str]) -> list[str]:
    _require_shared_places(settings, wanted.target)
    if not settings.spark.master.startswith("k8s://") and "--master" not in wanted.extra:
        raise UsageError("which cluster? Set spark.master, for example --set spark.master=k8s://https://HOST:6443")
    if "spark.kubernetes.container.image" not in " ".join([*settings.spark.conf, *wanted.extra]):
        raise UsageError("which image? Add: -- --conf spark.kubernetes.container.image=REGISTRY/sdp:TAG")
    given = {**_quiet(f"{IMAGE_HOME}/{_LOGGING}"), **conf}
    given["spark.ui.enabled"] = settings.spark.conf.get("spark.ui.enabled", "true")
    options = ["--name", f"sdp-{wanted.job}", "--driver-memory", settings.spark.driver_memory]
    options += ["--master", settings.spark.master, "--deploy-mode", "cluster", *_as_options(given)]
    application = f"local://{IMAGE_HOME}/jobs/{JOB_FILES[wanted.job]}"
    return [*options, *wanted.extra, application, *wanted.flags, *wanted.selection]


def _jars(given: str, fetched: Callable[[], Sequence[Path]]) -> str:
    if given and not Path(given).is_dir():
        return given
    found = sorted(Path(given).glob("*.jar")) if given else fetched()
    if not found:
        raise UsageError(f"no *.jar in {given}: SDP_JARS is a folder that holds jars, or a list of URIs")
    return ",".join(str(path.resolve()) for path in found)


def _as_options(conf: Mapping[str, str]) -> list[str]:
    shown = {key: value for key, value in conf.items() if ".secretKeyRef." in key or not SECRET.search(key)}
    return [part for key, value in shown.items() for part in ("--conf", f"{key}={value}")]


def _refuse_visible_secrets(selection: Sequence[str]) -> None:
    for text in selection:
        key, _, value = text.partition("=")
        if SECRET.search(text if value.startswith("{") else key):
            variable = f"SDP_{key.upper().replace('.', '__')}"
            raise UsageError(
                f"{key} on a command line is visible to everybody on the machine; set the environment variable "
                f"{variable} instead"
            )


def _require_shared_places(settings: Settings, target: str) -> None:
    for name, place in (("warehouse", settings.warehouse), ("checkpoints", settings.checkpoints)):
        if place is None or not _ANYWHERE.match(place):
            raise UsageError(
                f"{target}: {name} must be a place that every node reaches, not {place or 'the default'}: set it in "
                f"conf/<env>.yaml or with --set {name}=hdfs:///sdp/{name}"
            )


def _belongs(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")


def _plain(value: Any) -> Any:
    match value:
        case BaseModel():
            return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value)
        case _:
            return value
