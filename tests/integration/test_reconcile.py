"""Three sides on real servers: what was damaged is found and nothing else, and a clean system gives no finding."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from delta.exceptions import ConcurrentAppendException
from delta.tables import DeltaMergeBuilder, DeltaTable
from elasticsearch import Elasticsearch

from pipelines import bootstrap, bootstrap_repair
from pipelines.adapters.tables import Tables
from pipelines.contracts.canonical import content_hash
from pipelines.errors import SinkUnavailable
from pipelines.flows import reconcile_records
from pipelines.flows.reconcile import Wanted
from pipelines.flows.repair_report import Pace as RepairPace
from pipelines.flows.replay_report import Pace
from pipelines.reconcile.model import Run, RunState, Verdict
from pipelines.records import FINDINGS, INVALID, LEDGER, REPAIRS, RUNS, VALID
from pipelines.settings import ROOT
from tests.commands import sdp_here
from tests.integration.mending import deeds
from tests.world import NOW_MS, World, fields, record

HOUR_MS = 3_600_000
OF_JOBS = ("warnings", "@timestamp", "kafka_timestamp")
"""Fields of a document that no record has."""

OLDER_LEDGER = """query STRING, query_id STRING, batch_id BIGINT, topic STRING, partition INT, from_offset BIGINT,
    until_offset BIGINT, valid BIGINT, invalid BIGINT, gaps BIGINT, lost BIGINT, rule_set_fingerprint STRING,
    committed_at TIMESTAMP, date DATE"""


OLDER_FINDINGS = """run_id STRING, last_run_id STRING, kafka_topic STRING, kafka_partition INT, kafka_offset BIGINT,
    request_id STRING, kind STRING, side STRING, hour TIMESTAMP, first_seen TIMESTAMP, last_seen TIMESTAMP,
    field STRING, expected STRING, found STRING, es_index STRING, es_id STRING, reason STRING, state STRING,
    closed_at TIMESTAMP, closed_by STRING, date DATE"""


def index_of(world: World, timestamp_ms: int) -> str:
    return f"{world.settings.elasticsearch.index_prefix}-{datetime.fromtimestamp(timestamp_ms / 1000, UTC):%Y.%m.%d}"


def ledger_hours(world: World, job: str) -> dict[tuple[int, datetime], tuple[int, int]]:
    """(partition, hour) → valid records and their hashes, as the ledger of one job has them."""
    out: dict[tuple[int, datetime], tuple[int, int]] = {}
    for row in world.table(LEDGER).where(f"query = '{job}'").collect():
        assert sum(h["valid"] for h in row["hours"]) == row["valid"]
        for h in row["hours"]:
            valid, hashes = out.get((row["partition"], h["hour"]), (0, 0))
            out[row["partition"], h["hour"]] = valid + h["valid"], hashes + h["content_hash"]
    return out


def test_the_ledger_knows_the_hours_of_what_was_stored(world: World) -> None:
    """Duplicates in a batch and over batches, and what Elasticsearch refuses, are taken out of their hours."""
    database = world.settings.metastore.database
    world.spark.sql(f"CREATE DATABASE {database} LOCATION '{world.settings.warehouse_uri}/{database}.db'")
    world.spark.sql(f"CREATE TABLE {database}.{LEDGER} ({OLDER_LEDGER}) USING delta PARTITIONED BY (date)")
    client = Elasticsearch(world.settings.elasticsearch.url)
    client.indices.create(
        index=index_of(world, NOW_MS - 2 * 24 * HOUR_MS),
        mappings={"dynamic": "strict", "properties": {"payload_size": {"type": "byte"}}},
    )
    refused = record(timestamp=NOW_MS - 2 * 24 * HOUR_MS)
    values = [record(), record(timestamp=NOW_MS - HOUR_MS), record(), record(timestamp=NOW_MS - 5 * HOUR_MS)]
    world.send([*(world.encode(v) for v in [*values, values[1], refused]), b"garbage"], partition=3)
    world.run("ingest")
    world.run("index")
    world.send([world.encode(v) for v in [values[0], record()]], partition=3)
    world.run("ingest")
    world.run("index")
    expected: dict[tuple[int, datetime], tuple[int, int]] = {}
    for row in world.valid().values():
        hour = datetime.fromtimestamp(row["timestamp"] // HOUR_MS * 3600, UTC).replace(tzinfo=None)
        valid, hashes = expected.get((3, hour), (0, 0))
        expected[3, hour] = valid + 1, hashes + content_hash(fields(row))
    assert sum(valid for valid, _ in expected.values()) == 6
    assert ledger_hours(world, "ingest") == expected
    lost_hour = datetime.fromtimestamp(refused["timestamp"] // HOUR_MS * 3600, UTC).replace(tzinfo=None)
    assert ledger_hours(world, "index") == {at: sums for at, sums in expected.items() if at[1] != lost_hour}


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def hour_ago(hours: int) -> int:
    """Start of an hour so long ago."""
    return (NOW_MS // HOUR_MS - hours) * HOUR_MS


WINDOW = (moment(hour_ago(6)), moment(hour_ago(2)))


def reconcile(world: World, **wanted: Any) -> Run:
    return bootstrap.reconcile(world.settings, world.spark).run(Wanted(**wanted))


def found(world: World, state: str = "open") -> set[tuple[str, str, int, int, str | None]]:
    rows = world.table(FINDINGS).where(f"state = '{state}'").collect()
    keys = [(r["kind"], r["side"], r["kafka_partition"], r["kafka_offset"], r["field"]) for r in rows]
    assert len(set(keys)) == len(keys)
    return set(keys)


def fill(world: World, hours: int = 4, each: int = 30) -> dict[tuple[int, int], dict[str, Any]]:
    """Coordinates → record; spread evenly over partitions and hours 6 to 3 ago, then a broken one and a duplicate."""
    sent: dict[tuple[int, int], dict[str, Any]] = {}
    for partition in range(12):
        values = []
        for n in range(hours * each):
            texts = {"user_agent": ("", None, "curl")[n % 3], "error_message": (None, "", "late")[n // 3 % 3]}
            when = hour_ago(6 - n // each) + n * 1_000
            value = record(timestamp=when, response_time_ms=n, payload_size=100 + n, **texts)
            sent[partition, n] = value
            values.append(world.encode(value))
        world.send([*values, b"garbage", values[-1]], partition=partition)
    return sent


class Vandal:
    """Damages documents and rows, each by its coordinates."""

    def __init__(self, world: World, sent: dict[tuple[int, int], dict[str, Any]]) -> None:
        self.world, self.sent = world, sent
        self.client = Elasticsearch(world.settings.elasticsearch.url)
        self.database = world.settings.metastore.database

    def place(self, at: tuple[int, int]) -> dict[str, Any]:
        return {"index": index_of(self.world, self.sent[at]["timestamp"]), "id": self.sent[at]["request_id"]}

    def delete(self, *places: tuple[int, int]) -> None:
        for at in places:
            self.client.delete(**self.place(at))

    def alter(self, at: tuple[int, int], **changes: Any) -> None:
        self.client.update(**self.place(at), doc=changes)

    def copy(self, at: tuple[int, int], changes: dict[str, Any] | None = None, **to: str) -> None:
        source = self.client.get(**self.place(at))["_source"] | (changes or {})
        self.client.index(**{**self.place(at), **to}, document={k: v for k, v in source.items() if v is not None})

    def where(self, *places: tuple[int, int]) -> str:
        return " OR ".join(f"(kafka_partition = {p} AND kafka_offset = {o})" for p, o in places)

    def delete_rows(self, *places: tuple[int, int], table: str = VALID) -> None:
        self.world.spark.sql(f"DELETE FROM {self.database}.{table} WHERE {self.where(*places)}")

    def change_rows(self, how: str, *places: tuple[int, int]) -> None:
        self.world.spark.sql(f"UPDATE {self.database}.{VALID} SET {how} WHERE {self.where(*places)}")

    def double_rows(self, *places: tuple[int, int], table: str = VALID) -> None:
        name = f"{self.database}.{table}"
        self.world.spark.sql(f"INSERT INTO {name} SELECT * FROM {name} WHERE {self.where(*places)}")


def test_seeded_faults_are_all_found_and_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = fill(world)
    world.run("ingest")
    world.run("index")
    clean = reconcile(world, window=WINDOW, sample=25, seed=3)
    assert (clean.verdict, clean.records, clean.discrepant, clean.kinds) == (Verdict.OK, len(sent), 0, ())
    assert (clean.sampled, clean.complete_until) == (25, WINDOW[1])
    first_hour = (WINDOW[0], WINDOW[0] + timedelta(hours=1))
    all_of_it = bootstrap.reconcile(world.settings, world.spark).records.drawn(first_hour, 500, 3)
    assert all_of_it == tuple((p, n) for p in range(12) for n in range(30)), "of the window, not of its batches"
    long_ago = (WINDOW[0] - timedelta(days=1000), WINDOW[0] - timedelta(days=999))
    assert reconcile(world, window=long_ago).complete_until == WINDOW[1]
    assert [h.table for h in clean.hours] == [h.documents for h in clean.hours] == [360] * 4
    assert [h.ledger_ingest for h in clean.hours] == [h.ledger_index for h in clean.hours] == [360] * 4
    assert all((o.uncovered, o.doubled, o.covered) == (0, 0, 122) for o in clean.offsets)

    vandal = Vandal(world, sent)
    vandal.delete((0, 0))
    vandal.alter((1, 35), response_time_ms=999)
    vandal.alter((2, 66), http_method="PUT")
    vandal.copy((3, 99), id="another-id")
    yesterday = index_of(world, sent[4, 100]["timestamp"] - 24 * HOUR_MS)
    vandal.copy((4, 100), index=yesterday)
    vandal.delete((4, 100))
    vandal.delete_rows((5, 5), (5, 40))
    vandal.double_rows((6, 6))
    vandal.delete((7, 31))  # and a copy of its neighbour: the count of the hour stays as it was
    vandal.copy((7, 32), id="the-neighbour-again")
    lost_hour = [(8, n) for n in range(60, 90)]
    vandal.delete(*lost_hour)
    vandal.delete((9, 9))
    vandal.delete_rows((9, 9))
    beyond = {"kafka_partition": 7, "kafka_offset": 99_999_999}
    vandal.copy((11, 30), id="beyond-the-end", changes=beyond)
    vandal.copy((10, 31), id="nobody's", changes={"kafka_topic": None})
    vandal.copy((10, 32), id="no-coordinates", changes={"kafka_partition": None, "kafka_offset": None})
    vandal.copy((10, 33), id="of-another-topic", changes={"kafka_topic": "another"})
    vandal.alter((10, 40), warnings=["odd"])
    for offset, name in ((41, "@timestamp"), (42, "kafka_timestamp")):
        vandal.alter((10, offset), **{name: sent[10, offset]["timestamp"] + HOUR_MS})
    vandal.alter((10, 10), timestamp=sent[10, 10]["timestamp"] + HOUR_MS)
    vandal.client.indices.refresh(index="*")
    expected: set[tuple[str, str, int, int, str | None]] = {
        ("missing", "elasticsearch", 0, 0, None),
        ("differs", "elasticsearch", 1, 35, "response_time_ms"),
        ("differs", "elasticsearch", 2, 66, "http_method"),
        ("doubled", "elasticsearch", 3, 99, None),
        ("misplaced", "elasticsearch", 4, 100, None),
        ("missing", "valid", 5, 5, None),
        ("missing", "valid", 5, 40, None),
        ("doubled", "valid", 6, 6, None),
        ("missing", "elasticsearch", 7, 31, None),
        ("doubled", "elasticsearch", 7, 32, None),
        *(("missing", "elasticsearch", p, o, None) for p, o in lost_hour),
        ("missing", "elasticsearch", 9, 9, None),
        ("missing", "valid", 9, 9, None),
        ("differs", "elasticsearch", 10, 10, "timestamp"),
        ("extra", "elasticsearch", 7, 99_999_999, None),
        *(("differs", "elasticsearch", 10, 40 + n, name) for n, name in enumerate(OF_JOBS)),
    }
    monkeypatch.setattr(reconcile_records, "FEWEST_NARROWED", 0)
    for settings in (world.settings, world.with_settings(reconcile={"block_offsets": 16})):
        run = bootstrap.reconcile(settings, world.spark).run(Wanted(window=WINDOW))
        assert found(world) == expected
        assert (run.discrepant, run.lost) == (46, 35)
        told = [note for note in run.notes if note.startswith("1 documents")]
        assert sum(id_ in note for note in told for id_ in ("nobody's", "no-coordinates", "of-another-topic")) == 3
        assert run.verdict is Verdict.ESCALATE
        assert run.complete_until == WINDOW[0]
    named = {(r["kafka_partition"], r["kafka_offset"]): r for r in world.table(FINDINGS).collect()}
    assert all(r["request_id"] == sent[at]["request_id"] for at, r in named.items() if at in sent)
    assert (named[1, 35]["expected"], named[1, 35]["found"]) == ("35", "999")
    assert (named[4, 100]["es_index"], named[3, 99]["es_id"]) == (yesterday, "another-id")

    vandal.alter((11, 11), user_agent="somebody else")
    before_deep = set(expected)
    vandal.change_rows("event_time = event_time + INTERVAL 3 HOURS", (11, 7))
    expected.add(("differs", "elasticsearch", 11, 11, "user_agent"))
    assert reconcile(world, window=WINDOW, run_id="first").discrepant == 46
    deep = reconcile(world, window=WINDOW, deep=True, run_id="deep")
    expected.add(("differs", "valid", 11, 7, "event_time"))
    assert found(world) == expected
    assert deep.discrepant == 48
    assert reconcile(world, window=WINDOW, run_id="deep") == deep
    assert world.table(RUNS).where("run_id = 'deep'").count() == 1

    vandal.alter((1, 35), response_time_ms=35)
    conflicting_once(monkeypatch, DeltaMergeBuilder, "execute")
    conflicting_once(monkeypatch, DeltaTable, "update")
    reconcile(world, window=WINDOW)
    gone = ("differs", "elasticsearch", 1, 35, "response_time_ms")
    assert (found(world), found(world, "gone")) == (expected - {gone}, {gone})
    # the run "first" was neither the first nor the last one to see them
    seen = bootstrap.reconciliations(world.settings, world.spark).sample("first", 100)
    assert {(f.kind, f.side, f.kafka_partition, f.kafka_offset, f.field) for f in seen} == before_deep
    assert bootstrap_repair.repair(world.settings, world.spark).findings("first") == len(before_deep - {gone})

    vandal.delete_rows((11, 121), (10, 121), table=INVALID)
    vandal.double_rows((10, 120), table=INVALID)  # so the partition has as many as before
    lost = {("missing", "invalid", p, 121, None) for p in (10, 11)}
    doubled = ("doubled", "invalid", 10, 120, None)
    today = reconcile(world, window=around_now(world), run_id="of-today")
    assert found(world) - expected == {*lost, doubled}
    assert today.kinds == (("missing", "invalid", 2), ("doubled", "invalid", 1))
    rows = world.table(VALID).count()
    repair = bootstrap_repair.repair(world.settings, world.spark, again=again(world))
    report = repair.run("of-today", "tester", RepairPace(0, 100))
    assert deeds(report) == {
        ("missing", "invalid", "insert_invalid_row", "kafka", "done"): 2,
        ("doubled", "invalid", "nothing", "", "unrepairable"): 1,
    }
    assert (found(world, "repaired"), world.table(VALID).count()) == (lost, rows)
    assert reconcile(world, window=around_now(world)).kinds == (("doubled", "invalid", 1),)
    held = {p.partition: p for p in bootstrap.status(world.settings, world.spark).ingest().partitions}
    assert (held[11].problems, held[0].problems) == ([], [])


def conflicting_once(monkeypatch: pytest.MonkeyPatch, owner: type, method: str) -> None:
    """Another reconciliation writes first, once."""
    real = getattr(owner, method)

    def fails(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(owner, method, real)
        raise ConcurrentAppendException("another run wrote first", "")

    monkeypatch.setattr(owner, method, fails)


def again(world: World) -> Callable[[datetime, datetime, bool], str]:
    """How a repair proves what it did."""
    return lambda since, until, _: reconcile(world, window=(since, until)).run_id


def around_now(world: World) -> tuple[datetime, datetime]:
    return moment(hour_ago(1)), moment(hour_ago(-2))


def test_a_clean_system_has_no_finding_while_both_jobs_write(world: World) -> None:
    stop = Event()

    def until_stopped(work: Callable[[], None]) -> int:
        times = 0
        while not stop.is_set():
            work()
            times += 1
        return times

    def send_and_ingest() -> None:
        world.send([*(world.encode(record(timestamp=NOW_MS - n)) for n in range(300)), b"garbage"])
        world.run("ingest")

    send_and_ingest()
    world.run("index")
    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(until_stopped, work) for work in (send_and_ingest, lambda: world.run("index"))]
        try:
            runs = [reconcile(world, window=around_now(world), deep=n == 3) for n in range(4)]
        finally:
            stop.set()
        assert all(w.result() > 1 for w in writing), "both jobs wrote all the while"
    assert [(r.verdict, r.discrepant, r.kinds) for r in runs] == [(Verdict.OK, 0, ())] * 4
    assert len({r.hours for r in runs}) > 1
    world.run("index")
    after = reconcile(world, window=around_now(world))
    assert (after.verdict, after.records) == (Verdict.OK, world.table(VALID).count())


def found_before(world: World, value: dict[str, Any]) -> None:
    """An earlier version has kept a finding: its table lacks a column."""
    database, topic = world.settings.metastore.database, world.settings.kafka.topic
    Tables(world.spark, database, world.settings.warehouse_uri).create_missing((RUNS, REPAIRS))
    world.spark.sql(f"CREATE TABLE {database}.{FINDINGS} ({OLDER_FINDINGS}) USING delta PARTITIONED BY (date)")
    hour = f"timestamp_millis({hour_ago(3)})"
    world.spark.sql(
        f"INSERT INTO {database}.{FINDINGS} SELECT 'older', 'old', '{topic}', 0, 0, '{value['request_id']}', "
        f"'missing', 'elasticsearch', {hour}, {hour}, {hour}, null, null, null, '{index_of(world, hour_ago(3))}', "
        f"'{value['request_id']}', 'why', 'open', null, null, date({hour})"
    )
    kept = bootstrap.reconciliations(world.settings, world.spark)
    assert [[f.es_id for f in kept.sample(name, 9)] for name in ("older", "old")] == [[value["request_id"]]] * 2


def test_lag_late_records_and_what_was_refused(world: World) -> None:
    """Lag counts once its time is over; a late record opens its hour again; refusals and replays are explained."""
    client = Elasticsearch(world.settings.elasticsearch.url)
    odd = record(timestamp=hour_ago(30), http_method="get")
    refused = record(timestamp=hour_ago(30))
    client.indices.create(
        index=index_of(world, hour_ago(30)),
        mappings={"dynamic": "strict", "properties": {"api_endpoint": {"type": "ip"}}},
    )
    waiting = record(timestamp=hour_ago(3))
    world.send([world.encode(v) for v in (waiting, refused)], partition=0)
    world.run("ingest")
    found_before(world, waiting)
    window = (moment(hour_ago(31)), moment(hour_ago(1)))
    assert reconcile(world, window=window).kinds == ()
    impatient = world.with_settings(reconcile={"grace_minutes": 0.0001})
    run = bootstrap.reconcile(impatient, world.spark).run(Wanted(window=window))
    assert run.kinds == (("missing", "elasticsearch", 2),)
    [again] = world.table(FINDINGS).where("run_id = 'older'").collect()
    assert (again["run_ids"], again["last_run_id"]) == (["older", "old", run.run_id], run.run_id)
    world.run("index")
    run = reconcile(world, window=window)
    assert found(world) == set()
    assert found(world, "explained") == {("accounted_as_invalid", "elasticsearch", 0, 1, None)}
    assert found(world, "gone") == {("missing", "elasticsearch", 0, 0, None), ("missing", "elasticsearch", 0, 1, None)}
    assert (run.verdict, run.records, run.complete_until) == (Verdict.OK, 2, window[1])

    client.indices.delete(index=index_of(world, hour_ago(30)))
    late = record(timestamp=hour_ago(9))
    world.send([world.encode(late), world.encode(odd | {"timestamp": hour_ago(8)})], partition=1)
    world.run("ingest")
    world.run("index")
    kit = bootstrap.replay(world.settings, ROOT / "conf" / "recipes" / "upper-case-methods.yaml", world.spark)
    assert kit.flow.run(kit.recipe, "tester", Pace()).outcomes == {"replayed": 1}
    assert reconcile(world, window=(moment(hour_ago(8)), moment(hour_ago(7)))).kinds == ()
    client.delete(index=index_of(world, late["timestamp"]), id=late["request_id"])
    world.send([world.encode(record(timestamp=hour_ago(9)))], partition=1)
    world.run("ingest")
    world.run("index")
    run = reconcile(world, window=(moment(hour_ago(1)), moment(hour_ago(0))))
    assert found(world) == {("missing", "elasticsearch", 1, 0, None)}
    assert run.complete_until == moment(hour_ago(9))
    assert any(f"open findings of that hour (1); run: sdp repair {run.run_id}" in note for note in run.notes)


def test_ledger_retention_and_servers_that_are_away(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    sent = [record(timestamp=hour_ago(3)) for _ in range(40)]
    world.send([world.encode(v) for v in sent], partition=0)
    world.run("ingest")
    world.run("index")
    window = (moment(hour_ago(3)), moment(hour_ago(2)))
    database = world.settings.metastore.database
    admin = AdminClient({"bootstrap.servers": world.settings.kafka.bootstrap})
    for future in admin.delete_records([TopicPartition(world.settings.kafka.topic, 0, 30)]).values():
        future.result()
    Vandal(world, {(0, n): v for n, v in enumerate(sent)}).delete_rows((0, 7), (0, 8))
    Vandal(world, {(0, n): v for n, v in enumerate(sent)}).delete((0, 8))
    run = reconcile(world, window=window)
    assert found(world) == {
        ("missing", "valid", 0, 7, None),
        ("missing", "valid", 0, 8, None),
    }
    assert any("30 offsets" in note for note in run.notes)

    world.spark.sql(f"DELETE FROM {database}.{LEDGER} WHERE query = 'index'")
    world.send([world.encode(record(timestamp=hour_ago(3)))], partition=1)
    offsets = {(o.job, o.partition): o for o in reconcile(world, window=window).offsets}
    assert (offsets["index", 0].uncovered, offsets["ingest", 0].uncovered) == (0, 0)

    span = (f"--from={window[0]:%Y-%m-%dT%H:%M}", f"--to={window[1]:%Y-%m-%dT%H:%M}")
    away = [*world.overrides(), "elasticsearch.url=http://localhost:1", "reconcile.retry_for_s=0"]
    with pytest.raises(SinkUnavailable) as caught:
        sdp_here(world.spark, away, "reconcile", *span, "--run-id=away")
    assert caught.value.exit_code == 3
    [kept] = world.table(RUNS).where("run_id = 'away'").collect()
    assert (kept["state"], kept["verdict"]) == (RunState.FAILED.value, None)
    assert "Elasticsearch" in kept["failure"]
    code, shown = sdp_here(world.spark, world.overrides(), "reconcile", *span, "--run-id=away")
    assert (code, "missing" in shown) == (1, True)
    assert world.table(RUNS).where("run_id = 'away'").select("state").collect() == [(RunState.DONE.value,)]
    assert sdp_here(world.spark, world.overrides(), "complete", "--until=1h")[0] == 1
