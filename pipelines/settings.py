"""Typed settings: the only reader of ``conf/`` and of the environment.

Later wins: ``conf/base.yaml`` → ``conf/<env>.yaml`` → the running local stack's addresses (``env=local`` only) → the
file that ``SDP_SETTINGS_FILE`` names → ``SDP_*`` environment variables (``SDP_KAFKA__BOOTSTRAP``) →
``--set kafka.bootstrap=…``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from pipelines.errors import InvalidSetting, UsageError


def _root() -> Path:
    above = Path(__file__).resolve().parents[1]
    return above if (above / "conf").is_dir() else Path(sys.prefix) / "share" / "sdp"


ROOT = Path(os.environ.get("SDP_ROOT", _root()))
"""Folder that holds ``conf/`` and ``schemas/``: the checkout, the unpacked application archive on a cluster, or where
``pip install`` of the package puts them."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
TopicName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$")]
IndexPrefix = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,100}$")]
_KEY = re.compile(r"[\w-]+(\.[\w-]+)*")
"""What ``--set`` takes before the ``=``."""


def _without_password(url: str) -> str:
    if "@" in url:
        text = "a URL is shown in logs and errors: give user and password as `username` and `password` of this section"
        raise PydanticCustomError("url", text)
    return url


Url = Annotated[str, AfterValidator(_without_password)]


