"""Bad rows come back: by a recipe, once each, whatever is killed on the way, and everything still adds up."""

from __future__ import annotations

import io
import json
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import httpx2
import pytest
from elasticsearch import Elasticsearch

from pipelines import bootstrap
from pipelines.adapters.registry import Registry
from pipelines.contracts import avro
from pipelines.errors import InvalidRecipe, UsageError
from pipelines.flows.replay_report import Forecast, Pace, Report
from pipelines.records import AUDIT, Batch, RowStatus
from pipelines.settings import ROOT
from tests.commands import sdp, sdp_here
from tests.world import NOW_MS, World, fields, record

HOUR_MS = 3_600_000
METHODS = """\
name: methods
where: {codes: [http_method_known]}
steps:
  - map: {field: http_method, values: {get: GET, post: POST}}
"""


def recipe(folder: Path, text: str = METHODS) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def replay(world: World, path: Path, **how: Any) -> Report:
    kit = bootstrap.replay(world.settings, path, world.spark)
    mark = how.pop("mark_unrecoverable", False)
    return kit.flow.run(kit.recipe, "tester", Pace(**how), mark_unrecoverable=mark)


def forecast(world: World, path: Path) -> Forecast:
    kit = bootstrap.replay(world.settings, path, world.spark)
    return kit.flow.forecast(kit.recipe)


def tries(world: World) -> list[dict[str, Any]]:
    rows = world.table(AUDIT).orderBy("kafka_partition", "kafka_offset", "at").collect()
    return [r.asDict(recursive=True) for r in rows]


def drain(world: World) -> None:
    world.run("ingest")
    world.run("index")


def add_up(world: World) -> None:
    found = bootstrap.status(world.settings, world.spark)
    for job in (found.ingest(), found.index()):
        assert job.problems == []


def states(rows: dict[tuple[int, int], dict[str, Any]]) -> dict[tuple[int, int], tuple[str, int]]:
    return {at: (row["status"], row["attempt"]) for at, row in rows.items()}


