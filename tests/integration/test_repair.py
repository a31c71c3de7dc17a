"""What a reconciliation names is put right: every kind of fault, whatever is gone or killed on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines import bootstrap
from pipelines.flows import replay_report
from pipelines.flows.repair_records import NOBODY, REPLAYED
from pipelines.records import INVALID
from tests.integration.mending import Mending, deeds
from tests.world import NOW_MS, World, record

ANOTHER_DAY = "2001.01.01"
METHODS = """\
name: methods
where: {codes: [http_method_known]}
steps:
  - map: {field: http_method, values: {get: GET}}
"""


def drained(world: World, count: int) -> dict[tuple[int, int], dict[str, Any]]:
    """So many valid records and one broken one per partition, and a duplicate, taken by both jobs: place → document."""
    values = [world.encode(record(timestamp=NOW_MS - 1_000 - n, status_code=200 + n % 9)) for n in range(count)]
    world.send([*values, *(world.encode(record(http_method="fetch")) for _ in range(12)), values[0]])
    world.run("ingest")
    world.run("index")
    return {(d["kafka_partition"], d["kafka_offset"]): d for d in world.documents().values()}


def test_faults_of_every_kind_are_repaired(world: World) -> None:
    at = drained(world, 120)
    before = world.valid(), world.documents(), world.invalid()
    mending = Mending(world)
    mending.delete_rows([(0, 0), (0, 1), (8, 1)])
    mending.find("missing", "valid", (0, 0), at[0, 0]["request_id"])
    mending.find("missing", "valid", (0, 1))
    mending.find("missing", "valid", (8, 1), at[8, 1]["request_id"])
    mending.alter_rows([(1, 0)], status_code=999, api_endpoint="/changed")
    for name in ("status_code", "api_endpoint"):
        mending.find("differs", "valid", (1, 0), at[1, 0]["request_id"], field=name)
    mending.double_rows([(2, 0), (2, 0), (2, 3)])
    mending.alter_rows([(2, 3)], response_time_ms=1)
    mending.find("doubled", "valid", (2, 0), at[2, 0]["request_id"])
    mending.find("doubled", "valid", (2, 3), at[2, 3]["request_id"])
    for place in [(0, 1), (3, 0), (3, 1)]:
        mending.delete_document(at[place])
        mending.find("missing", "elasticsearch", place, at[place]["request_id"])
    mending.alter_document(at[4, 0], status_code=500)
    mending.find("differs", "elasticsearch", (4, 0), at[4, 0]["request_id"], field="status_code")
    right, wrong = at[5, 0]["_index"], f"{mending.prefix}-{ANOTHER_DAY}"
    mending.put_document(right, "doubled", at[5, 0])
    mending.find("doubled", "elasticsearch", (5, 0), at[5, 0]["request_id"], es_index=right, es_id="doubled")
    moved = at[6, 0]["request_id"]
    mending.put_document(wrong, moved, at[6, 0])
    mending.delete_document(at[6, 0])
    mending.find("misplaced", "elasticsearch", (6, 0), moved, es_index=wrong, es_id=moved)
    mending.put_document(right, "extra", at[7, 0], kafka_offset=77_777)
    mending.find("extra", "elasticsearch", (7, 77_777), None, es_index=right, es_id="extra")
    mending.delete_rows([(9, 10)], INVALID)
    mending.find("missing", "invalid", (9, 10))
    mending.find("extra", "elasticsearch", (8, 0), None, es_index=right, es_id=at[8, 0]["request_id"])
    mending.find("missing", "valid", (0, 11), at[0, 0]["request_id"])  # it says so wrongly: it is a duplicate
    mending.save()

    broken = world.documents()
    dry = mending.repair(dry_run=True)
    assert (dry.findings, world.documents()) == (17, broken)
    assert {(k, s, a, f): n for (k, s, a, f, _), n in deeds(dry).items()} == {
        ("missing", "valid", "insert_row", "kafka"): 3,
        ("missing", "valid", "insert_row", ""): 1,
        ("differs", "valid", "replace_row", "kafka"): 1,
        ("doubled", "valid", "keep_one_row", "kafka"): 2,
        ("missing", "elasticsearch", "write_document", "table"): 2,
        ("missing", "elasticsearch", "write_document", "kafka"): 1,
        ("differs", "elasticsearch", "write_document", "kafka"): 1,
        ("doubled", "elasticsearch", "write_document", "table"): 1,
        ("misplaced", "elasticsearch", "write_document", "table"): 1,
        ("doubled", "elasticsearch", "remove_document", ""): 1,
        ("misplaced", "elasticsearch", "remove_document", ""): 1,
        ("extra", "elasticsearch", "remove_document", ""): 2,
        ("missing", "invalid", "insert_invalid_row", "kafka"): 1,
    }
    assert mending.audit() == []

    first = mending.repair(still=("doubled", "extra", moved, at[8, 0]["request_id"]))
    assert (first.closed, first.left, first.is_clean) == (12, 5, False)
    assert deeds(first)["missing", "valid", "insert_row", "", "refused"] == 1
    assert world.valid() == before[0]
    assert world.invalid() == before[2]
    wrong_ones = {"doubled", "extra"}
    found = {i: d for i, d in world.documents().items() if i not in {*wrong_ones, moved}}
    assert found == {i: d for i, d in before[1].items() if i != moved}
    audit = mending.audit()
    assert {(a["repair_id"], a["run_id"], a["who"]) for a in audit} == {(first.repair_id, "run-1", "tester")}
    assert len(audit) == sum(first.deeds.values()) == 18
    [differs] = [a for a in audit if (a["kind"], a["side"]) == ("differs", "valid")]
    assert (differs["source"], differs["outcome"], differs["kafka_offset"]) == ("kafka", "done", 0)
    assert differs["message"] == "differed in api_endpoint, status_code"

    second = mending.repair("run-1", delete_extras=True)
    assert (second.closed, second.left, second.is_clean) == (3, 2, False)
    assert deeds(second)["extra", "elasticsearch", "remove_document", "table", "skipped"] == 1
    assert (world.valid(), world.documents(), world.invalid()) == before
    for index in {d["_index"] for d in before[1].values()}:
        held = mending.client.indices.get_settings(index=index, name="index.gc_deletes")
        assert not held.body, "an index still forgets deletions at once"
    assert mending.repair("run-1", delete_extras=True).findings == 2


def test_what_kafka_has_no_more_comes_from_whoever_is_intact(world: World, tmp_path: Path) -> None:
    sent = [record(timestamp=NOW_MS - n) for n in range(5)]
    world.send([world.encode(r) for r in sent], partition=0)
    world.send([world.encode(record(http_method="get")) for _ in range(2)], partition=1)
    world.run("ingest")
    world.run("index")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(METHODS, encoding="utf-8")
    kit = bootstrap.replay(world.settings, recipe, world.spark)
    assert kit.flow.run(kit.recipe, "tester", replay_report.Pace()).outcomes == {"replayed": 2}
    valid, documents = world.valid(), world.documents()
    at = {(d["kafka_partition"], d["kafka_offset"]): d for d in documents.values()}
    mending = Mending(world)
    mending.double_rows([(0, 2)])
    mending.alter_one_row((0, 2), status_code=500)
    mending.find("doubled", "valid", (0, 2), sent[2]["request_id"])
    mending.alter_rows([(0, 4)], status_code=999)
    mending.find("differs", "valid", (0, 4), sent[4]["request_id"], field="status_code")
    mending.delete_rows([(0, 0), (0, 3), (1, 0), (1, 1)])
    for place in [(0, 0), (0, 3), (1, 0), (1, 1)]:
        mending.find("missing", "valid", place, at[place]["request_id"])
    for place in [(0, 1), (0, 3), (1, 1)]:
        mending.delete_document(at[place])
        mending.find("missing", "elasticsearch", place, at[place]["request_id"])
    mending.save()
    mending.delete_from_kafka({0: 5, 1: 2})

    report = mending.repair()
    assert deeds(report) == {
        ("doubled", "valid", "keep_one_row", "table", "done"): 1,
        ("differs", "valid", "replace_row", "document", "done"): 1,
        ("missing", "valid", "insert_row", "document", "done"): 2,
        ("missing", "valid", "insert_row", "", "unrepairable"): 2,
        ("missing", "elasticsearch", "write_document", "table", "done"): 1,
        ("missing", "elasticsearch", "write_document", "", "unrepairable"): 2,
    }
    lost = {(0, 3), (1, 1)}
    assert world.valid() == {place: row for place, row in valid.items() if place not in lost}
    assert world.documents() == {
        i: d for i, d in documents.items() if (d["kafka_partition"], d["kafka_offset"]) not in lost
    }
    assert (report.closed, report.left) == (5, 4)
    why = {a["kafka_partition"]: a["message"] for a in mending.audit() if a["outcome"] == "unrepairable"}
    assert (why[0], why[1]) == (NOBODY, REPLAYED)
    assert mending.repair().left == 4
