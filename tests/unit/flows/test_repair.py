"""A repair told with fakes: the order of its writes, and that a kill between any two of them changes nothing."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import pytest

from pipelines.errors import AlreadyRunning, SinkUnavailable, UsageError
from pipelines.flows.repair_report import Deed, Pace, Report
from pipelines.reconcile.model import Kind, Side
from pipelines.reconcile.repair_plan import Outcome, Place
from tests.unit.flows.damage import damaged
from tests.unit.flows.fakes import FakeLease, FakeStop, fails
from tests.unit.flows.repair_fakes import AN_HOUR, HOUR, RIGHT, Killed, Platform, id_of, key

PACE = Pace(rate=0, chunk=3)
STEPS = ("looked_up", "rows_written", "bad_rows_written", "documents_written", "documents_removed", "audit_written")
ES = Side.ELASTICSEARCH


def run(on: Platform, *, delete_extras: bool = True, asked: str = "latest", pace: Pace = PACE) -> Report:
    return on.process().run(asked, "ana", pace, delete_extras=delete_extras)


def is_sound(on: Platform) -> bool:
    whole = Platform.sound(24)
    return (on.rows, on.docs) == (whole.rows, whole.docs)


def test_chunk_by_chunk_then_the_proof() -> None:
    on = damaged()
    report = run(on)
    assert is_sound(on)
    assert on.diary == ["tidy", *["noted", *STEPS, "done"] * 3, "reconciled", "closed", "forgotten"]
    assert on.looked_at == [(HOUR, HOUR + AN_HOUR)]
    assert (report.findings, report.closed, report.left, report.is_clean) == (10, 10, 0, True)
    assert (report.records, report.chunks, report.again) == (9, 3, ["run-2"])
    assert [chunk for _, chunk in on.audit] == [0, 1, 2]


@pytest.mark.parametrize("chunk", [0, 1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_any_two_writes_changes_nothing(step: str, chunk: int) -> None:
    on = damaged()

    def die(reached: str, number: int) -> None:
        if (reached, number) == (step, chunk):
            raise Killed

    on.at_step = die
    with pytest.raises(Killed):
        run(on)
    on.at_step = lambda *_: None
    report = run(on)
    assert report.went_on
    assert is_sound(on)
    assert on.closed == set(on.findings)
    assert sorted(on.audit) == [(report.repair_id, n) for n in range(3)]
    assert on.journal is None


def test_a_kill_before_the_findings_are_closed_is_made_good() -> None:
    on = damaged()
    on.at_step = lambda step, _: fails([Killed()])() if step == "reconciled" else None
    with pytest.raises(Killed):
        run(on)
    assert (is_sound(on), on.closed) == (True, set())
    on.at_step = lambda *_: None
    report = run(on)
    assert (report.went_on, report.chunks, report.closed, report.left) == (True, 0, 10, 0)
    assert len(on.audit) == 3


def test_another_command_first_finishes_the_chunk_that_was_begun() -> None:
    on = damaged()
    on.at_step = lambda step, chunk: fails([Killed()])() if (step, chunk) == ("rows_written", 1) else None
    with pytest.raises(Killed):
        run(on)
    on.at_step = lambda *_: None
    assert on.journal is not None
    before = on.journal.repair_id
    report = run(on, asked="run-1")
    assert not report.went_on
    assert sorted(chunk for repair, chunk in on.audit if repair == before) == [0, 1]
    assert is_sound(on)


def test_documents_are_removed_only_if_wanted() -> None:
    on = damaged()
    report = run(on, delete_extras=False)
    extra = {(RIGHT, "double"), (RIGHT, "extra")}
    assert extra < set(on.docs)
    assert (report.closed, report.left, report.is_clean) == (7, 3, False)
    assert report.deeds[Deed("extra", ES, "remove_document", "", "skipped")] == 1
    assert run(on).left == 0
    assert is_sound(on)


def test_the_only_copy_of_a_record_is_never_removed() -> None:
    on = damaged()
    [moved] = [f for f in on.findings if f.kind is Kind.MISPLACED]
    place = Place(moved.kafka_partition, moved.kafka_offset)
    on.refusing = {place: "the mapping refuses it"}
    report = run(on)
    assert ("logs-2001.01.01", id_of(place)) in on.docs
    outcomes = {c.step.action: c.outcome for chunk in on.audit.values() for c in chunk if c.step.place == place}
    assert sorted(outcomes.values()) == [Outcome.REFUSED, Outcome.SKIPPED]
    assert report.left == 1


def test_a_document_that_is_where_it_belongs_is_never_removed() -> None:
    on = Platform.sound(3)
    place = Place(1, 0)
    on.find(Kind.EXTRA, ES, place, es_index=RIGHT, es_id=id_of(place))
    before = deepcopy(on.docs)
    report = run(on)
    assert on.docs == before
    assert report.deeds == {Deed("extra", ES, "remove_document", "table", "skipped"): 1}


def test_without_kafka_rows_come_from_documents_and_what_nobody_has_says_so() -> None:
    on = damaged()
    on.kafka.clear()
    report = run(on)
    left = {(c.step.side, c.step.place) for chunk in on.audit.values() for c in chunk if c.outcome == "unrepairable"}
    lost = sorted(Platform.sound(24).rows, key=key)[14]
    assert left == {(Side.TABLE, lost), (ES, lost)}
    assert report.deeds[Deed("missing", Side.TABLE, "insert_row", "document", "done")] == 1
    assert report.deeds[Deed("doubled", Side.TABLE, "keep_one_row", "table", "done")] == 1
    assert report.deeds[Deed("differs", ES, "write_document", "table", "done")] == 1


def test_a_dry_run_says_the_same_and_writes_nothing() -> None:
    on = damaged()
    before = deepcopy((on.rows, on.docs))
    forecast = on.process().forecast("latest", PACE, delete_extras=True)
    assert (on.rows, on.docs) == before
    assert (on.diary, on.audit, on.journal) == ([], {}, None)
    done = run(on)
    assert {Deed(d.kind, d.side, d.action, d.source, "done"): n for d, n in forecast.deeds.items()} == done.deeds


def test_a_stop_ends_after_the_running_chunk_and_the_same_command_goes_on() -> None:
    on = damaged()
    stop = FakeStop()
    on.at_step = lambda step, _: stop.set() if step == "looked_up" else None
    report = on.process(stop).run("latest", "ana", PACE, delete_extras=True)
    assert (report.stopped, report.is_clean, report.chunks) == (True, False, 1)
    assert on.looked_at == []
    on.at_step = lambda *_: None
    again = run(on)
    assert (again.repair_id, again.went_on, again.chunks) == (report.repair_id, True, 2)
    assert is_sound(on)


def test_findings_that_come_meanwhile_wait_for_the_next_repair() -> None:
    on = damaged()
    place = sorted(on.rows, key=key)[-1]

    def more(step: str, chunk: int) -> None:
        if (step, chunk) == ("audit_written", 0):
            on.find(Kind.MISSING, ES, place)

    on.at_step = more
    assert run(on).closed == 10
    assert on.findings[-1] not in on.closed


def test_trouble_is_waited_out_and_then_told() -> None:
    on = damaged()
    trouble = fails([SinkUnavailable("Elasticsearch", "http://e", "away")] * 3)
    on.at_step = lambda step, _: trouble() if step == "documents_written" else None
    stop = FakeStop()
    on.process(stop).run("latest", "ana", PACE, delete_extras=True)
    assert len(stop.waits) == 3
    assert is_sound(on)


def test_trouble_that_stays_ends_the_repair_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    on, stop = damaged(), FakeStop()
    monkeypatch.setattr("pipelines.flows.trouble.time", SimpleNamespace(monotonic=stop.monotonic))
    away = SinkUnavailable("Elasticsearch", "http://e", "away")
    on.at_step = lambda step, _: fails([away])() if step == "documents_written" else None
    with pytest.raises(SinkUnavailable):
        on.process(stop).run("latest", "ana", PACE, delete_extras=True)
    assert 300 <= stop.now - 1_000 <= 400
    on.at_step = lambda *_: None
    assert run(on).left == 0
    assert is_sound(on)


def test_a_rate_is_kept() -> None:
    on, stop = damaged(), FakeStop()
    on.process(stop).run("latest", "ana", Pace(rate=0.5, chunk=1_000), delete_extras=True)
    assert [round(wait) for wait in stop.waits] == [10, 8]
    assert Pace(rate=0.5, chunk=1_000).records == 5


def test_two_repairs_never_run_at_once() -> None:
    on = damaged()
    process = on.process()
    process.lease = FakeLease(other="process 7")
    with pytest.raises(AlreadyRunning):
        process.run("latest", "ana", PACE)
    assert on.diary == []


def test_an_unknown_run_is_wrong_use() -> None:
    with pytest.raises(UsageError):
        run(damaged(), asked="run-9")


def test_a_run_without_findings_needs_no_proof() -> None:
    on = Platform.sound(3)
    report = run(on)
    assert (report.findings, report.is_clean, on.looked_at) == (0, True, [])
