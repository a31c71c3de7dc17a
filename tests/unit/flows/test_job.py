"""The life of a job, told with fakes on a clock of their own: nothing here waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, StreamingQueryException
from pyspark.sql import DataFrame

from pipelines.errors import (
    AlreadyRunning,
    CheckpointLost,
    MetastoreUnavailable,
    NotConserved,
    OffsetsLost,
    RegistryUnavailable,
    SinkUnavailable,
    UsageError,
)
from pipelines.flows.job import Ended, Job
from pipelines.flows.position import Position
from pipelines.monitoring.metrics import JobMetrics
from pipelines.records import Batch, LedgerEntry, OffsetRange
from tests.unit.flows.fakes import (
    TOPIC,
    FakeBroker,
    FakeJournal,
    FakeLease,
    FakeLedger,
    FakeStop,
    FakeStream,
    FakeTables,
    fails,
    span,
)

TRIGGER_S, RETRY_FOR_S = 100.0, 300.0


def away() -> RegistryUnavailable:
    return RegistryUnavailable("schema registry", "http://r", "refused")


@dataclass
class House:
    """A job and all its fakes. ``work`` does what a test wants before the batch is written down."""

    topic: list[list[OffsetRange]] = field(default_factory=lambda: [[span(0, 0, 5)], [span(0, 5, 9)]])
    stop: FakeStop = field(default_factory=FakeStop)
    during_work: Callable[[Batch], Any] = lambda _: None
    diary: list[str] = field(default_factory=list)
    steps: list[tuple[str, int]] = field(default_factory=list)
    worked: list[tuple[Batch, Sequence[OffsetRange]]] = field(default_factory=list)
    retries: list[BaseException | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = FakeJournal(diary=self.diary)
        self.ledger = FakeLedger(diary=self.diary)
        self.tables = FakeTables(self.diary)
        self.broker = FakeBroker({0: (0, 1_000)})
        self.lease = FakeLease(diary=self.diary)
        self.stream = FakeStream(self.journal, self.topic, diary=self.diary)
        self.job = Job(
            name="ingest",
            topic=TOPIC,
            work=self._work,
            stream=self.stream,
            journal=self.journal,
            ledger=self.ledger,
            tables=self.tables,
            position=Position("ingest", TOPIC, self.journal, self.ledger, self.tables, self.broker, ("valid",)),
            lease=self.lease,
            on_step=lambda step, batch: self.steps.append((step, batch.batch_id)),
            on_retry=lambda error, _: self.retries.append(error),
            trigger_s=TRIGGER_S,
            retry_for_s=RETRY_FOR_S,
            stop=self.stop,
        )

    def _work(self, _: DataFrame, batch: Batch, accepted: Sequence[OffsetRange]) -> None:
        self.during_work(batch)
        self.worked.append((batch, accepted))
        self.diary.append(f"batch {batch.batch_id}")

    @property
    def done(self) -> list[int]:
        return [batch.batch_id for batch, _ in self.worked]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    found = House()
    monkeypatch.setattr("pipelines.flows.job.time", SimpleNamespace(monotonic=found.stop.monotonic))
    return found


# Order


def test_once_drains_a_single_time_and_gives_the_lease_back(house: House) -> None:
    house.job.run(once=True)
    assert house.diary == [
        "lease taken",
        "tables created",
        "drain",
        "batch 0",
        "batch 1",
        "query stopped",
        "lease given back",
    ]
    assert house.steps == [("started", 0), ("done", 0), ("started", 1), ("done", 1)]
    assert house.stop.waits == []
    assert [batch for batch, _ in house.worked] == [
        Batch("ingest", "query-1", 0, (span(0, 0, 5),)),
        Batch("ingest", "query-1", 1, (span(0, 5, 9),)),
    ]


@pytest.mark.parametrize("once", [True, False])
def test_metrics_are_shown_as_long_as_the_lease_is_held(house: House, once: bool) -> None:
    @contextmanager
    def shown(is_once: bool) -> Iterator[None]:
        house.diary.append(f"shown, once: {is_once}")
        try:
            yield
        finally:
            house.diary.append("no longer shown")

    house.job.shown = shown
    house.stop.set_after = 1
    house.job.run(once=once)
    assert house.diary[:3] == ["lease taken", f"shown, once: {once}", "tables created"]
    assert house.diary[-2:] == ["no longer shown", "lease given back"]


def test_metrics_that_can_not_be_shown_stop_the_job_before_it_begins(house: House) -> None:
    house.job.shown = fails([UsageError("port 9464 is taken")])
    with pytest.raises(UsageError, match="9464"):
        house.job.run()
    assert house.diary == ["lease taken", "lease given back"]
    assert house.retries == []


def test_a_batch_whose_confirmation_failed_behind_the_ledger_counts_once(house: House) -> None:
    registry = CollectorRegistry()
    metrics = JobMetrics("ingest", registry)
    trouble = fails([SinkUnavailable("the answer to the commit", "hdfs://w", "lost")])

    def work(batch: Batch) -> None:
        entries = [LedgerEntry(r, len(r) - 1, 1, 0, 0, "aaaa") for r in batch.ranges]
        metrics.outcome(batch, entries, {"status_code_range": 1})
        house.ledger.append(batch, entries)
        trouble()
        metrics.step("ledger_written", batch)

    house.during_work = work
    house.job.on_step = metrics.step
    house.job.run(once=True)
    assert house.done == [1]
    assert len(house.retries) == 1
    totals = [registry.get_sample_value(f"sdp_records_{name}_total", {"job": "ingest"}) for name in ("read", "valid")]
    assert totals == [9, 7]


def test_a_second_copy_touches_nothing(house: House) -> None:
    house.lease.other = "process 7 on here"
    with pytest.raises(AlreadyRunning):
        house.job.run(once=True)
    assert house.diary == []


def test_a_lost_checkpoint_stops_the_job_before_it_reads_or_writes(house: House) -> None:
    house.ledger.confirmed = {0: 5}
    with pytest.raises(CheckpointLost):
        house.job.run(once=True)
    assert house.diary == ["lease taken", "tables created", "lease given back"]
    assert house.retries == []


# Schedule


def test_a_trigger_keeps_draining_until_somebody_asks_to_stop(house: House) -> None:
    house.stop.set_after = 3
    house.stream.on_start = lambda: house.topic.append([span(0, 10, 11)])
    house.job.run()
    assert house.diary.count("drain") == 3
    assert house.done == [0, 1, 2, 3, 4]
    assert house.stop.waits == [TRIGGER_S] * 3


def test_drains_start_every_trigger_s_however_long_they_take(house: House) -> None:
    house.stop.set_after = 2
    took = iter([40.0, 250.0])

    def drain() -> None:
        house.stop.now += next(took)

    house.stream.on_start = drain
    house.job.run()
    assert house.stop.waits == [60.0, 0.0]


def test_a_stop_before_the_start_drains_nothing(house: House) -> None:
    house.stop.set()
    house.job.run()
    assert house.diary == ["lease taken", "tables created", "lease given back"]


def test_a_stop_lets_the_running_batch_finish_and_begins_no_other(house: House) -> None:
    house.during_work = lambda _: house.stop.set()
    house.job.run()
    assert house.done == [0]
    assert house.journal.committed == 1
    assert house.steps == [("started", 0), ("done", 0)]
    assert house.diary[-2:] == ["query stopped", "lease given back"]


def test_a_stop_that_comes_with_the_lease_is_one_like_any_other(house: House) -> None:
    house.during_work = lambda _: house.lease.ask_to_stop()
    assert house.job.run() == Ended(asked=True)
    assert house.done == [0]
    assert house.diary[-2:] == ["query stopped", "lease given back"]


# Retry


def test_trouble_of_infrastructure_is_tried_again_with_growing_pauses(house: House) -> None:
    errors = [away() for _ in range(4)]
    house.during_work = fails(errors)
    house.job.run(once=True)
    assert house.done == [0, 1]
    assert house.retries == errors
    assert house.diary.count("drain") == 5
    assert house.diary.count("query stopped") == 5
    for n, pause in enumerate(house.stop.waits):
        assert 2**n <= pause <= 2**n + 1


def test_no_pause_is_longer_than_a_minute(house: House) -> None:
    house.job.retry_for_s = 3_600
    house.during_work = fails([away() for _ in range(30)])
    house.job.run(once=True)
    assert max(house.stop.waits) == 60.0
    assert house.done == [0, 1]


def test_retries_end_after_retry_for_s_with_the_error_itself(house: House) -> None:
    house.during_work = fails([away() for _ in range(1_000)])
    with pytest.raises(RegistryUnavailable) as caught:
        house.job.run()
    assert caught.value.exit_code == 3
    assert sum(house.stop.waits) > RETRY_FOR_S
    assert sum(house.stop.waits[:-1]) <= RETRY_FOR_S
    assert house.done == []
    assert house.diary[-1] == "lease given back"


def test_retry_for_s_of_zero_still_tries_a_second_time_but_no_third(house: House) -> None:
    house.job.retry_for_s = 0
    house.during_work = fails([away() for _ in range(3)])
    with pytest.raises(RegistryUnavailable):
        house.job.run(once=True)
    assert len(house.stop.waits) == 1


def test_a_batch_that_gets_done_starts_the_patience_anew(house: House) -> None:
    """A long backlog on shaky infrastructure goes on as long as it goes on."""
    house.topic[:] = [[span(0, n, n + 1)] for n in range(50)]

    def work(batch: Batch) -> None:
        if len(house.retries) <= batch.batch_id:
            house.stop.now += RETRY_FOR_S / 2
            raise away()

    house.during_work = work
    house.job.run(once=True)
    assert house.done == list(range(50))
    assert len(house.retries) == 50


def test_trouble_that_passed_is_forgotten_even_if_no_batch_came_since(house: House) -> None:
    house.topic.clear()
    house.stream.trouble = [True] + [False] * 10 + [True]
    house.stop.set_after = 14
    house.job.run()
    assert len(house.retries) == 2
    assert sum(house.stop.waits) > 3 * RETRY_FOR_S


@pytest.mark.parametrize("error", [NotConserved("ingest", 0, ["x"]), UsageError("x"), ValueError("x"), KeyError("x")])
def test_what_stays_wrong_is_not_tried_again(house: House, error: Exception) -> None:
    house.during_work = fails([error])
    with pytest.raises(type(error)) as caught:
        house.job.run()
    assert caught.value is error
    assert (house.retries, house.stop.waits) == ([], [])
    assert house.diary[-3:] == ["drain", "query stopped", "lease given back"]
    assert house.journal.committed == 0


def test_a_mistake_in_a_query_is_not_tried_again(house: House) -> None:
    house.during_work = fails([AnalysisException("no such column")])
    with pytest.raises(AnalysisException):
        house.job.run()
    assert house.retries == []


class JavaTrouble(Py4JJavaError):  # type: ignore[misc] # py4j has no types
    """An exception of the JVM without a JVM."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)

    def __str__(self) -> str:
        return "An error occurred while calling o1.save.\n: java.net.ConnectException: refused\n\tat java.net.X"


