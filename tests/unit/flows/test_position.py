"""Checkpoint, ledger and Kafka tell the same story, or the job does not run (law 3)."""

from __future__ import annotations

import pytest

from pipelines.errors import CheckpointLost, NotConserved, OffsetsLost, UsageError
from pipelines.flows.position import Position
from pipelines.records import Batch, OffsetRange
from tests.unit.flows.fakes import TOPIC, FakeBroker, FakeJournal, FakeLedger, FakeTables, span


def position(
    journal: FakeJournal | None = None,
    confirmed: dict[int, int] | None = None,
    marks: dict[int, tuple[int, int]] | None = None,
) -> Position:
    diary: list[str] = []
    journal = journal or FakeJournal()
    journal.diary = diary
    ledger = FakeLedger(confirmed or {}, diary=diary)
    tables = FakeTables(diary)
    return Position("ingest", TOPIC, journal, ledger, tables, FakeBroker(marks or {}), ("valid", "invalid"))


def checkpoint(*batches: list[tuple[int, int, int]], committed: int | None = None) -> FakeJournal:
    """A checkpoint of these batches of (partition, from, until); all are committed unless said otherwise."""
    found = [[span(*r) for r in batch] for batch in batches]
    return FakeJournal(id="query-1", batches=found, committed=len(found) if committed is None else committed)


def diary(of: Position) -> list[str]:
    assert isinstance(of.tables, FakeTables)
    return of.tables.diary


# check


def test_a_job_that_never_ran_may_start() -> None:
    assert position().check() is None


def test_a_ledger_without_a_checkpoint_is_refused_and_the_way_out_is_named() -> None:
    with pytest.raises(CheckpointLost, match=r"its checkpoint is gone .*sdp run ingest --recover"):
        position(confirmed={0: 5}).check()


def test_a_checkpoint_without_any_batch_is_gone_too() -> None:
    with pytest.raises(CheckpointLost, match="gone"):
        position(FakeJournal(id="query-1"), confirmed={0: 5}).check()


@pytest.mark.parametrize(
    ("batches", "committed", "confirmed"),
    [
        ([[(0, 0, 5)]], 1, {0: 5}),  # the usual state
        ([[(0, 0, 5)]], 0, {0: 5}),  # killed between ledger and checkpoint's commit
        ([[(0, 0, 5)], [(0, 5, 9)]], 1, {0: 5}),  # killed within the second batch
        ([[(0, 0, 5)]], 0, {}),  # killed within the first batch
        ([[(0, 0, 5), (1, 0, 3)]], 1, {0: 5}),  # partition 1 had nothing for the ledger yet
    ],
)
def test_a_checkpoint_that_is_level_or_ahead_is_fine(
    batches: list[list[tuple[int, int, int]]], committed: int, confirmed: dict[int, int]
) -> None:
    assert position(checkpoint(*batches, committed=committed), confirmed).check() is None


def test_a_checkpoint_older_than_the_ledger_is_refused_with_each_partition() -> None:
    old = checkpoint([(0, 0, 5), (1, 0, 7), (2, 0, 1)])
    with pytest.raises(CheckpointLost) as caught:
        position(old, {0: 6, 1: 7, 2: 4, 3: 2}).check()
    assert "older than the ledger: partition 0 at 5 of 6, partition 2 at 1 of 4, partition 3 at 0 of 2" in str(
        caught.value
    )


def test_a_checkpoint_of_another_topic_is_refused_and_the_ways_out_are_named() -> None:
    other = FakeJournal(id="query-1", batches=[[span(0, 0, 5, "logs-before")]], committed=1)
    with pytest.raises(UsageError, match=r"belongs to the topic logs-before, not logs\..*`checkpoints`.*--recover"):
        position(other).check()


# recover


def test_a_recovery_puts_the_checkpoint_of_another_topic_aside() -> None:
    here = position(
        FakeJournal(id="query-1", batches=[[span(0, 0, 5, "logs-before")]], committed=1), {}, {0: (2, 50), 1: (0, 4)}
    )
    assert here.recover("ledger") == {0: 2, 1: 0}
    assert diary(here)[0] == "checkpoint set aside"
    assert here.check() is None


def test_recovery_starts_where_the_ledger_ends_and_clears_what_lies_behind_first() -> None:
    here = position(None, {0: 5, 1: 7}, {0: (0, 50), 1: (2, 50), 2: (3, 50)})
    starts = {0: 5, 1: 7, 2: 3}
    assert here.recover("ledger") == starts
    assert diary(here) == ["checkpoint set aside", f"valid deleted from {starts}", f"invalid deleted from {starts}"]


def test_recovery_over_a_hole_is_refused_before_anything_is_touched() -> None:
    here = position(None, {0: 5}, {0: (9, 50)})
    with pytest.raises(OffsetsLost, match=r"logs-0 \[5, 9\).*--recover --accept-loss"):
        here.recover("ledger")
    assert diary(here) == []


def test_an_accepted_hole_keeps_the_place_of_the_ledger_and_is_still_seen() -> None:
    here = position(None, {0: 5}, {0: (9, 50)})
    starts = here.recover("ledger", accept_loss=True)
    assert starts == {0: 5}
    with pytest.raises(OffsetsLost, match=r"logs-0 \[5, 9\)"):
        here.losses(starts, accept=False)


