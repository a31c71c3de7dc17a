"""A proposed version beside the registered ones: columns, and versions that it can't read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.contracts.proposal import PROPOSED_ID, Change, propose
from pipelines.contracts.writer import LogSchema
from pipelines.errors import InvalidSetting


def schema(*fields: dict[str, Any]) -> LogSchema:
    return LogSchema(json.dumps({"type": "record", "name": "API6Log", "fields": list(fields)}))


def field(name: str, avro_type: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": avro_type, **more}


BASE = schema(field("id", "string"), field("size", "int"), field("agent", ["null", "string"], default=None))


def test_the_same_version_again_changes_nothing() -> None:
    found = propose(BASE, {1: BASE}, BASE)
    assert (found.registered, found.incompatible, found.changes) == ((1,), {}, ())
    assert found.today.writers.keys() == {1}
    assert found.proposed.writers.keys() == {1, PROPOSED_ID}


def test_a_version_that_the_columns_have_no_place_for_is_named_though_it_reads_every_record() -> None:
    found = propose(BASE, {1: BASE}, schema(field("id", "string")))
    assert found.incompatible == {}
    assert found.misfit == "field size is required, and this version lacks it"
    assert propose(BASE, {1: BASE}, BASE).misfit is None


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        (
            [
                field("id", "string"),
                field("size", "int"),
                field("agent", ["null", "string"], default=None),
                field("region", ["null", "string"], default=None),
            ],
            [("region", Change.NEW, "", "string or null")],
        ),
        (
            [
                field("id", "string"),
                field("size", "int"),
                field("agent", ["null", "string"], default=None),
                field("region", "string", default="eu"),
            ],
            [("region", Change.NEW, "", "string")],
        ),
        (
            [field("id", "string"), field("size", "long"), field("agent", ["null", "string"], default=None)],
            [("size", Change.WIDENED, "int", "long")],
        ),
        (
            [
                field("id", "string"),
                field("size", ["null", "int"], default=None),
                field("agent", ["null", "string"], default=None),
            ],
            [("size", Change.NULLABLE, "int", "int or null")],
        ),
        (
            [field("id", "string"), field("size", "int")],
            [("agent", Change.NOT_WRITTEN, "string or null", "string or null")],
        ),
        (
            [
                field("id", "string"),
                field("bytes", "long", aliases=["size"]),
                field("agent", ["null", "string"], default=None),
            ],
            [("size", Change.WIDENED, "int", "long")],
        ),
        (
            [
                field("uid", "string", aliases=["id"]),
                field("size", "int"),
                field("agent", ["null", "string"], default=None),
            ],
            [],
        ),
        ([field("id", "bytes"), field("size", "int"), field("agent", ["null", "string"], default=None)], []),
    ],
)
def test_what_becomes_of_the_columns(fields: list[dict[str, Any]], changes: list[tuple[str, str, str, str]]) -> None:
    found = propose(BASE, {1: BASE}, schema(*fields))
    assert [(c.column, c.change, c.was, c.becomes) for c in found.changes] == changes
    assert found.incompatible == {}
    assert [f.name for f in found.proposed.reader.fields][:3] == ["id", "size", "agent"]


def test_every_version_that_it_can_not_read_is_named_with_all_its_problems() -> None:
    older = schema(field("id", "string"), field("size", "long"), field("agent", ["null", "string"], default=None))
    version = schema(field("id", "string"), field("size", "int"), field("agent", "string"))
    found = propose(BASE, {3: older, 7: version, 9: BASE}, version)
    problems = {i: [(p.path, p.code.value) for p in listed] for i, listed in found.incompatible.items()}
    assert problems == {
        3: [("fields.size", "type_mismatch"), ("fields.agent", "union_branch_missing")],
        9: [("fields.agent", "union_branch_missing")],
    }


def test_a_version_that_is_not_flat_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="field tags"):
        propose(BASE, {1: BASE}, schema(field("tags", {"type": "array", "items": "string"})))
