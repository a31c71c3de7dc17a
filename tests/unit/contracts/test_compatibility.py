"""Schema resolution against a table written by hand, and against what fastavro really reads."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest
from fastavro.read import SchemaResolutionError
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st

from pipelines.contracts import avro
from pipelines.contracts.compatibility import Problem, backward, problems
from pipelines.errors import UsageError
from tests.compatibility_cases import (
    CASES,
    EVERY_PAIR_OF_PRIMITIVES,
    Case,
    array,
    enum,
    field,
    fixed,
    mapping,
    one,
    record,
)

Json = Any


@pytest.mark.parametrize("case", CASES + EVERY_PAIR_OF_PRIMITIVES, ids=lambda case: case.name)
def test_the_table(case: Case) -> None:
    found = problems(*case.texts)
    assert tuple((p.code.value, p.path) for p in found) == case.expected


@pytest.mark.parametrize(
    ("reader", "writer", "message"),
    [
        (
            record(field("status_code", "int")),
            record(field("status_code", "string")),
            "field status_code: string can't be read as int",
        ),
        (record(field("u", "string")), record(field("u", ["null", "string"])), "field u: null can't be read as string"),
        (
            record(field("u", ["null", "int"])),
            record(field("u", "string")),
            "field u: string can't be read as null or int",
        ),
        (
            record(field("region", "string")),
            record(),
            "field region: the writer has no such field, and the reader has no default for it",
        ),
        (
            one(enum("A")),
            one(enum("A", "B", "C")),
            "field f: B, C can't be read: enum E has no such symbol and no default",
        ),
        (
            one(enum("A")),
            one(enum("A", *"BCDEF")),
            "field f: B, C, D and 2 more can't be read: enum E has no such symbol and no default",
        ),
        (one(fixed(8)), one(fixed(4)), "field f: 4 bytes can't be read as the 8 bytes of fixed F"),
        (one("int"), one("int") | {"name": "S", "namespace": "n"}, "the schema: record n.S can't be read as record R"),
        (one(array("int")), one(mapping("int")), "field f: map of int can't be read as array of int"),
        (one(array(mapping("int"))), one(array(mapping("string"))), "field f[]{}: string can't be read as int"),
        (
            record(field("g", "int", aliases=["f"])),
            record(field("f", "int"), field("g", "int")),
            "field g: f and g of the writer would both be read as this one",
        ),
    ],
)
def test_messages_name_field_and_reason(reader: Json, writer: Json, message: str) -> None:
    assert [p.message for p in problems(json.dumps(reader), json.dumps(writer))] == [message]


def test_parsed_schemas_do_as_well_as_texts() -> None:
    reader, writer = avro.parse(json.dumps(one("int"))), avro.parse(json.dumps(one("string")))
    assert problems(reader, writer) == problems(reader.text, writer.text)
    assert len(problems(reader, writer)) == 1


def test_text_that_is_no_schema_is_wrong_use() -> None:
    for text in ("{", "{}", '{"type": "record"}', '{"type": "record", "name": "R", "fields": [1]}', "[1]", "null", "7"):
        with pytest.raises(UsageError, match="not an Avro schema"):
            problems(text, '"int"')


def test_backward_holds_each_version_against_the_one_before() -> None:
    first, second = one("int"), record(field("f", "long"), field("g", "string", default=""))
    third = record(field("f", "int"), field("g", "string"))
    texts = [json.dumps(s) for s in (first, second, third)]
    assert backward(texts[:2]) == []
    assert backward(texts) == [
        (3, Problem("fields.f", problems(texts[2], texts[1])[0].code, "field f: long can't be read as int"))
    ]
    assert backward(texts[:1]) == backward([]) == []


def test_a_type_that_many_fields_share_is_walked_once() -> None:
    """Thirty records, each holding the next one twice: two to the thirtieth paths."""
    schema: Json = record(field("x", "int"), name="R30")
    for n in reversed(range(30)):
        schema = record(field("a", schema), field("b", f"R{n + 1}"), name=f"R{n}")
    other = json.dumps(schema).replace('"int"', '"string"')
    assert [p.path for p in problems(json.dumps(schema), other)] == ["fields." + "a." * 30 + "x"]


# --- against fastavro: what we call readable is read ---------------------------------------------------------------

SYMBOLS = ("A", "B", "C", "D")
FIELDS = ("a", "b", "c", "d")
PRIMITIVE = st.sampled_from(["boolean", "int", "long", "float", "double", "bytes", "string"])


@st.composite
def types(draw: st.DrawFn, depth: int = 3) -> Json:
    """Any type without a name of its own; records, enums and fixed get one by ``named``."""
    kinds = ["primitive", "primitive", "enum", "fixed"] + ["array", "map", "record", "union"] * (depth > 0)
    match draw(st.sampled_from(kinds)):
        case "primitive":
            return draw(PRIMITIVE)
        case "enum":
            symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=4, unique=True))
            return enum(*symbols, **draw(st.just({}) | st.just({"default": symbols[0]})))
        case "fixed":
            return fixed(draw(st.integers(1, 3)))
        case "array":
            return array(draw(types(depth - 1)))
        case "map":
            return mapping(draw(types(depth - 1)))
        case "union":
            found = [draw(types(depth - 1)) for _ in range(draw(st.integers(1, 3)))]
            unique = {json.dumps(b["type"] if isinstance(b, dict) else b): b for b in found if not isinstance(b, list)}
            return ["null", *unique.values()]
    return record(*draw(fields(depth - 1)))


@st.composite
def fields(draw: st.DrawFn, depth: int) -> list[Json]:
    names = draw(st.lists(st.sampled_from(FIELDS), min_size=0, max_size=3, unique=True))
    return [field(name, draw(types(depth))) for name in names]


@st.composite
def readers(draw: st.DrawFn, writer: Json) -> Json:
    """A schema like the writer's, with some of the changes that people make and some that they should not."""
    if draw(st.integers(0, 12)) == 0:
        return draw(types(1))
    if isinstance(writer, list):
        branches = [draw(readers(b)) for b in writer if b == "null" or draw(st.integers(0, 9))]
        flat = [b for b in branches if not isinstance(b, list)]
        return list({json.dumps(b["type"] if isinstance(b, dict) else b): b for b in flat}.values()) or ["null"]
    changed = draw(_changed(writer))
    return ["null", changed] if changed != "null" and draw(st.integers(0, 5)) == 0 else changed


