"""Every file under schemas/ is right, and the check does fail on those that are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.contracts.catalogue import LOG_SUBJECTS, Finding, check_all, examine, examine_file, flaws, released
from pipelines.errors import UsageError
from pipelines.settings import ROOT

SCHEMAS = ROOT / "schemas"
LOG = "api6-logs-value"
SHIPPED = (SCHEMAS / LOG / "v1.avsc").read_text(encoding="utf-8")
_FIELDS = json.loads(SHIPPED)["fields"]
TWICE = json.dumps(json.loads(SHIPPED) | {"fields": [*_FIELDS, {"name": "status_code", "type": "int", "default": 0}]})
OTHER = '{"type": "record", "name": "R", "fields": [{"name": "f", "type": "int"}]}'


def test_every_schema_that_ships_is_right() -> None:
    assert check_all(SCHEMAS) == []


def test_the_subject_of_the_logs_is_among_them() -> None:
    assert LOG_SUBJECTS == (LOG,)
    assert (SCHEMAS / LOG / "v1.avsc").is_file()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what ships, to be spoilt."""
    return shutil.copytree(SCHEMAS, tmp_path / "schemas")


def with_field(text: str, **field: Any) -> str:
    """The schema with one more field, or another one in the place of the field of that name."""
    schema = json.loads(text)
    names = [f["name"] for f in schema["fields"]]
    at = names.index(field["name"]) if field["name"] in names else len(names)
    schema["fields"][at : at + 1] = [field]
    return json.dumps(schema)


def newest(folder: Path) -> int:
    return len(list((folder / LOG).glob("v*.avsc")))


def add_version(folder: Path, text: str, number: int | None = None) -> str:
    """The name of the new file, as the check gives it."""
    name = f"v{number or newest(folder) + 1}.avsc"
    (folder / LOG / name).write_text(text, encoding="utf-8")
    return f"{LOG}/{name}"


def text_of(folder: Path, number: int) -> str:
    return (folder / LOG / f"v{number}.avsc").read_text(encoding="utf-8")


def test_a_good_next_version_is_fine(folder: Path) -> None:
    last = text_of(folder, newest(folder))
    add_version(folder, with_field(last, name="brand_new", type=["null", "string"], default=None))
    assert check_all(folder) == []


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (
            {"name": "brand_new", "type": "string"},
            "field brand_new: the writer has no such field, and the reader has no default for it (missing_default)",
        ),
        ({"name": "status_code", "type": "string"}, "field status_code: int can't be read as string (type_mismatch)"),
        (
            {"name": "user_agent", "type": "string"},
            "field user_agent: null can't be read as string (union_branch_missing)",
        ),
        ({"name": "timestamp", "type": "int"}, "field timestamp: long can't be read as int (type_mismatch)"),
    ],
)
def test_a_version_that_can_not_read_its_predecessor(folder: Path, field: dict[str, Any], reason: str) -> None:
    last = newest(folder)
    if field["name"] != "brand_new":  # the fields as they shipped first
        shutil.rmtree(folder / LOG)
        (folder / LOG).mkdir()
        last = 1
        add_version(folder, SHIPPED, 1)
    file = add_version(folder, with_field(text_of(folder, last), **field))
    assert check_all(folder) == [f"{file}: can't read what {LOG}/v{last}.avsc wrote: {reason}"]


def test_each_version_is_held_against_the_one_before_only(tmp_path: Path) -> None:
    subject = tmp_path / "s"
    subject.mkdir()
    for number, avro_type in enumerate(('"int"', '"long"', '"int"', '"long"'), start=1):
        (subject / f"v{number}.avsc").write_text(OTHER.replace('"int"', avro_type), encoding="utf-8")
    assert check_all(tmp_path) == [
        "s/v3.avsc: can't read what s/v2.avsc wrote: field f: long can't be read as int (type_mismatch)"
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not an Avro schema: "),
        ("", "not an Avro schema: "),
        ('{"type": "nonsense"}', "not an Avro schema: "),
        ('{"type": "record", "name": "API6Log"}', "a log schema is an Avro record"),
        ('"string"', "a log schema is an Avro record"),
        (
            with_field(SHIPPED, name="tags", type={"type": "array", "items": "string"}),
            "field tags: a log field is a primitive",
        ),
        (
            with_field(SHIPPED, name="region", type=["string", "null"], default=None),
            "field region: the default None is not of its (first) type",
        ),
        (
            with_field(SHIPPED, name="region", type={"type": "enum", "name": "E", "symbols": ["A"]}, default="B"),
            "field region: the default 'B'",
        ),
        (TWICE, "field status_code: there are 2 of that name"),
        (with_field(SHIPPED, name="a-b", type="int", default=0), "field a-b: that is no name in Avro"),
        (with_field(SHIPPED, name="5", type="int", default=0), "field 5: that is no name in Avro"),
        (with_field(SHIPPED, name="n\n", type="int", default=0), "that is no name in Avro"),
        ('{"type": "record", "name": "API6Log", "fields": []}', "a log has fields"),
        (with_field(SHIPPED, name="kafka_offset", type="long", default=0), "the platform has a column of that name"),
        (with_field(SHIPPED, name="Status_Code", type="int", default=0), "differs from another column"),
        (
            with_field(SHIPPED, name="size", type="int", default=0, aliases=["payload_size"]),
            "fields payload_size and size are both column payload_size",
        ),
        (with_field(SHIPPED, name="retries", type="int", default=2**40), "field retries: the default 1099511627776"),
        (with_field(SHIPPED, name="size", type="int", default=0, aliases=["a b"]), "aliases are names in Avro"),
    ],
)
def test_a_version_that_is_wrong_by_itself(folder: Path, text: str, reason: str) -> None:
    file = add_version(folder, text)
    [found] = check_all(folder)
    assert found.startswith(f"{file}: ")
    assert reason in found