def test_trouble_in_the_jvm_may_pass(house: House) -> None:
    house.during_work = fails([JavaTrouble("x"), JavaTrouble("x")])
    house.job.run(once=True)
    assert house.done == [0, 1]
    assert len(house.retries) == 2


def test_trouble_in_the_jvm_that_stays_is_named_by_its_cause(house: House) -> None:
    house.during_work = fails([JavaTrouble("x") for _ in range(1_000)])
    with pytest.raises(SinkUnavailable, match=r"ConnectException: refused$") as caught:
        house.job.run(once=True)
    assert caught.value.exit_code == 3


def test_a_source_that_fails_is_tried_again(house: House) -> None:
    house.stream.trouble = [True, True]
    house.job.run(once=True)
    assert house.done == [0, 1]
    assert [type(error) for error in house.retries] == [StreamingQueryException] * 2


def test_a_source_that_keeps_failing_ends_as_unavailable(house: House) -> None:
    house.stream.trouble = [True] * 1_000
    with pytest.raises(SinkUnavailable, match="SparkException: Job aborted"):
        house.job.run(once=True)


def test_trouble_before_the_first_drain_is_tried_again(house: House) -> None:
    house.tables.trouble = [MetastoreUnavailable("Hive metastore", "thrift://m", "refused")]
    house.job.run(once=True)
    assert house.done == [0, 1]
    assert house.diary[:3] == ["lease taken", "tables created", "drain"]