def test_a_person_lists_shows_and_replays(world: World, tmp_path: Path) -> None:
    taken = record()
    repaired = [record(http_method="get", api_endpoint=f"/v6/e{n % 2}") for n in range(5)]
    hopeless = record(http_method="post", status_code=0)
    duplicate = record(http_method="get", request_id=taken["request_id"])
    as_json = record(error_message="späť")
    values = [world.encode(v) for v in (taken, *repaired, hopeless, duplicate)]
    world.send([*values, json.dumps(as_json).encode(), world.encode(record()) + b"xy"], partition=4)
    drain(world)

    def run(*arguments: str) -> Any:
        code, printed = sdp_here(world.spark, world.overrides(), *arguments, "--json")
        assert code == 0, printed
        return json.loads(printed)

    listed = run("badrows", "list", "--by", "reason", "--by", "endpoint", "--by", "hour")
    assert listed["total"] == 9
    groups = {by: {g["key"]: g["count"] for g in found["groups"]} for by, found in listed["by"].items()}
    assert groups["reason"] == {
        "http_method_known": 6,
        "status_code_range": 1,
        "json_instead_of_avro": 1,
        "trailing_bytes": 1,
    }
    assert groups["endpoint"] == {"/v6/e0": 3, "/v6/e1": 2, "/v6/orders/{id}": 2, "–": 2}
    assert list(groups["hour"].values()) == [9]
    assert [sum(g["trend"]) for g in listed["by"]["reason"]["groups"]] == [6, 1, 1, 1]

    shown = run("badrows", "show", "4", "1")
    assert (shown["status"], shown["attempt"], shown["key"], shown["tries"]) == ("open", 0, "*** (1 bytes)", [])
    pieces = {p["name"]: p for p in shown["pieces"]}
    assert pieces["http_method"]["value"] == "get"
    assert bytes.fromhex(pieces["http_method"]["hex"]) == b"\x06get"
    assert set(pieces["client_ip"]["hex"].split()) == {"**"}
    assert pieces["client_ip"]["value"] == pieces["user_agent"]["value"] == "***"
    place = f"{world.settings.kafka.topic}-4@1"
    assert {p["name"]: p["value"] for p in run("badrows", "show", place, "--unmask")["pieces"]}[
        "client_ip"
    ] == "192.0.2.7"

    path = str(recipe(tmp_path))
    before = (world.valid(), world.invalid(), world.es_invalid(), world.documents())
    dry = run("badrows", "replay", path, "--dry-run")
    assert dry["replay"] is None
    assert dry["forecast"]["matching"] == 7
    assert dry["forecast"]["outcomes"] == {"replayed": 5, "duplicate": 1, "still_invalid": 1}
    assert dry["forecast"]["reasons"] == {"duplicate_request_id": 1, "status_code_range": 1}
    assert "192.0.2.7" not in json.dumps(dry)
    assert (world.valid(), world.invalid(), world.es_invalid(), world.documents()) == before
    assert tries(world) == []

    answer = sdp(
        world.settings, "badrows", "replay", path, "--yes", "--as", "ana", "--json", overrides=world.overrides()
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    done = json.loads(answer.stdout)
    assert done["replay"]["outcomes"] == {"replayed": 5, "duplicate": 1, "still_invalid": 1}
    valid, documents = world.valid(), world.documents()
    for n, wanted in enumerate(repaired, 1):
        assert fields(valid[4, n]) == wanted | {"http_method": "GET"}
        assert fields(documents[wanted["request_id"]]) == wanted | {"http_method": "GET"}
    assert set(valid) == {(4, n) for n in range(6)}
    assert len(documents) == 6
    now = {(4, n): ("replayed", 1) for n in range(1, 6)} | {(4, 6): ("open", 1), (4, 7): ("open", 1)}
    now |= {(4, 8): ("open", 0), (4, 9): ("open", 0)}
    assert states(world.invalid()) == now
    assert states(world.es_invalid()) == now
    assert world.codes()[4, 6] == ["status_code_range", "http_method_known"]
    assert world.invalid()[4, 1]["raw"] == values[1]
    audit = tries(world)
    assert [(t["kafka_offset"], t["outcome"], t["who"], t["attempt"]) for t in audit] == [
        *((n, "replayed", "ana", 1) for n in range(1, 6)),
        (6, "still_invalid", "ana", 1),
        (7, "duplicate", "ana", 1),
    ]
    assert {t["replay_id"] for t in audit} == {done["replay"]["replay_id"]}
    assert [t["codes"] for t in audit[5:]] == [["status_code_range"], ["duplicate_request_id"]]

    found = run("status")
    assert (found["ingest"]["adds_up"], found["index"]["adds_up"]) == (True, True)
    assert (found["ingest"]["open"], found["ingest"]["replayed"]) == (4, 5)

    assert replay(world, Path(path)).outcomes == {"duplicate": 1, "still_invalid": 1}
    assert (world.valid(), world.documents()) == (valid, documents)
    assert states(world.invalid())[4, 6] == ("open", 2)
    shown = run("badrows", "show", "4", "6")
    assert [(t["attempt"], t["outcome"]) for t in shown["tries"]] == [(2, "still_invalid"), (1, "still_invalid")]


def test_nobody_there_to_confirm_is_wrong_use(world: World, tmp_path: Path) -> None:
    done = sdp(world.settings, "badrows", "replay", str(recipe(tmp_path)), overrides=world.overrides())
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_recipes_that_ship_repair_their_rows(world: World) -> None:
    sent = [record() for _ in range(4)]
    texts = {"timestamp": _iso(sent[1]["timestamp"]), "status_code": "200", "trace_id": "t"}
    values = {
        "upper-case-methods": world.encode(sent[0] | {"http_method": "put"}),
        "json-instead-of-avro": json.dumps(sent[1] | texts).encode(),
        "trailing-bytes": world.encode(sent[2]) + b"tail",
        "no-header": world.encode(sent[3])[5:],
    }
    world.send(values.values(), partition=0)
    drain(world)
    for name in values:
        assert replay(world, ROOT / "conf" / "recipes" / f"{name}.yaml").outcomes == {"replayed": 1}
    sent[0]["http_method"] = "PUT"
    assert {at: fields(row) for at, row in world.valid().items()} == {(0, n): wanted for n, wanted in enumerate(sent)}
    documents = world.documents()
    assert [fields(documents[wanted["request_id"]]) for wanted in sent] == sent
    add_up(world)


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def test_rows_wait_until_both_jobs_have_confirmed_them(world: World, tmp_path: Path) -> None:
    path = recipe(tmp_path)
    world.send([world.encode(record(http_method="get")) for _ in range(3)])
    world.run("ingest")
    found = forecast(world, path)
    assert (found.matching, found.waiting) == (0, 3)
    assert replay(world, path).outcomes == {}
    world.run("index")
    assert replay(world, path).outcomes == {"replayed": 3}
    add_up(world)


def test_what_elasticsearch_refuses_stays_open_and_stops_after_the_canary(world: World, tmp_path: Path) -> None:
    yesterday = NOW_MS - 24 * HOUR_MS
    index = f"{world.settings.elasticsearch.index_prefix}-{datetime.fromtimestamp(yesterday / 1000, UTC):%Y.%m.%d}"
    client = Elasticsearch(world.settings.elasticsearch.url)
    client.indices.create(index=index, mappings={"properties": {"payload_size": {"type": "ip"}}})
    refused = record(timestamp=yesterday, http_method="get")
    others = [record(http_method="get") for _ in range(4)]
    world.send([world.encode(v) for v in (refused, *others)], partition=2)
    drain(world)
    path = recipe(tmp_path)
    report = replay(world, path, canary=2)
    assert report.stopped_after_canary
    assert report.outcomes == {"rejected": 1, "replayed": 1}
    assert states(world.invalid())[2, 0] == states(world.es_invalid())[2, 0] == ("open", 1)
    assert set(world.valid()) == {(2, 1)}
    row = world.es_invalid()[2, 0]
    assert (row["es_status"], row["es_index"]) == (400, index)
    [trail] = [t for t in tries(world) if t["outcome"] == "rejected"]
    assert trail["codes"] == [f"elasticsearch_{row['es_error_type']}"]
    assert trail["message"] == row["es_reason"]
    add_up(world)
    report = replay(world, path, canary=2, keep_going=True)
    assert (report.stopped_after_canary, report.outcomes) == (False, {"rejected": 1, "replayed": 3})
    add_up(world)


def test_a_replayed_row_never_replaces_a_later_one(world: World, tmp_path: Path) -> None:
    """A client sent it wrong, then right hours later: by its offset the wrong one would win in Elasticsearch."""
    yesterday = NOW_MS - NOW_MS % (24 * HOUR_MS) - 24 * HOUR_MS
    right = record(timestamp=yesterday + 5 * HOUR_MS)
    wrong = right | {"timestamp": yesterday + HOUR_MS, "http_method": "get"}
    world.send([world.encode(wrong), world.encode(right)], partition=2)
    drain(world)
    assert replay(world, recipe(tmp_path)).outcomes == {"duplicate": 1}
    assert fields(world.documents()[right["request_id"]]) == right
    add_up(world)


def test_rows_that_are_given_up_are_left_alone(world: World, tmp_path: Path) -> None:
    world.send([world.encode(record(http_method="get", status_code=0))], partition=1)
    drain(world)
    path = recipe(tmp_path)
    assert replay(world, path, mark_unrecoverable=True).outcomes == {"still_invalid": 1}
    assert states(world.invalid()) == states(world.es_invalid()) == {(1, 0): ("unrecoverable", 1)}
    [trail] = tries(world)
    assert (trail["outcome"], trail["codes"]) == ("unrecoverable", ["status_code_range"])
    assert replay(world, path).outcomes == {}
    both = (
        METHODS.replace("where: {", "where: {status: [unrecoverable], ") + "  - set: {field: status_code, value: 200}\n"
    )
    assert replay(world, recipe(tmp_path, both)).outcomes == {"replayed": 1}
    add_up(world)


def test_recovered_rows_come_again_as_open_ones(world: World, tmp_path: Path) -> None:
    sent = [record(http_method="get") for _ in range(6)]
    world.send([world.encode(v) for v in sent], partition=7)
    drain(world)
    path = recipe(tmp_path)
    replay(world, path)
    before = world.valid(), world.documents()
    world.run("ingest", recover="earliest")
    assert world.valid() == {}
    assert set(states(world.invalid()).values()) == {("open", 0)}
    add_up(world)
    assert replay(world, path).outcomes == {"replayed": 6}
    assert (world.valid(), world.documents()) == before
    add_up(world)


AGAIN = """\
name: again
where: {status: [replayed], stages: [rule]}
"""


def agree(world: World) -> None:
    """Table and documents say the same of every record."""
    valid, documents = world.valid(), world.documents().values()
    found = {(d["kafka_partition"], d["kafka_offset"]): fields(d) for d in documents}
    assert found == {at: fields(row) for at, row in valid.items()}


def test_documents_that_were_lost_come_back_the_documented_way(world: World, tmp_path: Path) -> None:
    sent = [record(http_method="get") for _ in range(5)] + [record(), record(http_method="FETCH")]
    world.send([world.encode(v) for v in sent], partition=7)
    drain(world)
    replay(world, recipe(tmp_path))
    documents, valid, trail = world.documents(), world.valid(), tries(world)
    for index in {d["_index"] for d in documents.values()}:
        Elasticsearch(world.settings.elasticsearch.url).indices.delete(index=index)
    world.run("index", recover="earliest")
    assert len(world.documents()) == 1
    again = recipe(tmp_path, AGAIN)
    assert forecast(world, again).outcomes == {"restored": 5}
    report = replay(world, again)
    assert (report.outcomes, report.broken_promises) == ({"restored": 5}, 0)
    assert (world.documents(), world.valid()) == (documents, valid)
    assert Counter(states(world.invalid()).values()) == {("replayed", 2): 5, ("open", 1): 1}
    assert Counter(states(world.es_invalid()).values()) == {("replayed", 2): 5, ("open", 0): 1}
    assert [t["outcome"] for t in tries(world)].count("restored") == len(tries(world)) - len(trail) == 5
    add_up(world)


def test_a_duplicate_that_was_indexed_in_the_absence_of_a_replayed_row_gives_way(world: World, tmp_path: Path) -> None:
    first = record(http_method="get")
    world.send([world.encode(first)], partition=7)
    drain(world)
    replay(world, recipe(tmp_path))
    world.send([world.encode(first | {"http_method": "GET", "status_code": 500})], partition=7)
    drain(world)
    [index] = {d["_index"] for d in world.documents().values()}
    Elasticsearch(world.settings.elasticsearch.url).indices.delete(index=index)
    for _ in range(2):
        world.run("index", recover="earliest")
        assert replay(world, recipe(tmp_path, AGAIN)).outcomes == {"restored": 1}
    agree(world)
    assert {at: row["status"] for at, row in world.es_invalid().items()} == {(7, 0): "replayed", (7, 1): "open"}
    add_up(world)


def test_a_recovered_index_agrees_again_by_the_same_recipe(world: World, tmp_path: Path) -> None:
    world.send([world.encode(record(http_method="get")) for _ in range(3)], partition=7)
    drain(world)
    replay(world, recipe(tmp_path))
    world.run("index", recover="earliest")
    assert set(states(world.es_invalid()).values()) == {("open", 0)}
    again = recipe(tmp_path, METHODS.replace("where: {", "where: {status: [replayed], "))
    assert replay(world, again).outcomes == {"restored": 3}
    assert set(states(world.es_invalid()).values()) == set(states(world.invalid()).values()) == {("replayed", 2)}
    agree(world)
    add_up(world)


STEPS_THAT_SPOIL = {
    "puts": "steps: [{map: {field: http_method, values: {get: PUT, GET: PUT}}}]",
    "fails": "steps: [{cast: {field: request_id, to: int}}]",
}


def test_nothing_changes_a_row_that_is_valid_already(world: World, tmp_path: Path) -> None:
    """Whatever a second recipe would make of it, and whatever it says of rows that fail."""
    world.send([world.encode(record(http_method=m)) for m in ("get", "get", "GET", "fetch")], partition=1)
    drain(world)
    replay(world, recipe(tmp_path))
    before = world.valid(), world.documents()
    for steps in STEPS_THAT_SPOIL.values():
        spoils = recipe(tmp_path, AGAIN + steps)
        assert replay(world, spoils, mark_unrecoverable=True).outcomes == {"restored": 2}
    assert (world.valid(), world.documents()) == before
    found = states(world.invalid())
    assert found == states(world.es_invalid())
    assert Counter(found.values()) == {("replayed", 3): 2, ("open", 1): 1}
    add_up(world)


def test_a_document_that_is_refused_the_second_time_lowers_no_state(world: World, tmp_path: Path) -> None:
    world.send([world.encode(record(http_method="get"))], partition=1)
    drain(world)
    replay(world, recipe(tmp_path))
    [index] = {d["_index"] for d in world.documents().values()}
    client = Elasticsearch(world.settings.elasticsearch.url)
    client.indices.delete(index=index)
    client.indices.create(index=index, mappings={"properties": {"http_method": {"type": "ip"}}})
    world.run("index", recover="earliest")
    report = replay(world, recipe(tmp_path, AGAIN), mark_unrecoverable=True)
    assert (report.outcomes, report.broken_promises) == ({"rejected": 1}, 1)
    assert states(world.invalid()) == {(1, 0): ("replayed", 2)}
    assert states(world.es_invalid()) == {(1, 0): ("open", 2)}
    assert world.es_invalid()[1, 0]["es_status"] == 400
    add_up(world)
    client.indices.delete(index=index)
    assert replay(world, recipe(tmp_path, AGAIN)).outcomes == {"restored": 1}
    assert states(world.invalid()) == states(world.es_invalid()) == {(1, 0): ("replayed", 3)}
    agree(world)
    add_up(world)


def test_rows_that_were_given_up_stay_so_when_they_fail_again(world: World, tmp_path: Path) -> None:
    world.send([world.encode(record(http_method="get", status_code=0))], partition=1)
    drain(world)
    replay(world, recipe(tmp_path), mark_unrecoverable=True)
    again = METHODS.replace("where: {", "where: {status: [unrecoverable], ")
    assert replay(world, recipe(tmp_path, again)).outcomes == {"still_invalid": 1}
    assert states(world.invalid()) == states(world.es_invalid()) == {(1, 0): ("unrecoverable", 2)}


def test_rows_of_a_refused_version_are_repaired_and_spoil_no_other_recipe(world: World, tmp_path: Path) -> None:
    v1 = json.loads(avro.load(world.settings.registry.subject).text)
    as_text = {**v1, "fields": [f | {"type": "string"} if f["name"] == "status_code" else f for f in v1["fields"]]}
    with registered(world, as_text) as refused:
        sent = [record(http_method="get"), record(), record()]
        broken = [
            encoded(as_text, refused, r | {"status_code": code})
            for r, code in zip(sent[1:], ("200", "many"), strict=True)
        ]
        world.send([world.encode(sent[0]), *broken], partition=6)
        drain(world)
        assert world.codes() == {
            (6, 0): ["http_method_known"],
            (6, 1): ["incompatible_schema"],
            (6, 2): ["incompatible_schema"],
        }
        assert replay(world, recipe(tmp_path)).outcomes == {"replayed": 1}
        cast = "name: cast\nwhere: {codes: [incompatible_schema]}\nsteps:\n  - cast: {field: status_code, to: int}\n"
        assert replay(world, recipe(tmp_path, f"{cast}  - encode: {{schema: 1}}\n")).outcomes == {
            "replayed": 1,
            "failed_step": 1,
        }
        assert [t["codes"] for t in tries(world) if t["outcome"] == "failed_step"] == [["not_castable"]]
        number = max(Registry(world.settings.registry).versions(world.settings.registry.subject))
        with pytest.raises(UsageError, match=f"schema version {number}: field status_code"):
            forecast(world, recipe(tmp_path, f"{cast}  - encode: {{schema: {number}}}\n"))
    assert {at: fields(row) for at, row in world.valid().items()} == {
        (6, 0): sent[0] | {"http_method": "GET"},
        (6, 1): sent[1],
    }
    agree(world)
    add_up(world)


def test_a_field_of_a_newer_version_can_be_set(world: World, tmp_path: Path) -> None:
    v1 = json.loads(avro.load(world.settings.registry.subject).text)
    region = {"name": "region", "type": ["null", {"type": "string", "logicalType": "uuid"}], "default": None}
    with registered(world, {**v1, "fields": [*v1["fields"], region]}):
        world.send([world.encode(record(http_method="get"))], partition=6)
        drain(world)
        both = METHODS + "  - set: {field: region, value: eu}\n"
        assert replay(world, recipe(tmp_path, both)).outcomes == {"replayed": 1}
        assert (
            [d["region"] for d in world.documents().values()]
            == [row["region"] for row in world.valid().values()]
            == ["eu"]
        )
        add_up(world)
        with pytest.raises(InvalidRecipe, match=r"recipe.yaml:5: unknown field 'regoin'; there are .*region"):
            forecast(world, recipe(tmp_path, both.replace("region", "regoin")))


@contextmanager
def registered(world: World, schema: dict[str, Any]) -> Iterator[int]:
    """A version that the registry would not take by itself, gone afterwards."""
    url = f"{world.settings.registry.url}/subjects/{world.settings.registry.subject}/versions"
    level = f"{world.settings.registry.url}/config/{world.settings.registry.subject}"
    kind = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    before = set(httpx2.get(url).json())
    httpx2.put(level, headers=kind, json={"compatibility": "NONE"}).raise_for_status()
    try:
        answer = httpx2.post(url, headers=kind, json={"schema": json.dumps(schema)}).raise_for_status()
        yield int(answer.json()["id"])
    finally:
        for version in sorted(set(httpx2.get(url).json()) - before):
            httpx2.delete(f"{url}/{version}").raise_for_status()
        httpx2.put(level, headers=kind, json={"compatibility": "BACKWARD"}).raise_for_status()


def encoded(schema: dict[str, Any], schema_id: int, values: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), values)
    return b"\x00" + struct.pack(">I", schema_id) + body.getvalue()