@st.composite
def _changed(draw: st.DrawFn, writer: Json) -> Json:
    if not isinstance(writer, dict):
        return draw(st.just(writer) | st.just(writer) | PRIMITIVE) if writer != "null" else writer
    match writer["type"]:
        case "array":
            return array(draw(readers(writer["items"])))
        case "map":
            return mapping(draw(readers(writer["values"])))
        case "enum":
            more = draw(st.lists(st.sampled_from(SYMBOLS), max_size=2, unique=True))
            symbols = list(dict.fromkeys([*writer["symbols"][draw(st.integers(0, 1)) :], *more])) or ["A"]
            return enum(*symbols, **draw(st.just({}) | st.just({"default": symbols[-1]})))
        case "fixed":
            return fixed(writer["size"] + draw(st.sampled_from([0, 0, 0, 1])))
    kept = [f | {"type": draw(readers(f["type"]))} for f in writer["fields"] if draw(st.integers(0, 4))]
    renamed = [
        f | {"name": f"{f['name']}2", "aliases": [f["name"]]} if draw(st.integers(0, 5)) == 0 else f for f in kept
    ]
    new = draw(st.sampled_from([[], [], [field("new", "int")], [field("new", "int", default=7)]]))
    return record(*draw(st.permutations([*renamed, *new])))


def named(schema: Json, path: str = "N") -> Json:
    """The same with names that say where a type stands, so that a type of the writer has the name of the reader's."""
    if isinstance(schema, list):
        return [named(branch, path) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: named(schema[key], f"{path}_{key}") for key in ("items", "values") if key in schema}
    if "fields" in schema:
        places = {f["name"]: (f.get("aliases") or [f["name"]])[0] for f in schema["fields"]}
        inner["fields"] = [f | {"type": named(f["type"], f"{path}_{places[f['name']]}")} for f in schema["fields"]]
    own = {"name": f"{path}_{schema['type']}"} if schema["type"] in ("record", "enum", "fixed") else {}
    return schema | inner | own


def values(schema: Json, names: dict[str, Json] | None = None) -> st.SearchStrategy[Any]:
    """Values of a schema. Bytes are ASCII, so that they may be read as text."""
    names = {} if names is None else names
    if isinstance(schema, list):
        return st.one_of(*[st.tuples(st.just(b), values(b, names)).map(_tagged) for b in schema])
    if isinstance(schema, str) and schema in names:
        return st.deferred(lambda: values(names[schema], names))
    if not isinstance(schema, dict):
        ascii_bytes = st.text(st.characters(max_codepoint=127), max_size=5).map(str.encode)
        return {
            "null": st.none(), "boolean": st.booleans(), "int": st.integers(-(2**31), 2**31 - 1),
            "long": st.integers(-(2**63), 2**63 - 1), "float": st.floats(width=32), "double": st.floats(),
            "bytes": ascii_bytes, "string": st.text(max_size=5),
        }[schema]  # fmt: skip
    if "name" in schema:
        names[schema["name"]] = schema
    match schema["type"]:
        case "array":
            return st.lists(values(schema["items"], names), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=3), values(schema["values"], names), max_size=3)
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "fixed":
            return st.binary(min_size=schema["size"], max_size=schema["size"])
    return st.fixed_dictionaries({f["name"]: values(f["type"], names) for f in schema["fields"]})


def _tagged(choice: tuple[Json, Any]) -> Any:
    """fastavro chooses the branch of a union by a name."""
    branch, value = choice
    if isinstance(branch, dict) and branch["type"] in ("record", "enum", "fixed"):
        return branch["name"], value
    return value


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data(), schema=types())
def test_what_has_no_problem_is_read_by_fastavro(data: st.DataObject, schema: Json) -> None:
    writer, reader = named(schema), named(data.draw(readers(schema)))
    assume(not problems(json.dumps(reader), json.dumps(writer)))
    assert is_read(reader, writer, data.draw(values(writer)))


MORE_LENIENT = {
    "an alias in a namespace that is not the writer's": "fastavro compares aliases without their namespace",
    "two fields of the writer for one": "fastavro takes the first",
    "decimals of two scales": "fastavro takes the writer's scale",
}
"""Cases that fastavro reads all the same."""


@pytest.mark.parametrize(
    "case", [c for c in CASES + EVERY_PAIR_OF_PRIMITIVES if c.expected], ids=lambda case: case.name
)
def test_of_what_has_a_problem_something_is_not_read_by_fastavro(case: Case) -> None:
    def is_refused(value: Any) -> bool:
        return not is_read(case.reader, case.writer, value)

    if case.name in MORE_LENIENT:
        return
    find(values(case.writer), is_refused, settings=settings(database=None, phases=[Phase.generate]))


def is_read(reader: Json, writer: Json, value: Any) -> bool:
    """Whether fastavro reads with one schema, to the last byte, what it wrote with the other."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(writer), value)
    body.seek(0)
    try:
        fastavro.schemaless_reader(body, fastavro.parse_schema(writer), fastavro.parse_schema(reader))
    except SchemaResolutionError:
        return False
    return body.read() == b""
