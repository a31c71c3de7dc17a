"""Every mistake in a recipe is refused with file, line and reason; the recipes that ship can be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.badrows.recipe import Decode, Encode, Map, Offsets, Parse, Recipe, Set
from pipelines.badrows.recipe_file import load_recipe
from pipelines.errors import InvalidRecipe
from pipelines.records import LOG_FIELDS, RowStatus, Stage
from pipelines.settings import ROOT

GOOD = """\
name: all-of-it
where:
  codes: [http_method_known]
  stages: [rule]
  since: 2026-01-31T12:00:00+01:00
  partitions:
    - {partition: 3, from: 5, until: 9}
  endpoint: /v6
  schema_ids: [1]
  status: [open, unrecoverable]
steps:
  - decode: {schema: 2, skip_bytes: 6, trailing: drop}
  - set: {field: error_message, value: null}
  - map: {field: status_code, values: {0: 500, 1: 200}}
  - parse: {field: timestamp, as: iso_time}
  - encode: {schema: 1}
"""


def load(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, LOG_FIELDS)


def refusal(folder: Path, text: str) -> InvalidRecipe:
    with pytest.raises(InvalidRecipe) as caught:
        load(folder, text)
    assert str(caught.value).startswith(f"{folder / 'recipe.yaml'}:{caught.value.line}: ")
    return caught.value


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD)
    assert found.name == "all-of-it"
    assert (found.where.codes, found.where.stages) == (("http_method_known",), (Stage.RULE,))
    assert found.where.since == datetime(2026, 1, 31, 11, tzinfo=UTC)
    assert found.where.until is None
    assert found.where.partitions == (Offsets.model_validate({"partition": 3, "from": 5, "until": 9}),)
    assert (found.where.endpoint, found.where.schema_ids) == ("/v6", (1,))
    assert found.where.status == (RowStatus.OPEN, RowStatus.UNRECOVERABLE)
    assert [s.kind for s in found.steps] == ["decode", "set", "map", "parse", "encode"]
    decode, change, mapped, parse, encode = (s.action for s in found.steps)
    assert isinstance(decode, Decode)
    assert (decode.version, decode.skip_bytes, decode.trailing) == (2, 6, "drop")
    assert isinstance(change, Set)
    assert change.value is None
    assert isinstance(mapped, Map)
    assert mapped.values == ((0, 500), (1, 200))
    assert isinstance(parse, Parse)
    assert (parse.kind, parse.field) == ("iso_time", "timestamp")
    assert isinstance(encode, Encode)
    assert (encode.version, found.target) == (1, 1)


def test_a_recipe_survives_the_journal(tmp_path: Path) -> None:
    """It goes there as JSON, which has no numbers as keys."""
    found = load(tmp_path, GOOD)
    again = Recipe.model_validate(json.loads(json.dumps(found.as_json())))
    assert again.steps == found.steps
    assert again.where == found.where
    assert again.fingerprint == found.fingerprint


def test_values_of_different_types_are_different(tmp_path: Path) -> None:
    pairs = '[[1, 200], [1.0, 201], [true, 202], ["1", 203], [null, 204]]'
    found = load(tmp_path, GOOD.replace("{0: 500, 1: 200}", pairs))
    again = Recipe.model_validate(json.loads(json.dumps(found.as_json())))
    for recipe in (found, again):
        mapped = recipe.steps[2].action
        assert isinstance(mapped, Map)
        assert [(type(old), new) for old, new in mapped.values] == [
            (int, 200),
            (float, 201),
            (bool, 202),
            (str, 203),
            (type(None), 204),
        ]


def test_a_field_that_a_later_version_added_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD.replace("field: error_message", "field: region"), encoding="utf-8")
    assert load_recipe(path, LOG_FIELDS, lambda: ["region"]).steps[1].kind == "set"
    with pytest.raises(InvalidRecipe, match=r":13: unknown field 'region'; there are .*, zone"):
        load_recipe(path, LOG_FIELDS, lambda: ["zone"])


def test_the_registry_is_asked_only_for_a_field_that_is_not_known(tmp_path: Path) -> None:
    def ask() -> list[str]:
        raise AssertionError("asked")

    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD, encoding="utf-8")
    load_recipe(path, LOG_FIELDS, ask)


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD.replace("+01:00", ""))
    assert found.where.since == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_the_fingerprint_changes_with_the_meaning(tmp_path: Path) -> None:
    known = {load(tmp_path, text).fingerprint for text in (GOOD, GOOD + "# a remark\n")}
    assert len(known) == 1
    for old, new in [
        ("0: 500", "0: 501"),
        ("trailing: drop", "trailing: refuse"),
        ("/v6", "/v7"),
        ("until: 9", "until: 8"),
    ]:
        known.add(load(tmp_path, GOOD.replace(old, new)).fingerprint)
    assert len(known) == 5


@pytest.mark.parametrize(
    ("good", "bad", "line", "reason"),
    [
        pytest.param("name: all-of-it", "name: All of it", 1, "name: String should match", id="name"),
        pytest.param("codes: [http", "codes: [[http", 4, "not YAML", id="bad YAML"),
        pytest.param("  codes:", "  code:", 3, "where.code: Extra inputs", id="unknown condition"),
        pytest.param("stages: [rule]", "stages: [rules]", 4, "where.stages.0: Input should be 'wire'", id="stage"),
        pytest.param("until: 9}", "to: 9}", 7, "where.partitions.0.to: Extra inputs", id="offsets"),
        pytest.param("  - set:", "  - sett:", 13, "steps.1.sett: Extra inputs", id="unknown step"),
        pytest.param("value: null", "value: [1]", 13, "steps.1.set.value", id="no scalar"),
        pytest.param("field: error_message", "field: message", 13, "unknown field 'message'; there are", id="field"),
        pytest.param(
            "  - map: {", "  - set: {field: status_code, value: 1}\n    map: {", 14, "exactly one of", id="two"
        ),
        pytest.param("as: iso_time", "as: json", 15, "json is for the whole value", id="json of a field"),
        pytest.param("{field: timestamp, as: iso_time}", "{as: number}", 15, "need one", id="number of all"),
        pytest.param("  - encode: {schema: 1}", "  - decode: {}", 16, "can only be the first step", id="late decode"),
        pytest.param("  - set: {", "  - encode: {}\n  - set: {", 13, "can only be the last step", id="early encode"),
        pytest.param("schema: 2, skip_bytes: 6", "skip_bytes: 4", 12, "no schema id to read", id="no id"),
        pytest.param("values: {0: 500, 1: 200}", "values: {}", 14, "at least 1 item", id="empty map"),
        pytest.param("{0: 500, 1: 200}", "{1: 500, 1.0: 200}", 14, "list them as pairs", id="int and float"),
        pytest.param("{0: 500, 1: 200}", "{1: 500, true: 200, 2: 3}", 14, "list them as pairs", id="int and boolean"),
        pytest.param("{0: 500, 1: 200}", "[[1, 500], [1, 200]]", 14, "1 is there twice", id="pair twice"),
        pytest.param("{0: 500, 1: 200}", "[[1, 500, 2]]", 14, "steps.2.map.values.0", id="no pair"),
        pytest.param("from: 5, until: 9", "from: 9, until: 9", 7, "not behind from: 9", id="offsets crossed"),
        pytest.param("  partitions:", "  until: 2026-01-31T11:00:00Z\n  partitions:", 2, "not after since", id="times"),
        pytest.param("endpoint: /v6", "endpoint: /v6\n  endpoint: /v7", 9, "key 'endpoint' is there twice", id="twice"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, good: str, bad: str, line: int, reason: str) -> None:
    assert GOOD.count(good) == 1
    error = refusal(tmp_path, GOOD.replace(good, bad))
    assert reason in error.reason
    assert error.line == line


@pytest.mark.parametrize("where", ["{}", "{status: [open]}", "{codes: []}"])
def test_a_recipe_for_every_row_is_refused(tmp_path: Path, where: str) -> None:
    error = refusal(tmp_path, f"name: all\nwhere: {where}\n")
    assert (error.line, "give at least one of codes" in error.reason) == (2, True)


def test_without_steps_values_are_judged_again(tmp_path: Path) -> None:
    found = load(tmp_path, "name: again\nwhere: {codes: [timestamp_window]}\n")
    assert (found.steps, found.target) == ((), None)


SHIPPED: dict[str, dict[str, Any]] = {
    "upper-case-methods": {
        "where": {"codes": ["http_method_known"]},
        "steps": [
            {
                "map": {
                    "field": "http_method",
                    "values": [
                        ["get", "GET"],
                        ["post", "POST"],
                        ["put", "PUT"],
                        ["patch", "PATCH"],
                        ["delete", "DELETE"],
                        ["head", "HEAD"],
                        ["options", "OPTIONS"],
                    ],
                }
            }
        ],
    },
    "json-instead-of-avro": {
        "where": {"codes": ["json_instead_of_avro"]},
        "steps": [
            {"parse": {"as": "json"}},
            {"parse": {"field": "timestamp", "as": "iso_time"}},
            {"cast": {"field": "status_code", "to": "int"}},
            {"drop": {"field": "trace_id"}},
        ],
    },
    "trailing-bytes": {
        "where": {"codes": ["trailing_bytes"]},
        "steps": [{"decode": {"trailing": "drop"}}],
    },
    "no-header": {
        "where": {"stages": ["wire"], "codes": ["wrong_magic_byte"]},
        "steps": [{"decode": {"schema": 1, "skip_bytes": 0}}, {"encode": {"schema": 1}}],
    },
}


@pytest.mark.parametrize("name", SHIPPED)
def test_recipes_as_they_ship(name: str) -> None:
    path = ROOT / "conf" / "recipes" / f"{name}.yaml"
    assert load_recipe(path, LOG_FIELDS).as_json() == {"name": name, **SHIPPED[name]}