def test_chunks_keep_what_is_first_first(world: World, tmp_path: Path) -> None:
    """Two bad rows of one request in two chunks: the first one wins, as it would have in one batch."""
    twice = record(http_method="get")
    world.send([world.encode(twice), world.encode(record(http_method="get")), world.encode(twice)], partition=3)
    drain(world)
    report = replay(world, recipe(tmp_path), canary=1, chunk_rows=1)
    assert (report.chunks, report.outcomes) == (3, {"replayed": 2, "duplicate": 1})
    assert states(world.invalid()) == {(3, 0): ("replayed", 1), (3, 1): ("replayed", 1), (3, 2): ("open", 1)}
    add_up(world)


class Cut(BaseException):
    """Nothing catches it, so nothing is written after it."""


def cut_at(world: World, path: Path, step: str, chunk: int, rows: int) -> None:
    """Replay in this process until it is cut off there; what a kill leaves behind, without the wait for a JVM."""

    def on_step(reached: str, batch: Batch) -> None:
        if (reached, batch.batch_id) == (step, chunk):
            raise Cut

    kit = bootstrap.replay(world.settings, path, world.spark, on_step)
    with pytest.raises(Cut):
        kit.flow.run(kit.recipe, "cut off", Pace(canary=0, chunk_rows=rows))


