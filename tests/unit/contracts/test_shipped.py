"""A later version of the logs that lies in schemas/, as a team ships it: rules, columns and checks go on as before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import settings as settings_module
from pipelines.cli import rules as rules_command
from pipelines.contracts import avro
from pipelines.contracts.catalogue import check_all
from pipelines.contracts.evolution import base_schema, columns_written, merge, shipped
from pipelines.contracts.proposal import Change, Proposal, propose
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.writer import LogSchema
from pipelines.errors import ContractViolation, UsageError
from pipelines.records import LOG_FIELDS
from pipelines.settings import ROOT
from sdk.encoding import LogEncoder
from sdk.schemas import Registered
from tests.unit.sdk.test_encoding import GOOD as RECORD
from tests.unit.sdk.test_encoding import NOW_MS

LOG = "api6-logs-value"
V1: dict[str, Any] = json.loads((ROOT / "schemas" / LOG / "v1.avsc").read_text(encoding="utf-8"))
RULES = ROOT / "conf" / "rules" / "api6-logs.yaml"

Ship = Callable[[dict[str, Any]], Path]


def changed(name: str, /, **change: Any) -> dict[str, Any]:
    """Version 1 with another field in the place of this one."""
    return V1 | {"fields": [f | change if f["name"] == name else f for f in V1["fields"]]}


def without(name: str) -> dict[str, Any]:
    return V1 | {"fields": [f for f in V1["fields"] if f["name"] != name]}


def added(**field: Any) -> dict[str, Any]:
    return V1 | {"fields": [*V1["fields"], field]}


RENAMED = changed("payload_size", name="body_bytes", aliases=["payload_size"])
SHORTER = without("user_agent")
LONGER = added(name="region", type=["null", "string"], default=None)
WIDER = changed("payload_size", type="long")
TEXT_STATUS = changed("status_code", type="string")
FRACTION = changed("payload_size", type="double")

GOOD = pytest.mark.parametrize("version", [RENAMED, SHORTER, LONGER, WIDER], ids=["renamed", "less", "more", "wider"])


@pytest.fixture
def ship(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ship]:
    """Write version 2 beside version 1, where the application looks for schemas."""
    home = tmp_path / "schemas" / LOG
    home.mkdir(parents=True)
    shutil.copy(ROOT / "schemas" / LOG / "v1.avsc", home)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.setattr(settings_module, "ROOT", tmp_path)
    avro.load.cache_clear()

    def write(version: dict[str, Any]) -> Path:
        (home / "v2.avsc").write_text(json.dumps(version), encoding="utf-8")
        return home.parent

    yield write
    avro.load.cache_clear()


def proposed() -> Proposal:
    """The file beside a registry that has version 1 only, as ``sdp schemas test`` does it."""
    base = base_schema(LOG)
    return propose(base, {1: LogSchema(json.dumps(V1))}, LogSchema(avro.load(LOG).text))


@GOOD
def test_the_shipped_rules_are_still_right(ship: Ship, version: dict[str, Any]) -> None:
    ship(version)
    assert base_schema(LOG).text == (ROOT / "schemas" / LOG / "v1.avsc").read_text(encoding="utf-8")
    settings = settings_module.Settings()
    assert rules_command._read(RULES, settings).fingerprint == load_rules(RULES, base_schema(LOG).kinds).fingerprint


@GOOD
def test_the_columns_stay(ship: Ship, version: dict[str, Any]) -> None:
    ship(version)
    found = merge(base_schema(LOG), shipped(LOG))
    assert tuple(f.name for f in found.reader.fields)[:10] == LOG_FIELDS
    assert [f.name for f in found.added] == (["region"] if version is LONGER else [])
    assert (list(found.writers), found.refused) == ([1, 2], {})


@GOOD
def test_nothing_is_wrong_with_it(ship: Ship, version: dict[str, Any]) -> None:
    assert check_all(ship(version)) == []


@pytest.mark.parametrize(
    ("version", "changes"),
    [
        (RENAMED, []),
        (SHORTER, [("user_agent", Change.NOT_WRITTEN)]),
        (LONGER, [("region", Change.NEW)]),
        (WIDER, [("payload_size", Change.WIDENED)]),
    ],
)
def test_a_trial_of_the_file_tells_what_it_changes(
    ship: Ship, version: dict[str, Any], changes: list[tuple[str, Change]]
) -> None:
    ship(version)
    found = proposed()
    assert [(c.column, c.change) for c in found.changes] == changes
    assert (found.incompatible, found.misfit) == ({}, None)


@pytest.mark.parametrize(
    ("version", "code", "reason"),
    [
        (TEXT_STATUS, ["type_mismatch"], "field status_code: string can't be read as int"),
        (FRACTION, [], "field payload_size: double can't be read as int"),
        (without("status_code"), [], "field status_code is required, and this version lacks it"),
    ],
)
def test_a_trial_of_a_file_that_fits_no_column_blames_the_file_and_not_what_is_there(
    ship: Ship, version: dict[str, Any], code: list[str], reason: str
) -> None:
    ship(version)
    found = proposed()
    assert (found.today.refused, list(found.today.writers)) == ({}, [1])
    assert [problem.code for problems in found.incompatible.values() for problem in problems] == code
    assert found.misfit == reason


def test_a_new_required_field_is_no_reason_to_refuse_what_is_there(ship: Ship) -> None:
    ship(added(name="tenant", type="string"))
    found = proposed()
    assert (found.today.refused, list(found.today.writers)) == ({}, [1])
    assert [problem.code for problem in found.incompatible[1]] == ["missing_default"]


@pytest.mark.parametrize("version", [FRACTION, without("status_code"), added(name="Batch_id", type="int", default=0)])
def test_a_compatible_version_that_fits_no_column_fails_the_check(ship: Ship, version: dict[str, Any]) -> None:
    [found] = check_all(ship(version))
    assert found.startswith(f"{LOG}/v2.avsc: ")


def test_rules_of_the_producer_see_a_renamed_field_and_miss_none_that_is_gone(ship: Ship) -> None:
    ship(RENAMED | {"fields": [f for f in RENAMED["fields"] if f["name"] != "user_agent"]})
    columns = columns_written(base_schema(LOG), shipped(LOG), 2)
    assert {column: name for column, name in columns.items() if column != name} == {
        "payload_size": "body_bytes",
        "user_agent": None,
    }
    encoder = LogEncoder(Registered(9, avro.load(LOG)), load_rules(RULES, base_schema(LOG).kinds), columns)
    sent = {name: value for name, value in RECORD.items() if name not in ("payload_size", "user_agent")}
    value = encoder.encode(sent | {"body_bytes": 77}, NOW_MS)
    assert avro.decode(avro.load(LOG), value[5:]) == sent | {"body_bytes": 77}
    with pytest.raises(ContractViolation) as caught:
        encoder.encode(sent | {"body_bytes": -1}, NOW_MS)
    assert [v.field for v in caught.value.violations] == ["payload_size"]
    with pytest.raises(ContractViolation) as caught:
        encoder.encode(sent, NOW_MS)
    assert [(v.code, v.field) for v in caught.value.violations] == [("schema_mismatch", "body_bytes")]
    as_ever = encoder.encode(RECORD | {"payload_size": 77}, NOW_MS)
    assert as_ever == value
    with pytest.raises(ContractViolation) as caught:
        encoder.encode(RECORD | {"body_bytes": 77}, NOW_MS)
    assert [(v.code, v.field) for v in caught.value.violations] == [("schema_mismatch", "payload_size")]


def test_a_producer_does_not_write_what_the_tables_have_no_place_for(ship: Ship) -> None:
    ship(FRACTION)
    with pytest.raises(UsageError, match="no place for version 2: field payload_size: double"):
        columns_written(base_schema(LOG), shipped(LOG), 2)


def test_a_rule_is_for_the_columns_that_every_version_has(ship: Ship, tmp_path: Path) -> None:
    """Else a job would need a column that exists only once the version is registered."""
    ship(LONGER)
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    rules["rules"] = [rules["rules"][0] | {"field": "region", "check": "required"}]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules), encoding="utf-8")
    with pytest.raises(UsageError, match="unknown field 'region'"):
        rules_command._read(file, settings_module.Settings())