def test_a_stop_while_a_server_is_away_ends_the_job_at_once_and_names_the_server(house: House) -> None:
    errors = [away() for _ in range(1_000)]
    house.during_work = fails(errors)
    house.stop.set_after = 2
    assert house.job.run() == Ended(asked=True, trouble=errors[1])
    assert len(house.stop.waits) == 2
    assert house.diary.count("drain") == 2
    assert house.done == []
    assert house.journal.committed == 0
    assert house.diary[-1] == "lease given back"


def test_a_stop_while_the_source_is_away_names_its_cause(house: House) -> None:
    house.stream.trouble = [True] * 1_000
    house.stop.set_after = 1
    ended = house.job.run()
    assert isinstance(ended.trouble, SinkUnavailable)
    assert "SparkException: Job aborted" in str(ended.trouble)


def test_a_stop_before_the_first_drain_is_a_stop_too(house: House) -> None:
    error = MetastoreUnavailable("Hive metastore", "thrift://m", "refused")
    house.tables.trouble = [error, error]
    house.stop.set_after = 1
    assert house.job.run() == Ended(asked=True, trouble=error)
    assert house.diary == ["lease taken", "lease given back"]


def test_a_batch_that_fails_after_the_stop_was_asked_for_is_left_to_the_next_run(house: House) -> None:
    error = away()

    def work(_: Batch) -> None:
        house.stop.set()
        raise error

    house.during_work = work
    assert house.job.run() == Ended(asked=True, trouble=error)
    assert (house.done, house.stop.waits, house.journal.committed) == ([], [], 0)
    house.stop.clear()
    house.during_work = lambda _: None
    assert house.job.run(once=True) == Ended(asked=False)
    assert house.done == [0, 1]