def test_bytes_that_are_not_utf8(folder: Path) -> None:
    (folder / LOG / f"v{newest(folder) + 1}.avsc").write_bytes(SHIPPED.encode().replace(b"API6Log", b"\xff"))
    [found] = check_all(folder)
    assert found.endswith(": not UTF-8")


def test_a_hole_between_versions(folder: Path) -> None:
    last = newest(folder)
    add_version(folder, text_of(folder, last), last + 3)
    assert check_all(folder) == [f"{LOG}/v{last + n}.avsc: missing" for n in (1, 2)]


@pytest.mark.parametrize("name", ["v0.avsc", "v01.avsc", "V2.avsc", "v2.json", "v2.avsc~", "2.avsc", ".v2.avsc.swp"])
def test_names_that_are_no_version(folder: Path, name: str) -> None:
    (folder / LOG / name).write_text(SHIPPED, encoding="utf-8")
    assert check_all(folder) == [f"{LOG}/{name}: not named v<N>.avsc"]


def test_folders_that_hold_no_version(tmp_path: Path) -> None:
    assert check_all(tmp_path / "none") == ["none: there is no schema in it"]
    (tmp_path / "stray.avsc").write_text(OTHER, encoding="utf-8")
    (tmp_path / "subject").mkdir()
    assert check_all(tmp_path) == ["stray.avsc: a file outside of any subject's folder", "subject: no version"]


def test_only_the_logs_must_be_flat() -> None:
    nested = json.dumps(
        {"type": "record", "name": "R", "fields": [{"name": "f", "type": {"type": "map", "values": "int"}}]}
    )
    assert flaws("orders-value", nested) == []
    assert flaws(LOG, nested) != []


@pytest.mark.parametrize(
    ("avro_type", "default", "fits"),
    [
        ("null", None, True), ("null", 0, False), ("int", 1, True), ("int", True, False), ("boolean", True, True),
        ("double", 1, True), ("double", 1.5, True), ("string", "", True), ("bytes", "\u00ff", True),
        (["null", "int"], None, True), (["null", "int"], 1, False), (["int", "null"], 1, True),
        ({"type": "array", "items": "int"}, [], True), ({"type": "array", "items": "int"}, {}, False),
        ({"type": "map", "values": "int"}, {}, True), ({"type": "enum", "name": "E", "symbols": ["A"]}, "A", True),
        ({"type": "fixed", "name": "F", "size": 1}, "a", True), (["int", "string"], "a", False),
        ({"type": "record", "name": "I", "fields": []}, {}, True), ({"type": "long", "logicalType": "x"}, 3, True),
        ("int", 2**31 - 1, True), ("int", 2**31, False), ("int", -(2**31), True), ("int", -(2**31) - 1, False),
        ("long", 2**63 - 1, True), ("long", 2**63, False), ("float", 3.4e38, True), ("float", 3.5e38, False),
        ("double", 1e308, True), ("double", 10**400, False), ("bytes", "\u0100", False),
    ],
)  # fmt: skip
def test_defaults(avro_type: Any, default: Any, fits: bool) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "f", "type": avro_type, "default": default}]}
    assert (flaws("s", json.dumps(schema)) == []) == fits