def kill_at(world: World, path: Path, step: str, chunk: int, rows: int) -> None:
    """Replay in a process group of its own until it kills itself there."""
    arguments = [str(path), step, str(chunk), str(rows), *world.overrides()]
    command = [sys.executable, "-m", "tests.integration.killable_replay", *arguments]
    done = subprocess.run(command, cwd=ROOT, start_new_session=True, capture_output=True, text=True, timeout=900)
    assert done.returncode == -signal.SIGKILL, f"{step} was never reached:\n{done.stderr[-3000:]}"


def test_cut_off_at_every_gap(world: World, tmp_path: Path) -> None:
    good = [record() for _ in range(12)]
    bad = [record(http_method="get", status_code=200 if n % 4 else 0) for n in range(48)]
    bad += [record(http_method="get", request_id=good[n]["request_id"]) for n in range(2)]
    world.send([world.encode(v) for v in (*good, *bad)])
    drain(world)
    path = recipe(tmp_path)
    cuts = [
        ("judged", 0),
        ("documents_written", 0),
        ("valid_written", 0),
        ("audit_written", 1),
        ("es_states_written", 2),
        ("states_written", 3),
    ]
    for step, chunk in cuts:
        cut_at(world, path, step, chunk, rows=10)
    report = replay(world, path, canary=0, chunk_rows=10)
    assert report.went_on
    assert len(world.valid()) == len(good) + 36
    assert set(world.documents()) == {r["request_id"] for r in good + bad if r["status_code"]}
    assert len(world.documents()) == len(good) + 36
    found = states(world.invalid())
    assert Counter(found.values()) == {("replayed", 1): 36, ("open", 1): 14}
    assert states(world.es_invalid()) == found
    trail = tries(world)
    assert Counter(t["outcome"] for t in trail) == {"replayed": 36, "still_invalid": 12, "duplicate": 2}
    assert len({(t["kafka_partition"], t["kafka_offset"]) for t in trail}) == 50
    add_up(world)
    assert replay(world, path).outcomes == {"still_invalid": 12, "duplicate": 2}
    assert len(world.valid()) == len(good) + 36