def test_a_stop_does_not_hide_wrong_data(house: House) -> None:
    def work(_: Batch) -> None:
        house.stop.set()
        raise NotConserved("ingest", 0, ["x"])

    house.during_work = work
    with pytest.raises(NotConserved):
        house.job.run()


def test_a_stop_says_whether_it_was_asked_for(house: House) -> None:
    assert house.job.run(once=True) == Ended(asked=False)
    house.stop.set()
    assert house.job.run() == Ended(asked=True)


def test_a_recovery_that_a_stop_cuts_off_is_no_clean_end(house: House) -> None:
    """A plain start would refuse now."""
    house.ledger.confirmed = {0: 5}
    house.stream.trouble = [True] * 1_000
    house.stop.set_after = 1
    with pytest.raises(SinkUnavailable) as caught:
        house.job.run(recover="ledger")
    assert caught.value.exit_code == 3
    house.stop.clear()
    with pytest.raises(CheckpointLost):
        house.job.run()


def test_a_recovery_is_over_when_the_new_query_has_begun_a_batch(house: House) -> None:
    house.ledger.confirmed = {0: 5}
    house.topic[:] = [[span(0, 5, 9)]]
    error = away()
    house.during_work = fails([error])
    house.stop.set_after = 1
    assert house.job.run(recover="ledger") == Ended(asked=True, trouble=error)
    house.stop.clear()
    house.job.run(once=True)
    assert house.done == [0]


# After a kill


def killed_after_the_ledger(house: House) -> None:
    house.journal.id, house.journal.batches = "query-1", [[span(0, 0, 5)]]
    house.ledger.confirmed = {0: 5}
    house.ledger.known["query-1", 0] = [span(0, 0, 5)]


def test_a_batch_that_the_ledger_has_is_not_worked_again(house: House) -> None:
    killed_after_the_ledger(house)
    house.job.run(once=True)
    assert house.done == [1]
    assert house.steps == [("started", 0), ("done", 0), ("started", 1), ("done", 1)]


def test_a_batch_that_the_ledger_has_with_other_offsets_stops_the_job(house: House) -> None:
    killed_after_the_ledger(house)
    house.topic[0] = [span(0, 0, 6)]
    with pytest.raises(NotConserved, match="other offsets"):
        house.job.run(once=True)
    assert house.done == []


def test_only_the_first_batch_of_a_drain_can_be_a_replay(house: House) -> None:
    house.topic.append([span(0, 9, 12)])
    house.during_work = lambda batch: fail_once(batch) if batch.batch_id == 1 else None
    fail_once = fails([away()])
    house.job.run(once=True)
    assert house.done == [0, 1, 2]
    assert house.ledger.asked == [0, 1]


