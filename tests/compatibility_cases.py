"""Pairs of schemas with the problems that the reader has with the writer, written by hand from the specification."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """``expected``: (code, path) in the reader's order. ``differs``: why the registry says the opposite, if it does."""

    name: str
    reader: Any
    writer: Any
    expected: tuple[tuple[str, str], ...] = ()
    differs: str = ""

    @property
    def texts(self) -> tuple[str, str]:
        return json.dumps(self.reader), json.dumps(self.writer)


def record(*fields: dict[str, Any], name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, avro_type: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": avro_type, **more}


def enum(*symbols: str, name: str = "E", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def mapping(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


def one(avro_type: Any, **more: Any) -> dict[str, Any]:
    """A record with one field, ``f``."""
    return record(field("f", avro_type, **more))


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


TREE = record(field("value", "int"), field("children", array("R")))
TREE_WIDER = record(field("value", "long"), field("children", array("R")))
TREE_OF_TEXT = record(field("value", "string"), field("children", array("R")))
CHAIN = record(field("next", ["null", "R"]))
USER = record(field("name", "string"), field("address", record(field("zip", "int"), name="Address")), name="User")
USER_ZIP_TEXT = record(
    field("name", "string"), field("address", record(field("zip", "string"), name="Address")), name="User"
)

TYPE, NAME, DEFAULT, SYMBOL, SIZE, BRANCH = (
    "type_mismatch",
    "name_mismatch",
    "missing_default",
    "enum_symbol_missing",
    "fixed_size",
    "union_branch_missing",
)
F = "fields.f"

PROMOTED = (
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
)
"""(writer, reader): all the promotions there are."""

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")

EVERY_PAIR_OF_PRIMITIVES = tuple(
    Case(
        f"{writer} as {reader}",
        one(reader),
        one(writer),
        () if writer == reader or (writer, reader) in PROMOTED else ((TYPE, F),),
    )
    for writer in PRIMITIVES
    for reader in PRIMITIVES
)

CASES = (
    # records and their fields
    Case("the same", one("string"), one("string")),
    Case(
        "fields in another order",
        record(field("a", "int"), field("b", "string")),
        record(field("b", "string"), field("a", "int")),
    ),
    Case("a field of the writer that nobody reads", one("int"), record(field("f", "int"), field("g", "string"))),
    Case("a new field with a default", record(field("f", "int"), field("g", "string", default="")), one("int")),
    Case(
        "a new field whose default is null",
        record(field("f", "int"), field("g", ["null", "int"], default=None)),
        one("int"),
    ),
    Case(
        "a new field without a default",
        record(field("f", "int"), field("g", "string")),
        one("int"),
        ((DEFAULT, "fields.g"),),
    ),
    Case(
        "a new optional field without a default",
        record(field("f", "int"), field("g", ["null", "int"])),
        one("int"),
        ((DEFAULT, "fields.g"),),
    ),
    Case(
        "two problems at once",
        record(field("f", "int"), field("g", "string")),
        one("string"),
        ((TYPE, F), (DEFAULT, "fields.g")),
    ),
    Case("a field in another case", one("int"), record(field("F", "int")), ((DEFAULT, F),)),
    Case("another name of the record", one("int"), one("int") | {"name": "S"}, ((NAME, ""),)),
    Case("another namespace of the record", one("int") | {"namespace": "a"}, one("int") | {"namespace": "b"}),
    Case("an alias of the record", one("int") | {"aliases": ["S"]}, one("int") | {"name": "S"}),
    Case(
        "an alias in the reader's namespace",
        one("int") | {"namespace": "n", "aliases": ["S"]},
        one("int") | {"namespace": "n", "name": "S"},
    ),
    Case(
        "an alias with a namespace",
        one("int") | {"namespace": "n", "aliases": ["m.S"]},
        one("int") | {"namespace": "m", "name": "S"},
    ),
    Case(
        "an alias in a namespace that is not the writer's",
        one("int") | {"namespace": "n", "aliases": ["S"]},
        one("int") | {"namespace": "m", "name": "S"},
        ((NAME, ""),),
    ),
    Case("an alias of the writer only", one("int"), one("int") | {"name": "S", "aliases": ["R"]}, ((NAME, ""),)),
    # renamed fields
    Case("a renamed field with an alias", record(field("g", "int", aliases=["f"])), one("int")),
    Case("a renamed field without an alias", record(field("g", "int")), one("int"), ((DEFAULT, "fields.g"),)),
    Case(
        "a renamed field whose alias is a third name",
        record(field("g", "int", aliases=["h"])),
        one("int"),
        ((DEFAULT, "fields.g"),),
    ),
    Case(
        "a renamed field of another type",
        record(field("g", "int", aliases=["f"])),
        one("string"),
        ((TYPE, "fields.g"),),
    ),
    Case("a renamed and promoted field", record(field("g", "long", aliases=["f"])), one("int")),
    Case(
        "two fields of the writer for one",
        record(field("g", "int", aliases=["f"])),
        record(field("f", "int"), field("g", "int")),
        ((NAME, "fields.g"),),
    ),
    Case(
        "an alias that is the name of another field",
        record(field("g", "int", aliases=["f"], default=0), field("f", "int")),
        one("int"),
    ),
    # unions
    Case("a field becomes optional", one(["null", "string"]), one("string")),
    Case("null where the reader has no null", one("string"), one(["null", "string"]), ((BRANCH, F),)),
    Case("a default does not help against null", one("string", default=""), one(["null", "string"]), ((BRANCH, F),)),
    Case("branches in another order", one(["string", "null"]), one(["null", "string"])),
    Case("one more branch in the reader", one(["null", "string", "long"]), one(["null", "string"])),
    Case("one more branch in the writer", one(["null", "string"]), one(["null", "string", "long"]), ((BRANCH, F),)),
    Case("no branch for the writer's type", one(["null", "boolean"]), one("string"), ((BRANCH, F),)),
    Case("promoted into a branch", one(["null", "double"]), one("int")),
    Case("a branch promoted into a branch", one(["null", "long"]), one(["null", "int"])),
    Case("a branch is narrowed", one(["null", "int"]), one(["null", "long"]), ((BRANCH, F),)),
    Case("a union of one type", one("int"), one(["int"])),
    Case("no branch fits", one(["int", "boolean"]), one(["string", "null"]), ((BRANCH, F), (BRANCH, F))),
    Case(
        "records in unions by name",
        one(["null", record(field("a", "int"), name="A")]),
        one(["null", record(field("a", "int"), name="A")]),
    ),
    Case(
        "a record in a union has changed",
        one(["null", record(field("a", "int"), name="A")]),
        one(["null", record(field("a", "string"), name="A")]),
        ((TYPE, "fields.f.a"),),
    ),
    Case(
        "another record in a union",
        one(["null", record(field("a", "int"), name="A")]),
        one(["null", record(field("a", "int"), name="B")]),
        ((BRANCH, F),),
    ),
    Case(
        "the second of two records in a union",
        one([record(field("a", "int"), name="A"), record(field("b", "int"), name="B")]),
        one(record(field("b", "int"), name="B")),
    ),
    Case(
        "an array in a union has changed",
        one(["null", array("int")]),
        one(["null", array("string")]),
        ((TYPE, "fields.f[]"),),
    ),
    # enums
    Case("an enum grows in the reader", one(enum("A", "B")), one(enum("A"))),
    Case("an enum grows in the writer", one(enum("A")), one(enum("A", "B")), ((SYMBOL, F),)),
    Case(
        "an enum grows in the writer, and the reader has a default",
        one(enum("A", "Z", default="Z")),
        one(enum("A", "B")),
    ),
    Case(
        "a default of the field is none of the enum", one(enum("A"), default="A"), one(enum("A", "B")), ((SYMBOL, F),)
    ),
    Case("symbols in another order", one(enum("B", "A")), one(enum("A", "B"))),
    Case("an enum of another name", one(enum("A")), one(enum("A", name="D")), ((NAME, F),)),
    Case("an enum with an alias", one(enum("A", aliases=["D"])), one(enum("A", name="D"))),
    Case("an enum is no string", one("string"), one(enum("A")), ((TYPE, F),)),
    Case("a string is no enum", one(enum("A")), one("string"), ((TYPE, F),)),
    Case(
        "an enum in a union grows in the writer",
        one(["null", enum("A")]),
        one(["null", enum("A", "B")]),
        ((SYMBOL, F),),
    ),
    # fixed
    Case("fixed of the same size", one(fixed(8)), one(fixed(8))),
    Case("fixed of another size", one(fixed(8)), one(fixed(4)), ((SIZE, F),)),
    Case("fixed of another name", one(fixed(8)), one(fixed(8, name="G")), ((NAME, F),)),
    Case("fixed is no bytes", one("bytes"), one(fixed(8)), ((TYPE, F),)),
    Case("fixed of another size in a union", one(["null", fixed(8)]), one(["null", fixed(4)]), ((SIZE, F),)),
    # arrays and maps
    Case("items promoted", one(array("double")), one(array("int"))),
    Case("items of another type", one(array("int")), one(array("string")), ((TYPE, "fields.f[]"),)),
    Case("items become optional", one(array(["null", "int"])), one(array("int"))),
    Case("items are no longer optional", one(array("int")), one(array(["null", "int"])), ((BRANCH, "fields.f[]"),)),
    Case("values promoted", one(mapping("long")), one(mapping("int"))),
    Case("values of another type", one(mapping("int")), one(mapping("string")), ((TYPE, "fields.f{}"),)),
    Case("an array is no map", one(mapping("int")), one(array("int")), ((TYPE, F),)),
    Case("an array is no single value", one("int"), one(array("int")), ((TYPE, F),)),
    Case(
        "a record in an array in a map",
        one(mapping(array(record(field("a", "int"), name="A")))),
        one(mapping(array(record(field("a", "string"), name="A")))),
        ((TYPE, "fields.f{}[].a"),),
    ),
    # nested and recursive records
    Case("a nested record has changed", USER, USER_ZIP_TEXT, ((TYPE, "fields.address.zip"),)),
    Case(
        "a nested record of another name",
        one(record(field("a", "int"), name="A")),
        one(record(field("a", "int"), name="B")),
        ((NAME, F),),
    ),
    Case(
        "a nested field without a default",
        one(record(field("a", "int"), field("b", "int"), name="A")),
        one(record(field("a", "int"), name="A")),
        ((DEFAULT, "fields.f.b"),),
    ),
    Case(
        "a type by its name",
        record(field("a", enum("A")), field("b", "E")),
        record(field("a", enum("A", "B")), field("b", "E")),
        ((SYMBOL, "fields.a"), (SYMBOL, "fields.b")),
    ),
    Case(
        "a type by its name in a namespace",
        record(field("a", fixed(4)), field("b", "n.F"), namespace="n"),
        record(field("a", fixed(4)), field("b", "F"), namespace="n"),
    ),
    Case("a tree", TREE, TREE),
    Case("a tree with wider values", TREE_WIDER, TREE),
    Case("a tree with narrower values", TREE, TREE_WIDER, ((TYPE, "fields.value"),)),
    Case("a tree of texts", TREE, TREE_OF_TEXT, ((TYPE, "fields.value"),)),
    Case("a chain through a union", CHAIN, CHAIN),
    Case("a chain that ends nowhere", record(field("next", "R")), CHAIN, ((BRANCH, "fields.next"),)),
    # logical types
    Case("a logical type comes and goes", one({"type": "long", "logicalType": "timestamp-millis"}), one("long")),
    Case("decimals of one scale", one(decimal(10, 2)), one(decimal(10, 2))),
    Case(
        "decimals of two scales",
        one(decimal(10, 3)),
        one(decimal(10, 2)),
        ((TYPE, F),),
        differs="the registry looks at the bytes only; every amount would be read as a tenth",
    ),
    # schemas that are no records
    Case("arrays at the top", array("long"), array("int")),
    Case("arrays of records at the top", array(one("int")), array(one("string")), ((TYPE, "[].f"),)),
    Case("a primitive at the top", "int", "string", ((TYPE, ""),)),
    Case("unions at the top", ["null", "int"], ["null", "string"], ((BRANCH, ""),)),
    Case("a record is no primitive", one("int"), "int", ((TYPE, ""),)),
)