def test_a_chunk_that_was_cut_off_is_finished_by_its_own_recipe(world: World, tmp_path: Path) -> None:
    sent = [record(http_method="get") for _ in range(4)] + [record(http_method="post")]
    world.send([world.encode(v) for v in sent], partition=0)
    drain(world)
    first_four = "[http_method_known], partitions: [{partition: 0, until: 4}]"
    gets = METHODS.replace(", post: POST", "").replace("[http_method_known]", first_four)
    cut_at(world, recipe(tmp_path, gets), "documents_written", 0, rows=4)
    posts = (
        METHODS.replace("get: GET, ", "").replace("methods", "posts", 1).replace("{codes", "{endpoint: /v6/o, codes")
    )
    report = replay(world, recipe(tmp_path, posts))
    assert report.outcomes == {"replayed": 1}
    assert states(world.invalid()) == {(0, n): ("replayed", 1) for n in range(5)}
    assert {(t["recipe"], t["outcome"]) for t in tries(world)} == {("methods", "replayed"), ("posts", "replayed")}
    add_up(world)


def test_a_chunk_of_another_topic_is_neither_finished_nor_forgotten(world: World, tmp_path: Path) -> None:
    world.send([world.encode(record(http_method="get")) for _ in range(2)], partition=0)
    drain(world)
    path = recipe(tmp_path)
    cut_at(world, path, "documents_written", 0, rows=2)
    other = replace(world, settings=world.with_settings(kafka={"topic": f"{world.settings.kafka.topic}-2"}))
    for call in (forecast, replay):
        with pytest.raises(UsageError, match=f"on topic {world.settings.kafka.topic} was cut off within a chunk"):
            call(other, path)
    report = replay(world, path)
    assert (report.went_on, report.outcomes) == (True, {"replayed": 2})
    assert forecast(other, path).matching == 0
    add_up(world)