def test_a_replay_begins_with_the_first_batch_that_kafka_still_has_whole() -> None:
    here = position(checkpoint([(0, 0, 5)], [(0, 5, 9)]), {0: 9, 2: 6}, {0: (2, 50), 1: (0, 4), 2: (3, 8)})
    assert isinstance(here.ledger, FakeLedger)
    here.ledger.batches = [span(0, 0, 5), span(0, 5, 9), span(2, 0, 6)]
    starts = {0: 5, 1: 0, 2: 6}
    assert here.recover("earliest") == starts
    assert diary(here) == [
        "checkpoint set aside",
        f"ledger of ingest deleted from {starts}",
        f"valid deleted from {starts}",
        f"invalid deleted from {starts}",
    ]


def test_rows_that_no_ledger_knows_are_no_new_job() -> None:
    here = position()
    assert isinstance(here.tables, FakeTables)
    here.tables.filled = {"invalid"}
    with pytest.raises(CheckpointLost, match="invalid holds rows of logs"):
        here.check()


@pytest.mark.parametrize("confirmed", [{0: 5}, {0: 4}, {}])
def test_a_healthy_job_has_nothing_to_recover(confirmed: dict[int, int]) -> None:
    here = position(checkpoint([(0, 0, 5)]), confirmed, {0: (0, 50)})
    with pytest.raises(UsageError, match="nothing to recover"):
        here.recover("ledger")
    assert diary(here) == []


def test_an_old_checkpoint_is_recovered() -> None:
    here = position(checkpoint([(0, 0, 5)]), {0: 9}, {0: (0, 50)})
    assert here.recover("ledger") == {0: 9}
    assert here.journal.query_id() is None


def test_a_recovery_that_was_killed_is_repeated_with_the_same_starts() -> None:
    here = position(checkpoint([(0, 0, 5)]), {0: 9}, {0: (0, 50)})
    assert here.recover("ledger") == here.recover("ledger")


# losses


@pytest.mark.parametrize("accept", [False, True])
def test_nothing_is_lost_before_the_first_batch(accept: bool) -> None:
    assert position(marks={0: (100, 200)}).losses(None, accept=accept) == []


@pytest.mark.parametrize("earliest", [0, 4, 5])
def test_what_was_read_may_be_deleted(earliest: int) -> None:
    here = position(checkpoint([(0, 0, 5)]), {0: 5}, {0: (earliest, 9)})
    assert here.losses(None, accept=False) == []


def test_unread_ranges_that_kafka_deleted_are_named_exactly() -> None:
    here = position(checkpoint([(0, 0, 5), (1, 0, 8), (2, 0, 3)]), {}, {0: (9, 20), 1: (8, 20), 2: (4, 4)})
    with pytest.raises(OffsetsLost) as caught:
        here.losses(None, accept=False)
    assert caught.value.ranges == (span(0, 5, 9), span(2, 3, 4))
    assert here.losses(None, accept=True) == [span(0, 5, 9), span(2, 3, 4)]


def test_a_batch_that_was_planned_but_not_done_was_not_read() -> None:
    here = position(checkpoint([(0, 0, 5)], [(0, 5, 9)], committed=1), {0: 5}, {0: (7, 20)})
    assert here.losses(None, accept=True) == [span(0, 5, 7)]


def test_the_checkpoint_knows_better_than_the_starts_of_a_recovery() -> None:
    here = position(checkpoint([(0, 0, 5)]), {}, {0: (6, 9)})
    assert here.losses({0: 2}, accept=True) == [span(0, 5, 6)]


def test_the_starts_of_a_recovery_count_as_long_as_there_is_no_checkpoint() -> None:
    assert position(marks={0: (6, 9), 1: (0, 1)}).losses({0: 2, 1: 0}, accept=True) == [span(0, 2, 6)]


@pytest.mark.parametrize("accept", [False, True])
def test_a_topic_that_ends_before_what_was_read_was_re_created(accept: bool) -> None:
    here = position(checkpoint([(0, 0, 5), (1, 0, 5)]), {}, {0: (0, 5), 1: (0, 4)})
    with pytest.raises(UsageError, match=r"logs-1: read up to 5, Kafka ends at 4\).*re-created"):
        here.losses(None, accept=accept)


# is_confirmed


def batch(*ranges: tuple[int, int, int]) -> Batch:
    return Batch("ingest", "query-1", 3, tuple(span(*r) for r in ranges))


def test_a_batch_is_confirmed_when_the_ledger_has_its_very_offsets() -> None:
    here = position()
    assert not here.is_confirmed(batch((1, 0, 2), (0, 0, 5)))
    assert isinstance(here.ledger, FakeLedger)
    here.ledger.known["query-1", 3] = [span(0, 0, 5), span(1, 0, 2)]
    assert here.is_confirmed(batch((1, 0, 2), (0, 0, 5)))


@pytest.mark.parametrize("known", [[span(0, 0, 5)], [span(0, 0, 6)], [span(0, 0, 5), span(1, 0, 2), span(2, 0, 1)]])
def test_the_same_batch_with_other_offsets_is_refused(known: list[OffsetRange]) -> None:
    here = position()
    assert isinstance(here.ledger, FakeLedger)
    here.ledger.known["query-1", 3] = known
    with pytest.raises(NotConserved, match="batch 3 does not add up: the ledger has this batch with other offsets"):
        here.is_confirmed(batch((0, 0, 5), (1, 0, 2)))


def test_the_same_batch_id_of_another_query_confirms_nothing() -> None:
    here = position()
    assert isinstance(here.ledger, FakeLedger)
    here.ledger.known["query-0", 3] = [span(0, 0, 5)]
    assert not here.is_confirmed(batch((0, 0, 5)))
