"""Conservation (law 2): every offset of a batch is explained, or the batch is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import NotConserved, OffsetsLost
from pipelines.flows.balance import Balance
from pipelines.records import Batch, LedgerEntry, OffsetRange, PartitionCount
from tests.unit.flows.fakes import FakeBroker, span

RULES = "0123456789abcdef"


def batch(*ranges: OffsetRange) -> Batch:
    return Batch("ingest", "query-1", 7, ranges)


def entry(of: OffsetRange, valid: int, invalid: int, gaps: int = 0, lost: int = 0) -> LedgerEntry:
    return LedgerEntry(of, valid, invalid, gaps, lost, RULES)


def test_a_batch_that_adds_up_needs_no_second_read() -> None:
    broker = FakeBroker()
    found = Balance(broker, RULES).entries(
        batch(span(0, 5, 10), span(1, 0, 2)), [PartitionCount(1, 0, 2), PartitionCount(0, 4, 1)]
    )
    assert found == [entry(span(0, 5, 10), 4, 1), entry(span(1, 0, 2), 0, 2)]
    assert broker.recounted == []


def test_an_empty_batch_has_no_entries() -> None:
    assert Balance(FakeBroker(), RULES).entries(batch(), []) == []


def test_offsets_that_a_second_read_does_not_find_either_are_gaps() -> None:
    broker = FakeBroker(marks={0: (0, 10), 1: (0, 10)}, second={0: 7})
    found = Balance(broker, RULES).entries(
        batch(span(0, 0, 10), span(1, 0, 4)), [PartitionCount(0, 6, 1), PartitionCount(1, 4, 0)]
    )
    assert found == [entry(span(0, 0, 10), 6, 1, gaps=3), entry(span(1, 0, 4), 4, 0)]
    assert broker.recounted == [span(0, 0, 10)]


def test_a_partition_of_nothing_but_gaps_gives_an_entry() -> None:
    broker = FakeBroker(marks={0: (0, 4)})
    assert Balance(broker, RULES).entries(batch(span(0, 0, 4)), []) == [entry(span(0, 0, 4), 0, 0, gaps=4)]


@pytest.mark.parametrize("second", [6, 8, 10, 0])
def test_a_gap_that_a_second_read_does_not_confirm_is_refused(second: int) -> None:
    broker = FakeBroker(marks={0: (0, 10)}, second={0: second})
    with pytest.raises(NotConserved) as caught:
        Balance(broker, RULES).entries(batch(span(0, 0, 10)), [PartitionCount(0, 6, 1)])
    assert caught.value.findings == (f"logs-0 [0, 10): 7 rows, but a second read gives {second}",)
    assert (caught.value.job, caught.value.batch_id) == ("ingest", 7)


def test_more_rows_than_offsets_are_refused() -> None:
    with pytest.raises(NotConserved) as caught:
        Balance(FakeBroker(), RULES).entries(
            batch(span(0, 0, 10), span(1, 0, 5)), [PartitionCount(0, 10, 1), PartitionCount(1, 5, 0)]
        )
    assert caught.value.findings == ("partition 0 has 1 rows too many",)


def test_rows_of_a_partition_that_was_not_read_are_refused() -> None:
    with pytest.raises(NotConserved, match="partition 9 has 2 rows too many"):
        Balance(FakeBroker(), RULES).entries(batch(span(0, 0, 10)), [PartitionCount(0, 10, 0), PartitionCount(9, 1, 1)])


def test_too_many_rows_here_do_not_make_up_for_too_few_there() -> None:
    broker = FakeBroker(marks={0: (0, 9), 1: (0, 9)}, second={0: 4, 1: 6})
    with pytest.raises(NotConserved, match="partition 1 has 1 rows too many"):
        Balance(broker, RULES).entries(
            batch(span(0, 0, 5), span(1, 0, 5)), [PartitionCount(0, 4, 0), PartitionCount(1, 6, 0)]
        )


def test_offsets_that_retention_deleted_are_lost_not_gaps() -> None:
    broker = FakeBroker(marks={0: (4, 20), 1: (0, 20)}, second={0: 6, 1: 9})
    with pytest.raises(OffsetsLost) as caught:
        Balance(broker, RULES).entries(
            batch(span(0, 0, 10), span(1, 0, 10)), [PartitionCount(0, 6, 0), PartitionCount(1, 9, 0)]
        )
    assert caught.value.ranges == (span(0, 0, 4),)
    assert caught.value.job == "ingest"


def test_a_range_that_is_gone_altogether_ends_where_the_batch_ends() -> None:
    broker = FakeBroker(marks={0: (50, 90)})
    with pytest.raises(OffsetsLost) as caught:
        Balance(broker, RULES).entries(batch(span(0, 3, 10)), [])
    assert caught.value.ranges == (span(0, 3, 10),)


def test_an_accepted_loss_is_recorded_as_lost_never_as_a_gap() -> None:
    broker = FakeBroker(marks={0: (4, 20)})
    balance = Balance(broker, RULES, [span(0, 0, 4), span(1, 0, 9)])
    assert balance.entries(batch(span(0, 0, 10)), [PartitionCount(0, 5, 1)]) == [entry(span(0, 0, 10), 5, 1, lost=4)]
    assert broker.recounted == []


def test_an_accepted_loss_and_gaps_behind_it() -> None:
    broker = FakeBroker(marks={0: (4, 20)}, second={0: 5})
    balance = Balance(broker, RULES, [span(0, 0, 4)])
    assert balance.entries(batch(span(0, 0, 10)), [PartitionCount(0, 5, 0)]) == [
        entry(span(0, 0, 10), 5, 0, gaps=1, lost=4)
    ]


def test_an_accepted_loss_is_split_over_the_batches_it_covers() -> None:
    balance = Balance(FakeBroker(marks={0: (8, 20)}), RULES, [span(0, 0, 8)])
    assert balance.entries(batch(span(0, 0, 5)), []) == [entry(span(0, 0, 5), 0, 0, lost=5)]
    assert balance.entries(batch(span(0, 5, 10)), [PartitionCount(0, 2, 0)]) == [entry(span(0, 5, 10), 2, 0, lost=3)]
    assert balance.entries(batch(span(0, 10, 12)), [PartitionCount(0, 2, 0)]) == [entry(span(0, 10, 12), 2, 0)]


def test_what_is_deleted_after_the_operator_accepted_is_a_new_loss() -> None:
    broker = FakeBroker(marks={0: (6, 20)}, second={0: 4})
    with pytest.raises(OffsetsLost) as caught:
        Balance(broker, RULES, [span(0, 0, 4)]).entries(batch(span(0, 0, 10)), [PartitionCount(0, 4, 0)])
    assert caught.value.ranges == (span(0, 4, 6),)


@pytest.mark.parametrize("rows", [7, 8, 10])
def test_rows_where_the_operator_accepted_a_loss_are_refused(rows: int) -> None:
    balance = Balance(FakeBroker(marks={0: (0, 20)}), RULES, [span(0, 0, 4)])
    with pytest.raises(NotConserved, match=f"partition 0 has {rows - 6} rows too many"):
        balance.entries(batch(span(0, 0, 10)), [PartitionCount(0, rows, 0)])


def test_a_loss_of_another_topic_is_not_ours() -> None:
    broker = FakeBroker(marks={0: (0, 20)}, second={0: 6})
    balance = Balance(broker, RULES, [span(0, 0, 4, topic="other")])
    assert balance.entries(batch(span(0, 0, 10)), [PartitionCount(0, 6, 0)]) == [entry(span(0, 0, 10), 6, 0, gaps=4)]


small = st.integers(0, 12)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Balance, Batch, list[PartitionCount]]:
    """Anything that Kafka, the operator and our own counting might come up with."""
    starts = draw(st.lists(small, min_size=1, max_size=3))
    ranges = [span(p, start, start + draw(small)) for p, start in enumerate(starts)]
    lengths = dict(enumerate(map(len, ranges)))
    counts = [
        PartitionCount(p, draw(st.just(lengths.get(p, 0)) | small), draw(st.integers(0, 3)))
        for p in draw(st.sets(st.integers(0, 3)))
    ]
    accepted = [span(p, s, s + draw(small)) for p, s in enumerate(draw(st.lists(small, max_size=3)))]
    marks = {r.partition: (draw(st.integers(0, 20)), 30) for r in ranges}
    rows = {c.partition: c.valid + c.invalid for c in counts}
    second = {r.partition: draw(st.just(rows.get(r.partition, 0)) | small) for r in ranges}
    return Balance(FakeBroker(marks, second), RULES, accepted), batch(*ranges), counts


@given(situations())
def test_what_is_not_refused_adds_up(situation: tuple[Balance, Batch, list[PartitionCount]]) -> None:
    balance, given_batch, counts = situation
    try:
        entries = balance.entries(given_batch, counts)
    except (NotConserved, OffsetsLost):
        return
    assert [e.range for e in entries] == list(given_batch.ranges)
    for e in entries:
        assert len(e.range) == e.valid + e.invalid + e.gaps + e.lost
        assert min(e.valid, e.invalid, e.gaps, e.lost) >= 0
    rows = sum(c.valid + c.invalid for c in counts)
    assert sum(e.valid + e.invalid for e in entries) == rows
