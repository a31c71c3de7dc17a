"""A log schema is a flat Avro record; everything else is refused when it is read, not in the middle of a batch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.contracts.writer import Field, LogSchema
from pipelines.errors import InvalidSetting
from pipelines.settings import ROOT


def schema(*types: Any) -> LogSchema:
    fields = [{"name": f"f{n}", "type": avro_type} for n, avro_type in enumerate(types)]
    return LogSchema(json.dumps({"type": "record", "name": "R", "fields": fields}))


def test_fields_come_in_writing_order_with_null_branch_default_and_aliases() -> None:
    text = """{"type": "record", "name": "R", "namespace": "n", "fields": [
        {"name": "b", "type": "long", "doc": "about b"},
        {"name": "a", "type": ["null", "string"], "default": null},
        {"name": "c", "type": ["int", "null"], "default": 7, "aliases": ["old", "older"]},
        {"name": "d", "type": "bytes"},
        {"name": "e", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "f", "type": ["null", {"type": "enum", "name": "E", "symbols": ["X"]}]}]}"""
    assert LogSchema(text).fields == (
        Field("b", "long", None, None, ()),
        Field("a", "string", 0, None, ()),
        Field("c", "int", 1, 7, ("old", "older")),
        Field("d", "bytes", None, None, ()),
        Field("e", "long", None, None, ()),
        Field("f", "enum", 0, None, (), ("X",)),
    )


def test_an_enum_whose_symbols_need_two_bytes_is_refused_by_name() -> None:
    def enum(size: int) -> LogSchema:
        return schema({"type": "enum", "name": "E", "symbols": [f"S{n}" for n in range(size)]})

    assert enum(64).fields[0].type == "enum"
    with pytest.raises(InvalidSetting, match=r"f0: .* 64 symbols"):
        _ = enum(65).fields


def test_only_a_union_with_null_is_nullable() -> None:
    fields = schema("string", ["null", "string"], ["string", "null"]).fields
    assert [f.nullable for f in fields] == [False, True, True]


def test_rules_see_numbers_and_texts_and_nothing_else() -> None:
    enum = {"type": "enum", "name": "E", "symbols": ["X"]}
    found = schema("int", "long", "float", "double", "string", enum, "bytes", "boolean", ["null", "int"]).kinds
    number, text = "number", "text"
    assert found == {"f0": number, "f1": number, "f2": number, "f3": number, "f4": text, "f5": text, "f8": number}


@pytest.mark.parametrize(
    "avro_type",
    [
        ["int", "string"],
        ["null", "int", "string"],
        "null",
        ["null"],
        ["string"],
        "Named",
        {"type": "array", "items": "int"},
        {"type": "map", "values": "int"},
        ["null", {"type": "array", "items": "int"}],
        {"type": "fixed", "name": "F", "size": 4},
        {"type": "record", "name": "Inner", "fields": []},
        {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]},
    ],
)
def test_a_field_that_is_not_flat_is_refused_by_name(avro_type: Any) -> None:
    with pytest.raises(InvalidSetting, match="field f1: a log field is a primitive or an optional primitive"):
        _ = schema("int", avro_type).fields


@pytest.mark.parametrize("text", ['{"type": "enum", "name": "E", "symbols": ["X"]}', '{"type": "string"}'])
def test_a_schema_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="a log schema is an Avro record, not "):
        _ = LogSchema(text).fields


@pytest.mark.parametrize("text", ['"string"', '["null", "int"]', "{", "nonsense", "{}"])
def test_a_text_that_is_no_record_schema_at_all_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting):
        _ = LogSchema(text).fields


def test_the_schema_that_ships() -> None:
    text = (ROOT / "schemas" / "api6-logs-value" / "v1.avsc").read_text(encoding="utf-8")
    assert LogSchema(text).kinds == {
        "timestamp": "number",
        "request_id": "text",
        "api_endpoint": "text",
        "http_method": "text",
        "status_code": "number",
        "response_time_ms": "number",
        "client_ip": "text",
        "user_agent": "text",
        "payload_size": "number",
        "error_message": "text",
    }
