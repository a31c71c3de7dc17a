"""Every file in conf/ is loaded and compared whole; who wins over whom; what is refused; what is never shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import settings as settings_module
from pipelines.contracts.rule_file import load_rules
from pipelines.errors import InvalidSetting, UsageError
from pipelines.quality.expectation import load_expectations
from pipelines.settings import ROOT, Settings, load, merge

BASE: dict[str, Any] = {
    "kafka": {"bootstrap": "localhost:9092", "topic": "api6-logs", "dlq_topic": "api6-logs-dlq"},
    "registry": {"url": "http://localhost:8081/apis/ccompat/v7", "subject": "api6-logs-value"},
    "elasticsearch": {
        "url": "http://localhost:9200",
        "index_prefix": "api6-logs-valid",
        "shards": 2,
        "replicas": 1,
        "batch_entries": 10000,
        "batch_bytes": "8mb",
    },
    "metastore": {"uri": "thrift://localhost:9083", "database": "sdp"},
    "rules": {"file": "conf/rules/api6-logs.yaml"},
    "ingest": {"trigger_s": 900, "max_offsets_per_trigger": 1_000_000, "retry_for_s": 900},
    "index": {"trigger_s": 10, "max_offsets_per_trigger": 1_000_000, "retry_for_s": 3600},
    "quality": {
        "file": "conf/quality/api6-logs.yaml",
        "history_days": 7,
        "min_history_days": 3,
        "volume_tolerance": 0.5,
        "max_server_error_share": 0.05,
        "max_status_shift": 0.1,
        "max_refused_share": 0.05,
    },
    "reconcile": {
        "grace_minutes": 15,
        "investigate_share": 0.001,
        "escalate_share": 0.01,
        "retry_for_s": 300,
        "block_offsets": 4096,
    },
    "maintenance": {
        "table_days": 730,
        "ledger_days": 2557,
        "hot_days": 30,
        "delete_days": 90,
        "vacuum_hours": 168,
        "leftover_days": 30,
    },
    "lag": {"max_records": 100_000, "max_age_s": 3600},
    "spark": {"master": "local[*]", "driver_memory": "2g", "conf": {}},
    "stack": {"brokers": 1, "elasticsearch_nodes": 1},
}

LOCAL: dict[str, Any] = {
    "env": "local",
    "home": ".sdp",
    "dist": None,
    "warehouse": None,
    "checkpoints": None,
    "kafka": BASE["kafka"] | {"options": {}, "sasl_username": None, "sasl_password": None},
    "registry": BASE["registry"] | {"username": None, "password": None},
    "elasticsearch": BASE["elasticsearch"] | {"wan_only": False, "username": None, "password": None},
    "metastore": BASE["metastore"],
    "rules": BASE["rules"],
    "ingest": BASE["ingest"],
    "index": BASE["index"],
    "quality": BASE["quality"],
    "reconcile": BASE["reconcile"],
    "maintenance": BASE["maintenance"]
    | {"drop_open": False, "settle_hours": 2, "small_file_mb": 64, "min_small_files": 8, "max_partitions": 500},
    "lag": BASE["lag"],
    "spark": BASE["spark"],
    "stack": {
        "brokers": 1,
        "elasticsearch_nodes": 1,
        "elasticsearch_heap": "1g",
        "ports": {
            "kafka": 9092,
            "kafka_controller": 9192,
            "elasticsearch": 9200,
            "elasticsearch_transport": 9300,
            "registry": 8081,
            "metastore": 9083,
        },
        "airflow_port": 8080,
    },
    "producer": {
        "profile": "reliable",
        "options": {},
        "on_invalid": "raise",
        "retry_first_s": 0.1,
        "retry_longest_s": 10,
        "window": 10_000,
        "schema_cache": None,
        "spool": {
            "folder": None,
            "max_bytes": 1_073_741_824,
            "max_records": 5_000_000,
            "segment_bytes": 16_777_216,
            "fsync": "interval",
            "fsync_interval_ms": 1_000,
            "write_ahead": False,
            "when_full": "block",
            "block_timeout_s": 30,
        },
        "breaker": {"failures": 5, "stall_s": 1, "open_s": 2},
    },
    "monitoring": {"metrics_port": 0, "metrics_address": "0.0.0.0", "pushgateway": ""},
    "repair": {"rate": 1_000, "chunk": 5_000, "retry_for_s": 900},
}

WEEK_S = 604_800
RULES: list[dict[str, Any]] = [
    {
        "id": "request_id_blank",
        "field": "request_id",
        "check": "required",
        "severity": "critical",
        "message": "request_id must not be blank",
    },
    {
        "id": "request_id_length",
        "field": "request_id",
        "check": "length",
        "min": 0,
        "max": 128,
        "severity": "critical",
        "message": "request_id must have at most 128 characters",
    },
    {
        "id": "request_id_control",
        "field": "request_id",
        "check": "pattern",
        "regex": r"[^\x00-\x1f]*",
        "whole": True,
        "severity": "critical",
        "message": "request_id must not hold control characters",
    },
    {
        "id": "status_code_range",
        "field": "status_code",
        "check": "range",
        "min": 100,
        "max": 599,
        "severity": "critical",
        "message": "status_code must be within 100 and 599",
    },
    {
        "id": "http_method_known",
        "field": "http_method",
        "check": "one_of",
        "values": ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"],
        "severity": "critical",
        "message": "http_method must be a method of RFC 9110 or PATCH, in capitals",
    },
    {
        "id": "api_endpoint_slash",
        "field": "api_endpoint",
        "check": "pattern",
        "regex": "^/",
        "whole": False,
        "severity": "critical",
        "message": "api_endpoint must start with /",
    },
    {
        "id": "api_endpoint_length",
        "field": "api_endpoint",
        "check": "length",
        "min": 1,
        "max": 2048,
        "severity": "critical",
        "message": "api_endpoint must have 1 to 2048 characters",
    },
    {
        "id": "response_time_negative",
        "field": "response_time_ms",
        "check": "range",
        "min": 0,
        "max": None,
        "severity": "critical",
        "message": "response_time_ms must not be negative",
    },
    {
        "id": "payload_size_negative",
        "field": "payload_size",
        "check": "range",
        "min": 0,
        "max": None,
        "severity": "critical",
        "message": "payload_size must not be negative",
    },
    {
        "id": "client_ip_valid",
        "field": "client_ip",
        "check": "ip",
        "severity": "critical",
        "message": "client_ip must be an IPv4 or IPv6 address",
    },
    {
        "id": "timestamp_window",
        "field": "timestamp",
        "check": "time_window",
        "before_s": WEEK_S,
        "after_s": 3600,
        "severity": "critical",
        "message": "timestamp must lie within 7 days before and 1 hour after the Kafka timestamp",
    },
    {
        "id": "user_agent_length",
        "field": "user_agent",
        "check": "length",
        "min": 1,
        "max": 1024,
        "severity": "warning",
        "message": "user_agent should be null or have 1 to 1024 characters",
    },
    {
        "id": "error_message_length",
        "field": "error_message",
        "check": "length",
        "min": 1,
        "max": 8192,
        "severity": "warning",
        "message": "error_message should be null or have 1 to 8192 characters",
    },
]

DATE = {"type": "date", "format": "epoch_millis||strict_date_optional_time"}
MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "_source": {"enabled": True},
    "properties": {
        "@timestamp": DATE,
        "timestamp": {"type": "long"},
        "request_id": {"type": "keyword", "ignore_above": 1024},
        "api_endpoint": {"type": "keyword", "ignore_above": 2048},
        "http_method": {"type": "keyword"},
        "status_code": {"type": "integer"},
        "response_time_ms": {"type": "integer"},
        "client_ip": {"type": "ip"},
        "user_agent": {"type": "keyword", "ignore_above": 1024},
        "payload_size": {"type": "integer"},
        "error_message": {"type": "keyword", "ignore_above": 8192},
        "warnings": {"type": "keyword"},
        "schema_id": {"type": "integer"},
        "content_hash": {"type": "long"},
        "kafka_topic": {"type": "keyword"},
        "kafka_partition": {"type": "integer"},
        "kafka_offset": {"type": "long"},
        "kafka_timestamp": DATE,
    },
}

TOPICS: dict[str, Any] = {
    "layers": {"raw": "7d", "bronze": "90d", "silver": "2y", "gold": "7y"},
    "defaults": {
        "replication": 3,
        "config": {
            "cleanup.policy": "delete",
            "retention.bytes": "-1",
            "min.insync.replicas": "2",
            "compression.type": "snappy",
        },
    },
    "topics": [
        {
            "setting": "topic",
            "layer": "raw",
            "partitions": 12,
            "config": {"compression.type": "gzip", "max.message.bytes": str(4 * 2**20)},
        },
        {
            "setting": "dlq_topic",
            "layer": "raw",
            "partitions": 12,
            "keyed": False,
            "config": {"compression.type": "gzip", "max.message.bytes": str(8 * 2**20)},
        },
        *(
            {"name": f"raw-{kind}", "layer": "raw", "partitions": 6}
            for kind in ("events", "transactions", "system-events", "metrics", "logs")
        ),
        {"name": "bronze-events", "layer": "bronze", "partitions": 6},
        {"name": "silver-events", "layer": "silver", "partitions": 6},
        {"name": "gold-metrics", "layer": "gold", "partitions": 6},
        {"name": "dlq-events", "layer": "raw", "partitions": 6, "keyed": False},
        {"name": "events.iot.sensors", "layer": "raw", "partitions": 12},
        {"name": "events.clickstream", "layer": "raw", "partitions": 24},
        {"name": "events.transactions", "layer": "raw", "partitions": 12},
        {"name": "events.dlq", "layer": "raw", "partitions": 6, "keyed": False},
    ],
}


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"]
FIELDS = ["timestamp", "request_id", "api_endpoint", "http_method", "status_code", "response_time_ms"]
STAMPS = ["event_time", "kafka_partition", "kafka_offset", "kafka_timestamp", "schema_id", "content_hash"]
BETWEEN, LENGTH = "column_values_to_be_between", "column_value_lengths_to_be_between"
QUALITY: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("has_rows", "rows", "critical", "table_row_count_to_be_between", {"min_value": 1}),
    *(
        (f"present_{name}", "rows", "critical", "column_values_to_not_be_null", {"column": name})
        for name in [*FIELDS, "client_ip", "payload_size"]
    ),
    *(
        (f"stamped_{name}", "rows", "critical", "column_values_to_not_be_null", {"column": name})
        for name in [*STAMPS, "batch_id", "ingested_at"]
    ),
    ("hours_present", "hours", "critical", BETWEEN, {"column": "rows", "min_value": 1}),
    (
        *("status_code_range", "rows", "critical", BETWEEN),
        {"column": "status_code", "min_value": 100, "max_value": 599},
    ),
    (
        *("http_method_known", "rows", "critical", "column_values_to_be_in_set"),
        {"column": "http_method", "value_set": METHODS},
    ),
    (
        *("api_endpoint_slash", "rows", "critical", "column_values_to_match_regex"),
        {"column": "api_endpoint", "regex": "^/"},
    ),
    ("request_id_length", "rows", "critical", LENGTH, {"column": "request_id", "min_value": 1, "max_value": 128}),
    *(
        (f"not_negative_{name}", "rows", "critical", BETWEEN, {"column": name, "min_value": 0})
        for name in ("response_time_ms", "payload_size")
    ),
    (
        *("response_time_plausible", "rows", "warning", BETWEEN),
        {"column": "response_time_ms", "max_value": 600_000, "mostly": 0.999},
    ),
    (
        *("payload_size_plausible", "rows", "warning", BETWEEN),
        {"column": "payload_size", "max_value": 1_000_000_000, "mostly": 0.999},
    ),
    (
        *("in_partition", "rows", "critical", BETWEEN),
        {"column": "ms_into_hour", "min_value": 0, "max_value": 3_600_000, "strict_max": True},
    ),
    (
        *("event_time_agrees", "rows", "critical", BETWEEN),
        {"column": "event_time_off_ms", "min_value": 0, "max_value": 0},
    ),
    ("request_id_unique", "repeated_ids", "critical", BETWEEN, {"column": "most_in_an_hour", "max_value": 1}),
    ("request_id_unique_over_hours", "repeated_ids", "warning", BETWEEN, {"column": "hours", "max_value": 1}),
    ("volume_not_low", "rows", "critical", "table_row_count_to_be_between", {"min_value": "fewest_rows"}),
    ("volume_not_high", "rows", "warning", "table_row_count_to_be_between", {"max_value": "most_rows"}),
    (
        *("refused_share", "records", "critical", "column_max_to_be_between"),
        {"column": "refused_share", "max_value": "max_refused_share"},
    ),
    (
        *("server_errors", "rows", "critical", BETWEEN),
        {"column": "status_code", "max_value": 499, "mostly": "least_share_below_500"},
    ),
    (
        *("status_codes_as_usual", "status_classes", "warning", "column_sum_to_be_between"),
        {"column": "moved", "max_value": "max_status_shift"},
    ),
]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No SDP_ variable of whoever runs the tests, and no running stack."""
    for name in [name for name in os.environ if name.startswith("SDP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


# The files as they ship


def test_these_are_all_files_of_conf() -> None:
    """A new file in conf/ needs a test here that compares it whole."""
    found = {str(p.relative_to(ROOT / "conf")) for p in (ROOT / "conf").rglob("*") if p.is_file()}
    assert found == {
        "base.yaml",
        "local.yaml",
        "topics.yaml",
        "quality/api6-logs.yaml",
        "log4j2.properties",
        "recipes/json-instead-of-avro.yaml",
        "recipes/no-header.yaml",
        "recipes/trailing-bytes.yaml",
        "recipes/upper-case-methods.yaml",
        "rules/api6-logs.yaml",
        "elasticsearch/api6-logs-valid.json",
    }


def test_base_and_local() -> None:
    assert yaml.safe_load((ROOT / "conf" / "base.yaml").read_text(encoding="utf-8")) == BASE
    assert load("local").model_dump(mode="json") == LOCAL
    assert load() == load("local")


def test_topics() -> None:
    assert settings_module.read_yaml(ROOT / "conf" / "topics.yaml") == TOPICS


def test_rules() -> None:
    text = {"request_id", "api_endpoint", "http_method", "client_ip", "user_agent", "error_message"}
    number = {"timestamp", "status_code", "response_time_ms", "payload_size"}
    fields = dict.fromkeys(text, "text") | dict.fromkeys(number, "number")
    assert load_rules(load().rules_path, fields).model_dump(mode="json") == {
        "subject": "api6-logs-value",
        "personal": ["client_ip", "user_agent"],
        "rules": [rule | {"owner": "api6-platform"} for rule in RULES],
    }


def test_expectations() -> None:
    found = load_expectations(ROOT / load().quality.file)
    assert [(one.id, one.of, one.severity, f"{one.type}", one.arguments) for one in found] == [
        (name, of, severity, f"expect_{expect}", arguments) for name, of, severity, expect, arguments in QUALITY
    ]


def test_elasticsearch_mapping() -> None:
    path = ROOT / "conf" / "elasticsearch" / "api6-logs-valid.json"
    assert json.loads(path.read_text(encoding="utf-8")) == MAPPING


def test_the_mapping_keeps_every_text_that_the_rules_let_through() -> None:
    """A keyword longer than ignore_above is stored but can't be found or counted."""
    longest = {rule["field"]: rule["max"] for rule in RULES if rule["check"] == "length"}
    for field, characters in longest.items():
        assert MAPPING["properties"][field]["ignore_above"] >= characters


def test_log4j() -> None:
    lines = (ROOT / "conf" / "log4j2.properties").read_text(encoding="utf-8").splitlines()
    batch = "org.apache.spark.sql.execution.streaming.MicroBatchExecution"
    assert dict(line.split(" = ", 1) for line in lines if line and not line.startswith("#")) == {
        "rootLogger.level": "error",
        "rootLogger.appenderRef.stderr.ref": "console",
        "appender.console.type": "Console",
        "appender.console.name": "console",
        "appender.console.target": "SYSTEM_ERR",
        "appender.console.layout.type": "PatternLayout",
        "appender.console.layout.pattern": "%d{yyyy-MM-dd'T'HH:mm:ss.SSS'Z'}{UTC} %p %c{1}: %m%n%ex{short}",
        "logger.microbatch.name": batch,
        "logger.microbatch.level": "off",
        "logger.shell.name": "org.apache.spark.api.python.PythonGatewayServer",
        "logger.shell.level": "error",
    }


def test_places_follow_from_home() -> None:
    found = load(home=Path("/srv/sdp"))
    assert (found.dist_path, found.stack_path) == (Path("/srv/sdp/dist"), Path("/srv/sdp/stack"))
    assert (found.warehouse_uri, found.checkpoints_uri) == ("/srv/sdp/warehouse", "/srv/sdp/checkpoints")
    given = load(home=Path("/srv/sdp"), warehouse="s3a://w", checkpoints="hdfs:///c", rules={"file": "/etc/r.yaml"})
    assert (given.warehouse_uri, given.checkpoints_uri) == ("s3a://w", "hdfs:///c")
    assert given.rules_path == Path("/etc/r.yaml")
    assert load().rules_uri == str(ROOT / "conf" / "rules" / "api6-logs.yaml")


@pytest.mark.parametrize(
    "uri", ["hdfs://namenode:8020/sdp/r.yaml", "hdfs:///sdp/r.yaml", "file:/etc/r.yaml", "s3a://b/r"]
)
def test_the_rule_file_may_be_a_uri(uri: str) -> None:
    assert load(overrides=[f"rules.file={uri}"]).rules_uri == uri
    with pytest.raises(UsageError, match="needs a path on this machine"):
        _ = load(overrides=[f"rules.file={uri}"]).rules_path


# Who wins


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A conf/ of our own: base.yaml says ``base`` everywhere."""
    folder = tmp_path / "conf"
    folder.mkdir()
    base = merge(BASE, {"kafka": {"bootstrap": "base", "topic": "base"}, "registry": {"url": "base"}})
    (folder / "base.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
    (folder / "local.yaml").write_text("", encoding="utf-8")
    (folder / "prod.yaml").write_text("kafka: {bootstrap: overlay}", encoding="utf-8")
    (folder / "topics.yaml").write_text("topics: []", encoding="utf-8")
    monkeypatch.setattr(settings_module, "ROOT", tmp_path)
    return folder


def running_stack(home: Path) -> None:
    endpoints = {
        "kafka": "endpoints",
        "registry": "http://endpoints",
        "elasticsearch": "http://endpoints",
        "metastore": "thrift://endpoints",
        "warehouse": "/endpoints",
    }
    (home / "stack").mkdir(parents=True)
    (home / "stack" / "endpoints.json").write_text(json.dumps(endpoints), encoding="utf-8")


def test_each_source_wins_over_the_ones_before_it(conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bootstrap(*overrides: str) -> str:
        found = load("local", overrides).kafka
        assert found.topic == "base"  # nobody else's key is touched
        return found.bootstrap

    assert bootstrap() == "base"
    (conf / "local.yaml").write_text("kafka: {bootstrap: overlay}", encoding="utf-8")
    assert bootstrap() == "overlay"
    running_stack(tmp_path / ".sdp")
    assert bootstrap() == "endpoints"
    carried = tmp_path / "carried.json"
    carried.write_text('{"kafka": {"bootstrap": "carried"}}', encoding="utf-8")
    monkeypatch.setenv("SDP_SETTINGS_FILE", str(carried))
    assert bootstrap() == "carried"
    monkeypatch.setenv("SDP_KAFKA__BOOTSTRAP", "environment")
    assert bootstrap() == "environment"
    assert bootstrap("kafka.bootstrap=set") == "set"
    assert bootstrap("kafka.bootstrap=set", "kafka.bootstrap=last") == "last"


def test_all_addresses_of_a_running_stack_are_taken(tmp_path: Path) -> None:
    running_stack(tmp_path / ".sdp")
    found = load()
    assert found.kafka.bootstrap == "endpoints"
    assert (found.registry.url, found.elasticsearch.url) == ("http://endpoints", "http://endpoints")
    assert (found.metastore.uri, found.warehouse_uri) == ("thrift://endpoints", "/endpoints")


def test_a_running_stack_is_found_in_the_home_that_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running_stack(tmp_path / "other")
    assert load().kafka.bootstrap == "localhost:9092"
    assert load(overrides=[f"home={tmp_path / 'other'}"]).kafka.bootstrap == "endpoints"
    monkeypatch.setenv("SDP_HOME", str(tmp_path / "other"))
    assert load().kafka.bootstrap == "endpoints"


def test_a_running_stack_means_nothing_to_another_environment(conf: Path, tmp_path: Path) -> None:
    running_stack(tmp_path / ".sdp")
    assert load("prod").kafka.bootstrap == "overlay"


def test_the_environment_is_chosen_by_argument_then_variable_then_carried_file(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load().env == "local"
    carried = tmp_path / "carried.json"
    carried.write_text('{"env": "prod"}', encoding="utf-8")
    monkeypatch.setenv("SDP_SETTINGS_FILE", str(carried))
    assert (load().env, load().kafka.bootstrap) == ("prod", "overlay")
    monkeypatch.setenv("SDP_ENV", "local")
    assert (load().env, load().kafka.bootstrap) == ("local", "base")
    assert (load("prod").env, load("prod").kafka.bootstrap) == ("prod", "overlay")


def test_values_of_the_command_line_are_yaml() -> None:
    found = load(overrides=["index.trigger_s=2.5", "elasticsearch.wan_only=true", "spark.conf={a: b, c: 'd=e'}"])
    assert found.index.trigger_s == 2.5
    assert found.elasticsearch.wan_only is True
    assert found.spark.conf == {"a": "b", "c": "d=e"}


def test_settings_of_one_section_come_from_several_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDP_KAFKA__TOPIC", "from-environment")
    found = load(overrides=["kafka.bootstrap=b:1"], kafka={"dlq_topic": "from-call"}).kafka
    assert (found.topic, found.bootstrap, found.dlq_topic) == ("from-environment", "b:1", "from-call")


# What is refused


@pytest.mark.parametrize("name", ["", "nowhere", "base", "topics", "../conf/local", "Local"])
def test_an_unknown_environment_is_refused_and_the_known_ones_are_named(conf: Path, name: str) -> None:
    with pytest.raises(InvalidSetting, match=r"no environment .*there are local, prod"):
        load(name)


def test_an_unknown_key_is_refused_and_named(monkeypatch: pytest.MonkeyPatch, conf: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"kafka\.bootstrp: Extra inputs"):
        load(overrides=["kafka.bootstrp=x"])
    with pytest.raises(InvalidSetting, match="kafak: Extra inputs"):
        load(overrides=["kafak.bootstrap=x"])
    (conf / "prod.yaml").write_text("elastisearch: {replicas: 2}\nindex: {trigger: 1}", encoding="utf-8")
    with pytest.raises(InvalidSetting, match=r"index.trigger: Extra.*elastisearch: Extra") as caught:
        load("prod")
    assert str(caught.value).count("Extra inputs") == 2
    monkeypatch.setenv("SDP_STACK__PORTS__KAFKAA", "1")
    with pytest.raises(InvalidSetting, match=r"stack\.ports\.kafkaa: Extra inputs"):
        load()


def test_all_wrong_keys_come_in_one_message() -> None:
    with pytest.raises(InvalidSetting) as caught:
        load(overrides=["elasticsearch.shards=0", "ingest.trigger_s=never", "stack.brokers=4", "kafka.x.y=1"])
    for key in ("elasticsearch.shards", "ingest.trigger_s", "stack.brokers", "kafka.x"):
        assert f"{key}: " in str(caught.value)


@pytest.mark.parametrize("text", ["kafka.topic", "=x", ".topic=x", "kafka..topic=x", "kafka.=x", ""])
def test_what_is_no_key_and_value_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"--set takes key\.path=value"):
        load(overrides=[text])


@pytest.mark.parametrize("separator", [":", " ", "/"])
@pytest.mark.parametrize("secret", ["hunter2", "hunter=2", "hunter2=="])
def test_what_may_be_a_password_is_not_shown(separator: str, secret: str) -> None:
    with pytest.raises(InvalidSetting, match=r"--set takes key\.path=value.*'kafka\.sasl_password'") as caught:
        load(overrides=[f"kafka.sasl_password{separator}{secret}"])
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("value", ["[x", "%x", "@x", "'x", "{a", "2026-13-01"])
def test_a_value_that_is_no_yaml_is_refused_but_not_shown(value: str) -> None:
    with pytest.raises(InvalidSetting, match=r"--set kafka\.sasl_password: ") as caught:
        load(overrides=[f"kafka.sasl_password={value}"])
    assert value not in str(caught.value)


def test_a_variable_that_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDP_SPARK__CONF", "a=b")
    with pytest.raises(InvalidSetting, match="spark"):
        load()


@pytest.mark.parametrize("content", ["kafka: [", "- a", "just text", b"\xff\xfe\xff"])
def test_a_file_that_can_not_be_read_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes
) -> None:
    path = tmp_path / "carried.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv("SDP_SETTINGS_FILE", str(path))
    with pytest.raises(InvalidSetting, match=r"carried\.yaml: "):
        load()


def test_a_file_that_is_missing_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDP_SETTINGS_FILE", str(tmp_path / "missing.yaml"))
    with pytest.raises(InvalidSetting, match=r"missing\.yaml"):
        load()


NAMES = {
    "metastore.database": ["sdp", "s", "sdp_2", "a" * 63],
    "kafka.topic": ["api6-logs", "A.b_c-9", "7"],
    "kafka.dlq_topic": ["x"],
    "registry.subject": ["api6-logs-value"],
    "elasticsearch.index_prefix": ["api6-logs-valid", "7", "a" * 101],
}
HOSTILE = [
    "",
    " ",
    "a b",
    "a'b",
    'a"b',
    "a`b",
    "a;b",
    "a/b",
    "a\\b",
    "../a",
    "a\n",
    "\na",
    "a\x00",
    "ä",
    "-a",
    ".a",
    "_a",
    "*",
    "a,b",
    "a{b}",
    "a" * 300,
]
WRONG = {
    "metastore.database": ["Sdp", "a-b", "a.b", "7a", "a" * 64],
    "elasticsearch.index_prefix": ["Api6", "a_b", "a.b", "a" * 102],
}


def with_name(key: str, value: str) -> Settings:
    section, name = key.split(".")
    return load(None, (), **{section: {name: value}})


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in NAMES.items() for value in values])
def test_names_that_are_allowed(key: str, value: str) -> None:
    section, name = key.split(".")
    assert getattr(getattr(with_name(key, value), section), name) == value


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in NAMES for value in [*HOSTILE, *WRONG.get(key, [])]])
def test_names_that_could_mean_something_to_sql_kafka_or_a_url_are_refused(key: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{key}: String should match pattern"):
        with_name(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ingest.trigger_s", 0),
        ("ingest.retry_for_s", -1),
        ("index.max_offsets_per_trigger", 0),
        ("elasticsearch.batch_bytes", "4gb"),
        ("elasticsearch.batch_bytes", "4mb\n"),
        ("elasticsearch.replicas", -1),
        ("spark.driver_memory", "2"),
        ("monitoring.metrics_port", -1),
        ("monitoring.metrics_port", 65_536),
        ("monitoring.metrics_address", ""),
        ("monitoring.pushgateway", "gateway:9091"),
        ("monitoring.pushgateway", "http://user:word@gateway:9091"),
        ("monitoring.pushgateway", "http://"),
    ],
)
def test_figures_out_of_bounds_are_refused(key: str, value: Any) -> None:
    section, name = key.split(".")
    with pytest.raises(InvalidSetting, match=f"{key}: "):
        load(None, (), **{section: {name: value}})


# What is never shown

SECRET = "s3cr3t-of-the-platform"


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDP_KAFKA__SASL_PASSWORD", SECRET)
    monkeypatch.setenv("SDP_REGISTRY__PASSWORD", SECRET)
    monkeypatch.setenv("SDP_ELASTICSEARCH__PASSWORD", SECRET)
    found = load()
    for section in (found.kafka.sasl_password, found.registry.password, found.elasticsearch.password):
        assert section is not None
        assert section.get_secret_value() == SECRET
    for shown in (repr(found), str(found), found.model_dump_json(), str(found.model_dump()), f"{found.kafka!r}"):
        assert SECRET not in shown


def test_secrets_are_not_shown_when_something_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDP_KAFKA__SASL_PASSWORD", SECRET)
    with pytest.raises(InvalidSetting) as caught:
        load(overrides=["kafka.topic=a b", f"kafka.sasl_pasword={SECRET}", f"registry.password=[{SECRET}]"])
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("section", ["registry", "elasticsearch"])
@pytest.mark.parametrize(
    "url", [f"http://svc:{SECRET}@host:8081", f"svc:{SECRET}@host", f"http://svc:a/{SECRET}@host/v7"]
)
def test_a_url_holds_no_password(section: str, url: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{section}.url: .*`username` and `password`") as caught:
        load(None, (), **{section: {"url": url}})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("section", ["", "kafka", "stack"])
def test_settings_can_not_be_changed(section: str) -> None:
    found = getattr(load(), section) if section else load()
    for name in type(found).model_fields:
        with pytest.raises(ValueError, match="frozen"):
            setattr(found, name, "x")