def test_partitions_without_records_are_left_out_and_an_empty_batch_is_no_work(house: House) -> None:
    house.topic[:] = [[span(0, 5, 5), span(1, 0, 2)], [span(0, 5, 5), span(1, 2, 2)]]
    house.job.run(once=True)
    assert [batch.ranges for batch, _ in house.worked] == [(span(1, 0, 2),)]
    assert house.steps[-1] == ("done", 1)


# Recovery and losses


def test_a_recovery_starts_a_new_query_where_the_ledger_ends(house: House) -> None:
    house.ledger.confirmed = {0: 5}
    house.topic[:] = [[span(0, 5, 9)]]
    house.during_work = fails([away()])
    house.job.run(once=True, recover="ledger")
    assert house.diary[:5] == [
        "lease taken",
        "tables created",
        "checkpoint set aside",
        "valid deleted from {0: 5}",
        "drain",
    ]
    assert house.stream.starts == [{0: 5}, None]  # the second start has a checkpoint of its own
    assert house.done == [0]


def test_offsets_that_are_gone_stop_the_job_before_it_drains(house: House) -> None:
    house.journal.id, house.journal.batches, house.journal.committed = "query-1", [[span(0, 0, 5)]], 1
    house.broker.marks = {0: (8, 20)}
    with pytest.raises(OffsetsLost) as caught:
        house.job.run(once=True)
    assert caught.value.ranges == (span(0, 5, 8),)
    assert "drain" not in house.diary


def accepting(house: House) -> None:
    house.journal.id, house.journal.batches, house.journal.committed = "query-1", [[span(0, 0, 5)]], 1
    house.broker.marks = {0: (8, 20)}


def test_an_accepted_loss_reaches_the_batches_of_the_first_drain_only(house: House) -> None:
    accepting(house)
    house.stop.set_after = 2
    house.stream.on_start = lambda: house.topic.append([span(0, 9 + len(house.topic), 10 + len(house.topic))])
    house.job.run(accept_loss=True)
    assert [(batch.batch_id, list(accepted)) for batch, accepted in house.worked] == [
        (1, [span(0, 5, 8)]),
        (2, [span(0, 5, 8)]),
        (3, []),
    ]
    assert house.stream.tolerant == [True, False]


def test_an_accepted_loss_stays_accepted_when_the_drain_is_tried_again(house: House) -> None:
    accepting(house)
    house.stream.trouble = [True]
    house.job.run(once=True, accept_loss=True)
    assert [list(accepted) for _, accepted in house.worked] == [[span(0, 5, 8)]]
    assert house.stream.tolerant == [True, True]


def test_an_accepted_loss_that_a_stop_cuts_off_is_no_clean_end(house: House) -> None:
    """A plain start would name the loss and refuse."""
    accepting(house)
    house.stream.trouble = [True] * 1_000
    house.stop.set_after = 1
    with pytest.raises(SinkUnavailable):
        house.job.run(accept_loss=True)


def test_accepting_a_loss_where_there_is_none_changes_nothing(house: House) -> None:
    house.job.run(once=True, accept_loss=True)
    assert house.stream.tolerant == [False]
    assert [list(accepted) for _, accepted in house.worked] == [[], []]


def test_offsets_that_vanish_while_the_job_runs_are_named_not_retried(house: House) -> None:
    house.journal.id, house.journal.batches, house.journal.committed = "query-1", house.topic[:1], 1
    house.stream.trouble = [True]

    def retention() -> None:
        house.broker.marks = {0: (20, 30)}

    house.stream.on_start = retention
    with pytest.raises(OffsetsLost) as caught:
        house.job.run()
    assert caught.value.ranges == (span(0, 5, 20),)
    assert house.retries == []


def test_offsets_that_vanish_under_a_batch_are_named_not_retried(house: House) -> None:
    """Spark reads the source within the batch, so it is the batch that fails."""
    house.journal.id, house.journal.batches, house.journal.committed = "query-1", house.topic[:1], 1

    def work(_: Batch) -> None:
        house.broker.marks = {0: (20, 30)}
        raise JavaTrouble("x")

    house.during_work = work
    with pytest.raises(OffsetsLost) as caught:
        house.job.run()
    assert caught.value.ranges == (span(0, 5, 20),)
    assert house.retries == []