class Section(BaseModel):
    """A group of settings; an unknown name in it is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(Section):
    """How to reach Kafka. ``options`` go to every client unchanged (Java names, for example ``security.protocol``)."""

    bootstrap: str
    topic: TopicName
    dlq_topic: TopicName
    options: dict[str, str] = Field({}, repr=False)  # may hold a password
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None


class RegistrySettings(Section):
    """Confluent-compatible schema registry."""

    url: Url
    subject: TopicName
    username: str | None = None
    password: SecretStr | None = None


class ElasticsearchSettings(Section):
    """Elasticsearch; ``batch_entries`` and ``batch_bytes`` bound one bulk request of one Spark task."""

    url: Url
    index_prefix: IndexPrefix
    shards: int = Field(ge=1, le=1024)
    replicas: int = Field(ge=0, le=10)
    batch_entries: int = Field(ge=1)
    batch_bytes: str = Field(pattern=r"^\d+(kb|mb)$")
    wan_only: bool = Field(False, description="use only this URL, as behind a load balancer; else every node is used")
    username: str | None = None
    password: SecretStr | None = None


class SpoolSettings(Section):
    """Where a producer keeps records while Kafka is away, and what happens when there is no room.

    ``folder``: default <home>/spool; each producer of a process has a folder in it, and no two processes may share one.
    ``max_bytes``, ``max_records``: of records that wait; on disk stands up to one segment more. ``fsync``: ``record``
    before each ``put`` returns (survives a loss of power), ``interval`` every ``fsync_interval_ms``, ``never``; killing
    the process loses nothing of the spool either way. ``write_ahead``: every record goes to the spool first, not only
    while Kafka is away, so that not even what is under way is lost with the process.
    """

    folder: Path | None = None
    max_bytes: int = Field(1 << 30, ge=1)
    max_records: int = Field(5_000_000, ge=1)
    segment_bytes: int = Field(16 << 20, ge=1)
    fsync: Literal["record", "interval", "never"] = "interval"
    fsync_interval_ms: int = Field(1_000, ge=1)
    write_ahead: bool = False
    when_full: Literal["block", "raise", "drop_oldest"] = "block"
    block_timeout_s: float = Field(30, ge=0)


class BreakerSettings(Section):
    """When Kafka counts as away: ``failures`` in a row.

    A failure is a record that librdkafka gave up, or ``stall_s`` seconds without any acknowledgement while records
    wait. ``open_s``: seconds until it is tried again.
    """

    failures: int = Field(5, ge=1)
    stall_s: float = Field(1, gt=0)
    open_s: float = Field(2, gt=0)


class ProducerSettings(Section):
    """What a producing service may set.

    ``profile``: tuning of docs/producer.md; ``options`` are librdkafka's own names and win over it.
    ``retry_first_s``, ``retry_longest_s``: pause before a record that librdkafka gave up is sent again; it doubles,
    with jitter. ``window``: records that may be unacknowledged while the spool is sent. ``schema_cache``: folder that
    keeps schemas for times without a registry, default <home>/schemas.
    """

    profile: Literal["reliable", "throughput"] = "reliable"
    options: dict[str, str | int | float | bool] = Field({}, repr=False)  # may hold a password
    on_invalid: Literal["raise", "send"] = "raise"
    retry_first_s: float = Field(0.1, gt=0)
    retry_longest_s: float = Field(10, gt=0)
    window: int = Field(10_000, ge=1)
    schema_cache: Path | None = None
    spool: SpoolSettings = SpoolSettings()
    breaker: BreakerSettings = BreakerSettings()


class MetastoreSettings(Section):
    """Hive metastore over thrift; ``database`` holds all tables."""

    uri: str
    database: Identifier


class RulesSettings(Section):
    """The rule set that decides between valid and invalid.

    ``file``: a path, which starts at the application root unless it is absolute, or a URI (``hdfs:///sdp/rules.yaml``).
    """

    file: str


class JobSettings(Section):
    """One streaming job.

    ``trigger_s``: seconds from the start of one drain to the next. ``retry_for_s``: how long a batch is tried again
    with growing pauses while infrastructure is away, before the job stops with exit code 3.
    """

    trigger_s: float = Field(gt=0)
    max_offsets_per_trigger: int = Field(ge=1)
    retry_for_s: float = Field(ge=0)


class RepairSettings(Section):
    """What `sdp repair` may do to the servers.

    ``rate``: records a second at most, 0 for no limit. ``chunk``: records that are written and audited together.
    ``retry_for_s``: how long it waits for a server that is away.
    """

    rate: float = Field(1_000, ge=0, allow_inf_nan=False)
    chunk: int = Field(5_000, ge=1, le=50_000)
    retry_for_s: float = Field(900, ge=0)


class MonitoringSettings(Section):
    """Where a job shows its metrics (docs/metrics.md).

    ``metrics_port``: a job that goes on serves ``/metrics`` there, 0 for not at all; two jobs on one host need two.
    ``metrics_address``: of the interface. ``pushgateway``: URL of a Prometheus Pushgateway that takes the metrics of a
    ``--once`` run when it ends, empty for none.
    """

    metrics_port: int = Field(0, ge=0, le=65535)
    metrics_address: str = Field("0.0.0.0", min_length=1)  # noqa: S104 Prometheus comes from another host
    pushgateway: str = Field("", pattern=r"^(https?://[^\s/@]+(/\S*)?)?$")


class ReconcileSettings(Section):
    """The nightly proof (docs/reconciliation.md).

    ``grace_minutes``: how long a record may be on its way: until then it is no discrepancy, and its hour not settled.
    ``investigate_share``, ``escalate_share``: of discrepant records, 0 to 1; from the first on, and above the second.
    ``retry_for_s``: how long a run is tried again while infrastructure is away, before it fails with exit code 3.
    ``block_offsets``: offsets of a block; a difference is narrowed down to blocks before records are read.
    """

    grace_minutes: float = Field(15, gt=0)
    investigate_share: float = Field(0.001, gt=0, le=1)
    escalate_share: float = Field(0.01, gt=0, le=1)
    retry_for_s: float = Field(300, ge=0)
    block_offsets: int = Field(4096, ge=16)


class SparkSettings(Section):
    """How to start Spark when nobody else does (``spark-submit`` arguments win). ``conf`` is passed through."""

    master: str
    driver_memory: str = Field(pattern=r"^\d+[mg]$")
    conf: dict[str, str] = {}


class Ports(Section):
    """Ports of the local stack; more brokers or nodes take the ones above. 0 means: any free port.

    A port that no setting gives stays what it was at the last start; these are the ones of the first.
    """

    kafka: int = Field(9092, ge=0, le=65535)
    kafka_controller: int = Field(9192, ge=0, le=65535)
    elasticsearch: int = Field(9200, ge=0, le=65535)
    elasticsearch_transport: int = Field(9300, ge=0, le=65535)
    registry: int = Field(8081, ge=0, le=65535)
    metastore: int = Field(9083, ge=0, le=65535)


class StackSettings(Section):
    """Size and ports of the local stack. ``airflow_port``: of `sdp airflow`, 0 for any free one."""

    brokers: int = Field(1, ge=1, le=3)
    elasticsearch_nodes: int = Field(1, ge=1, le=3)
    elasticsearch_heap: str = Field("1g", pattern=r"^\d+[mg]$")
    ports: Ports = Ports()
    airflow_port: int = Field(8080, ge=0, le=65535)


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="SDP_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    env: str = "local"
    home: Path = Path(".sdp")
    dist: Path | None = Field(None, description="fetched jars and servers; default <home>/dist")
    warehouse: str | None = Field(None, description="folder or URI of the tables; default <home>/warehouse")
    checkpoints: str | None = Field(None, description="folder or URI of the checkpoints; default <home>/checkpoints")
    kafka: KafkaSettings
    registry: RegistrySettings
    elasticsearch: ElasticsearchSettings
    metastore: MetastoreSettings
    rules: RulesSettings
    ingest: JobSettings
    index: JobSettings
    spark: SparkSettings
    stack: StackSettings
    producer: ProducerSettings = ProducerSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    repair: RepairSettings = RepairSettings()

    @field_validator("home")
    @classmethod
    def _can_be_a_folder(cls, home: Path) -> Path:
        nearest = next(path for path in (home, *home.absolute().parents) if os.path.exists(path))  # noqa: PTH110 never raises
        if not nearest.is_dir():
            raise PydanticCustomError("folder", "{nearest} is not a folder", {"nearest": str(nearest)})
        return home

    @property
    def home_path(self) -> Path:
        return self.home.resolve()

    @property
    def dist_path(self) -> Path:
        return (self.dist or self.home_path / "dist").resolve()

    @property
    def warehouse_uri(self) -> str:
        return self.warehouse or str(self.home_path / "warehouse")

    @property
    def checkpoints_uri(self) -> str:
        return self.checkpoints or str(self.home_path / "checkpoints")

    @property
    def rules_uri(self) -> str:
        """Where the rule file is: a path of this machine, or a URI as it was given."""
        file = str(self.rules.file)
        return file if is_uri(file) else str(ROOT / file)

    @property
    def rules_path(self) -> Path:
        """The same for whoever reads files of this machine only. Raises UsageError for a URI."""
        if is_uri(self.rules_uri):
            raise UsageError(f"rules.file is {self.rules_uri}: this needs a path on this machine")
        return Path(self.rules_uri)

    @property
    def spool_path(self) -> Path:
        return (self.producer.spool.folder or self.home_path / "spool").resolve()

    @property
    def schema_cache_path(self) -> Path:
        return (self.producer.schema_cache or self.home_path / "schemas").resolve()

    @property
    def stack_path(self) -> Path:
        return self.home_path / "stack"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 pydantic names the arguments
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _FileSource(settings_cls, init_settings, env_settings)


class _FileSource(PydanticBaseSettingsSource):
    """``conf/``, the running local stack, and the file that came along with a job on a cluster; lowest in rank."""

    def __init__(self, settings_cls: type[BaseSettings], *higher: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        file = os.environ.get("SDP_SETTINGS_FILE")
        self.carried = read_yaml(Path(file)) if file else {}
        chosen = dict(self.carried)
        for source in reversed(higher):
            chosen.update(source())
        self.env = str(chosen.get("env", "local"))
        self.home = Path(str(chosen.get("home", ".sdp")))

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # __call__ gives all values at once

    def __call__(self) -> dict[str, Any]:
        overlay = ROOT / "conf" / f"{self.env}.yaml"
        known = sorted(p.stem for p in (ROOT / "conf").glob("*.yaml") if p.stem not in {"base", "topics"})
        if self.env not in known:
            raise InvalidSetting(f"no environment {self.env!r}: expected {overlay}; there are {', '.join(known)}")
        layers = [read_yaml(ROOT / "conf" / "base.yaml"), read_yaml(overlay)]
        if self.env == "local":
            layers.append(_running_stack(self.home))
        layers.append(self.carried)
        merged: dict[str, Any] = {}
        for layer in layers:
            merged = merge(merged, layer)
        return merged


def load(env: str | None = None, overrides: Iterable[str] = (), **values: Any) -> Settings:
    """Parse all sources once.

    ``overrides`` are ``key.path=value`` texts as given to ``--set``; ``values`` are nested dicts of the same rank.
    Raises InvalidSetting with every wrong key in one message.
    """
    _refuse_unknown_sections()
    chosen: dict[str, Any] = dict(values)
    for text in overrides:
        chosen = merge(chosen, _nested(text))
    if env is not None:
        chosen["env"] = env
    try:
        return Settings(**chosen)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidSetting("; ".join(problems)) from None
    except SettingsError as error:  # an environment variable that had to be JSON
        raise InvalidSetting(str(error)) from None


def is_uri(place: str) -> bool:
    """Whether a place says which file system it is on: ``hdfs://…``, ``file:/…``."""
    return re.match(r"[a-z][a-z0-9+.-]+:/", place) is not None


def _refuse_unknown_sections() -> None:
    """A misspelt section in a variable would be ignored without a word: SDP_KAFAK__TOPIC."""
    for name in os.environ:
        section = name.removeprefix("SDP_").partition("__")[0].lower()
        if name.startswith("SDP_") and "__" in name and section not in Settings.model_fields:
            raise InvalidSetting(f"environment variable {name}: there is no section {section!r} in the settings")


def read_yaml(path: Path) -> dict[str, Any]:
    """One YAML file as a mapping; an empty file is an empty mapping. Raises InvalidSetting."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidSetting(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise InvalidSetting(f"{path}: expected a mapping at the top, found {type(content).__name__}")
    return content


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of two mappings; ``high`` wins."""
    out = dict(low)
    for key, value in high.items():
        below = out.get(key)
        out[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return out


def _nested(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not _KEY.fullmatch(key):
        shown = re.split(r"[^\w.-]", text, maxsplit=1)[0]  # what follows may be a password
        raise InvalidSetting(f"--set takes key.path=value; wrong is the one that begins with {shown!r}")
    try:
        nested: Any = yaml.safe_load(value) if value else ""
    except (ValueError, yaml.YAMLError):
        raise InvalidSetting(f"--set {key}: the value is not YAML; put it in quotes") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return dict(nested)


def _running_stack(home: Path) -> dict[str, Any]:
    """Addresses that `sdp stack up` left in ``<home>/stack/endpoints.json``, as settings."""
    path = home / "stack" / "endpoints.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        "kafka": {"bootstrap": found["kafka"]},
        "registry": {"url": found["registry"]},
        "elasticsearch": {"url": found["elasticsearch"]},
        "metastore": {"uri": found["metastore"]},
        "warehouse": found["warehouse"],
    }


def under_spark_submit() -> bool:
    """Whether ``spark-submit`` started this process: then master, memory and jars are its business."""
    return "PYSPARK_GATEWAY_PORT" in os.environ