def test_what_is_begun_while_rows_are_brought_back_is_finished(world: World, tmp_path: Path) -> None:
    world.send([world.encode(record(http_method="get")) for _ in range(6)], partition=0)
    drain(world)
    replay(world, recipe(tmp_path))
    world.run("index", recover="earliest")
    again = recipe(tmp_path, AGAIN)
    for step, chunk in [
        ("documents_written", 0),
        ("audit_written", 0),
        ("es_states_written", 1),
        ("states_written", 2),
    ]:
        cut_at(world, again, step, chunk, rows=2)
    replay(world, again, canary=0, chunk_rows=2)
    assert states(world.invalid()) == states(world.es_invalid()) == {(0, n): ("replayed", 2) for n in range(6)}
    assert Counter(t["outcome"] for t in tries(world)) == {"replayed": 6, "restored": 6}
    agree(world)
    add_up(world)


def test_ten_thousand_rows_killed_half_way(world: World, tmp_path: Path) -> None:
    world.send(world.encode(record(http_method="get")) for _ in range(10_000))
    drain(world)
    path = recipe(tmp_path)
    assert forecast(world, path).outcomes == {"replayed": 10_000}
    kill_at(world, path, "valid_written", 2, rows=2_500)
    assert replay(world, path, canary=0, chunk_rows=2_500).went_on
    valid = world.valid()
    assert len(valid) == 10_000
    assert {row["http_method"] for row in valid.values()} == {"GET"}
    documents = world.documents()
    assert {(d["kafka_partition"], d["kafka_offset"]) for d in documents.values()} == set(valid)
    assert Counter(states(world.invalid()).values()) == {(RowStatus.REPLAYED.value, 1): 10_000}
    assert world.table(AUDIT).count() == 10_000
    add_up(world)