@pytest.mark.parametrize(
    ("schema", "flaw"),
    [
        ({"type": "enum", "name": "E", "symbols": ["A", "b-c"]}, "Every symbol must match"),
        ({"type": "record", "name": "x-y", "fields": []}, "field f: 'n.s.x-y' is no name in Avro"),
        (
            {"type": "record", "name": "I", "fields": [{"name": "g", "type": "int"}, {"name": "g", "type": "int"}]},
            "field f.g: there are 2 of that name",
        ),
    ],
)
def test_names_in_depth(schema: dict[str, Any], flaw: str) -> None:
    [found] = flaws("s", json.dumps({"type": "record", "name": "n.s.R", "fields": [{"name": "f", "type": schema}]}))
    assert flaw in found


def test_defaults_in_depth_and_of_named_types() -> None:
    inner = {"type": "record", "name": "I", "fields": [{"name": "g", "type": ["int", "null"], "default": None}]}
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "f", "type": ["null", {"type": "array", "items": inner}]}],
    }
    assert flaws("s", json.dumps(schema)) == ["field f.g: the default None is not of its (first) type"]
    enum = {"type": "enum", "name": "E", "symbols": ["A"]}
    fields = [{"name": "f", "type": enum}, {"name": "g", "type": "E", "default": "A"}]
    assert flaws("s", json.dumps({"type": "record", "name": "R", "fields": fields})) == []


@pytest.mark.parametrize("text", ["[" * 100_000, '{"type": "array", "items": ' * 900 + '"int"' + "}" * 900])
def test_a_text_that_is_nested_too_deeply_is_no_schema(text: str) -> None:
    [flaw] = flaws("api6-logs-value", text)
    assert flaw


# --- one file ------------------------------------------------------------------------------------------------------

MISFIT = {"name": "brand_new", "type": "string"}
TOLD = "field brand_new: the writer has no such field, and the reader has no default for it"


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Three versions of which the second can't read the first, nor the third the second."""
    home = tmp_path / "schemas" / "s"
    home.mkdir(parents=True)
    for number, avro_type in enumerate(('"string"', '"long"', '"int"'), start=1):
        (home / f"v{number}.avsc").write_text(OTHER.replace('"int"', avro_type), encoding="utf-8")
    return home


def test_a_finding_says_file_field_code_and_what_it_was_held_against(folder: Path) -> None:
    last = newest(folder)
    file = add_version(folder, with_field(text_of(folder, last), **MISFIT))
    against = f"{LOG}/v{last}.avsc"
    assert examine(folder) == [Finding(file, TOLD, "fields.brand_new", "missing_default", against)]
    add_version(folder, with_field(text_of(folder, last), name="region", type=["null", "int"], default=1), last + 1)
    told = "field region: the default 1 is not of its (first) type"
    assert examine(folder) == [Finding(file, told, "fields.region")]


def test_a_file_of_the_catalogue_is_held_against_both_neighbours(chain: Path) -> None:
    found = {n: examine_file(chain / f"v{n}.avsc", "s", chain.parent) for n in (1, 2, 3)}
    steps = {n: [(finding.file, finding.against) for finding in findings] for n, findings in found.items()}
    first, second = ("s/v2.avsc", "s/v1.avsc"), ("s/v3.avsc", "s/v2.avsc")
    assert steps == {1: [first], 2: [first, second], 3: [second]}


def test_a_file_elsewhere_is_held_against_the_newest_version(chain: Path, tmp_path: Path) -> None:
    file = tmp_path / "proposal.avsc"
    file.write_text(OTHER, encoding="utf-8")
    assert examine_file(file, "s", chain.parent) == []
    file.write_text(OTHER.replace('"int"', '"string"'), encoding="utf-8")
    [finding] = examine_file(file, "s", chain.parent)
    told = "field f: int can't be read as string"
    assert finding == Finding(str(file), told, "fields.f", "type_mismatch", "s/v3.avsc")
    assert examine_file(file, "new", chain.parent) == [], "the first version of a subject has nothing to read"


def test_a_file_elsewhere_that_is_wrong_by_itself(chain: Path, tmp_path: Path) -> None:
    file = tmp_path / "proposal.avsc"
    file.write_bytes(b"\xff")
    assert examine_file(file, "s", chain.parent) == [Finding(str(file), "not UTF-8")]
    file.write_text('"string"', encoding="utf-8")
    [finding] = examine_file(file, LOG, SCHEMAS)
    assert "a log schema is an Avro record" in finding.reason


def test_what_is_released_is_every_text(folder: Path) -> None:
    assert released(folder)[LOG] == {n: text_of(folder, n) for n in range(1, newest(folder) + 1)}


def test_nothing_is_released_while_a_file_is_wrong(chain: Path) -> None:
    with pytest.raises(UsageError, match=r"s/v2\.avsc: can't read .*; s/v3\.avsc: can't read "):
        released(chain.parent)
