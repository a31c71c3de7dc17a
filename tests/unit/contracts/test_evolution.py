"""What becomes of each change that a team makes to a schema, written down by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.contracts.evolution import merge
from pipelines.contracts.writer import LogSchema, SchemaSet
from pipelines.errors import InvalidSetting

ID = {"name": "id", "type": "string"}
SIZE = {"name": "size", "type": "int"}
NOTE = {"name": "note", "type": ["null", "string"]}


def schema(*fields: dict[str, Any], name: str = "Log") -> LogSchema:
    return LogSchema(json.dumps({"type": "record", "name": name, "fields": fields}))


BASE = schema(ID, SIZE, NOTE)


def merged(*later: LogSchema) -> SchemaSet:
    """Version 1 is the base; later ones have the ids 2, 3, …"""
    return merge(BASE, dict(enumerate([BASE, *later], start=1)))


def columns(found: SchemaSet) -> dict[str, str]:
    return {f.name: f.type + "?" * f.nullable for f in found.reader.fields}


def test_one_version_is_read_as_it_is() -> None:
    found = merged()
    assert columns(found) == {"id": "string", "size": "int", "note": "string?"}
    assert (list(found.writers), found.refused, found.gone_nullable) == ([1], {}, ())


def test_an_added_optional_field_becomes_a_nullable_column_behind_the_others() -> None:
    found = merged(schema(ID, {"name": "region", "type": ["null", "string"], "default": None}, SIZE, NOTE))
    assert columns(found) == {"id": "string", "size": "int", "note": "string?", "region": "string?"}
    assert found.refused == {}
    assert [f.name for f in found.added] == ["id", "size", "note", "region"]  # none of them is one of an API6 log's ten


def test_an_added_required_field_is_nullable_too_for_older_records_lack_it() -> None:
    assert columns(merged(schema(ID, SIZE, NOTE, {"name": "n", "type": "long"})))["n"] == "long?"


def test_a_default_stands_for_a_required_field_that_older_records_lack() -> None:
    found = merged(schema(ID, SIZE, NOTE, {"name": "region", "type": "string", "default": "eu"}))
    [region] = [f for f in found.reader.fields if f.name == "region"]
    assert (region.type, region.nullable, region.default) == ("string", False, "eu")


def test_a_removed_optional_field_keeps_its_column() -> None:
    found = merged(schema(ID, SIZE))
    assert columns(found) == columns(merged())
    assert found.writers[2].fields.keys() == {"id", "size"}


def test_a_removed_required_field_makes_the_version_unreadable_and_no_other() -> None:
    found = merged(schema(SIZE, NOTE), schema(ID, SIZE))
    assert found.refused == {2: "field id is required, and this version lacks it"}
    assert list(found.writers) == [1, 3]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_int_and_long_share_a_long_column_whichever_came_first(order: tuple[int, int]) -> None:
    versions = [schema(ID, SIZE, NOTE), schema(ID, {"name": "size", "type": "long"}, NOTE)]
    found = merge(BASE, {n: versions[n] for n in order})
    assert columns(found)["size"] == "long"
    assert found.refused == {}


def test_a_renamed_field_with_an_alias_stays_in_its_column() -> None:
    found = merged(schema(ID, {"name": "bytes", "type": "int", "aliases": ["size"]}, NOTE))
    assert columns(found) == columns(merged())
    assert found.writers[2].fields["size"].name == "bytes"
    assert json.loads(found.reader.text)["fields"][1]["aliases"] == ["bytes"]


def test_a_chain_of_renames_stays_in_the_first_column() -> None:
    second = schema(ID, {"name": "bytes", "type": "int", "aliases": ["size"]}, NOTE)
    third = schema(ID, {"name": "octets", "type": "int", "aliases": ["bytes"]}, NOTE)
    assert columns(merged(second, third)) == columns(merged())


def test_two_fields_for_one_column_are_refused() -> None:
    double = schema(ID, SIZE, {"name": "bytes", "type": "int", "aliases": ["size"]})
    assert merged(double).refused == {2: "fields size and bytes are both column size"}


def test_an_enum_grows_by_the_symbols_of_every_version() -> None:
    def level(*symbols: str) -> LogSchema:
        return schema(
            ID, SIZE, {"name": "level", "type": {"type": "enum", "name": f"L{len(symbols)}", "symbols": symbols}}
        )

    found = merged(level("A", "B"), level("A", "B", "C"))
    assert found.reader.fields[-1].symbols == ("A", "B", "C")
    names = {json.loads(found.writers[n].text)["fields"][-1]["type"]["name"] for n in (2, 3)}
    assert names == {"level_symbols"}


def test_a_required_field_that_became_nullable_is_remembered() -> None:
    found = merged(schema(ID, {"name": "size", "type": ["null", "int"], "default": None}, NOTE))
    assert columns(found)["size"] == "int?"
    assert found.gone_nullable == ("size",)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"name": "size", "type": "string"}, "field size: string can't be read as int"),
        ({"name": "size", "type": "boolean"}, "field size: boolean can't be read as int"),
        ({"name": "size", "type": {"type": "array", "items": "int"}}, "field size: a log field is a primitive"),
        ({"name": "kafka_offset", "type": "long"}, "field kafka_offset: the platform has a column of that name"),
        ({"name": "Batch_Id", "type": "long"}, "field Batch_Id: the platform has a column of that name"),
        ({"name": "_version", "type": "long"}, "field _version: the platform has a column of that name"),
        ({"name": "NOTE", "type": "long"}, "field NOTE: differs from another column in upper and lower case only"),
    ],
)
def test_what_fits_no_column_is_refused_by_field_and_reason(field: dict[str, Any], reason: str) -> None:
    version = schema(ID, field, NOTE) if field["name"] == "size" else schema(ID, SIZE, NOTE, field)
    found = merged(version, schema(ID, SIZE))
    assert found.refused[2].startswith(reason)
    assert list(found.writers) == [1, 3]


@pytest.mark.parametrize("text", ['"string"', "{", '{"type": "record", "name": "R", "fields": [{"name": "a"}]}'])
def test_a_version_that_is_no_log_schema_harms_no_other(text: str) -> None:
    found = merged(LogSchema(text))
    assert (list(found.refused), list(found.writers)) == ([2], [1])


def test_a_base_that_is_no_log_schema_is_our_mistake() -> None:
    with pytest.raises(InvalidSetting):
        merge(LogSchema('"string"'), {})


def test_a_log_field_never_becomes_a_fraction() -> None:
    base = schema({"name": "status_code", "type": "int"})
    found = merge(base, {1: base, 2: schema({"name": "status_code", "type": "double"})})
    assert found.refused == {2: "field status_code: double can't be read as int"}
