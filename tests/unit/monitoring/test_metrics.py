"""What a job counts: every record of a confirmed batch once, under one reason."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from pipelines.monitoring.metrics import JobMetrics
from pipelines.records import Batch, LedgerEntry, OffsetRange

REASONS = {"incompatible_schema": 2, "status_code_range": 3}


def batch(batch_id: int, query_id: str = "query-1") -> Batch:
    return Batch("ingest", query_id, batch_id, (OffsetRange("logs", 0, 0, 70), OffsetRange("logs", 1, 0, 35)))


def entries(*, invalid: int) -> list[LedgerEntry]:
    """95 valid rows of two partitions, the invalid ones, and offsets that are no records."""
    return [
        LedgerEntry(OffsetRange("logs", 0, 0, 60 + invalid + 4), 60, invalid, 4, 0, "aaaa"),
        LedgerEntry(OffsetRange("logs", 1, 0, 36), 35, 0, 0, 1, "aaaa"),
    ]


class Shown:
    """A job's metrics and what a registry shows of them."""

    def __init__(self, job: str = "ingest") -> None:
        self.registry = CollectorRegistry()
        self.metrics = JobMetrics(job, self.registry)

    def tried(self, which: Batch, reasons: Mapping[str, int] = REASONS) -> None:
        self.metrics.step("started", which)
        self.metrics.outcome(which, entries(invalid=sum(reasons.values())), reasons)
        self.metrics.step("invalid_written", which)
        self.metrics.step("counted", which)

    def confirmed(self, which: Batch, reasons: Mapping[str, int] = REASONS) -> None:
        self.tried(which, reasons)
        self.metrics.step("ledger_written", which)
        self.metrics.step("done", which)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"job": "ingest"} | labels)

    def invalid(self, code: str) -> float | None:
        return self.value("sdp_records_invalid_total", code=code)

    def totals(self) -> tuple[float | None, float | None]:
        return self.value("sdp_records_read_total"), self.value("sdp_records_valid_total")


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_a_new_job_shows_zero_where_an_alert_waits_for_the_first_record_and_no_share(shown: Shown) -> None:
    assert shown.totals() == (0, 0)
    assert shown.invalid("incompatible_schema") == 0
    assert shown.value("sdp_last_batch_refused_ratio") is None


def test_offsets_that_are_no_records_are_not_counted(shown: Shown) -> None:
    shown.confirmed(batch(0))
    assert shown.totals() == (100, 95)
    assert (shown.invalid("incompatible_schema"), shown.invalid("status_code_range")) == (2, 3)
    assert shown.value("sdp_last_batch_refused_ratio") == 0.05


def test_counters_grow_and_the_share_is_that_of_the_last_batch(shown: Shown) -> None:
    shown.confirmed(batch(0))
    shown.confirmed(batch(1), {"status_code_range": 5})
    assert shown.totals() == (200, 190)
    assert (shown.invalid("incompatible_schema"), shown.invalid("status_code_range")) == (2, 8)
    shown.confirmed(batch(2), {})
    assert shown.totals() == (295, 285)
    assert shown.value("sdp_last_batch_refused_ratio") == 0


def test_a_batch_that_is_not_confirmed_does_not_count(shown: Shown) -> None:
    shown.tried(batch(0))
    assert shown.totals() == (0, 0)
    assert shown.invalid("status_code_range") is None
    assert shown.value("sdp_last_batch_refused_ratio") is None


def test_a_batch_that_is_tried_again_counts_once_as_its_last_try_found_it(shown: Shown) -> None:
    shown.tried(batch(0), {"elsewhere": 5})
    shown.tried(batch(0), {"elsewhere": 5})
    shown.confirmed(batch(0))
    assert shown.totals() == (100, 95)
    assert shown.invalid("elsewhere") is None
    assert shown.invalid("status_code_range") == 3


def test_a_batch_that_failed_behind_the_ledger_counts_when_it_is_found_there(shown: Shown) -> None:
    shown.tried(batch(0))
    shown.metrics.step("started", batch(0))
    shown.metrics.step("done", batch(0))
    assert shown.totals() == (100, 95)


def test_a_replay_of_a_batch_that_is_counted_adds_nothing(shown: Shown) -> None:
    shown.confirmed(batch(0))
    shown.confirmed(batch(1))
    for again in (0, 1):
        shown.confirmed(batch(again))
    assert shown.totals() == (200, 190)
    assert shown.invalid("status_code_range") == 6


def test_a_new_query_begins_its_batches_anew(shown: Shown) -> None:
    shown.confirmed(batch(0))
    shown.confirmed(batch(0, "query-2"))
    assert shown.totals() == (200, 190)


def test_after_a_restart_a_batch_of_the_process_before_is_not_counted_again(shown: Shown) -> None:
    shown.confirmed(batch(0))
    restarted = Shown()
    restarted.metrics.step("started", batch(0))
    restarted.metrics.step("done", batch(0))
    assert restarted.totals() == (0, 0)
    restarted.confirmed(batch(1))
    assert restarted.totals() == (100, 95)


def test_a_batch_of_nothing_but_transaction_markers_has_no_share_to_refuse(shown: Shown) -> None:
    markers = [LedgerEntry(OffsetRange("logs", 0, 0, 3), 0, 0, 3, 0, "aaaa")]
    shown.metrics.outcome(batch(0), markers, {})
    shown.metrics.step("ledger_written", batch(0))
    assert shown.totals() == (0, 0)
    assert shown.value("sdp_last_batch_refused_ratio") == 0


def test_every_name_has_its_unit_and_no_label_but_job_and_code(shown: Shown) -> None:
    shown.confirmed(batch(0))
    samples = [s for family in shown.registry.collect() for s in family.samples if not s.name.endswith("_created")]
    assert {s.name: sorted(s.labels) for s in samples} == {
        "sdp_records_read_total": ["job"],
        "sdp_records_valid_total": ["job"],
        "sdp_records_invalid_total": ["code", "job"],
        "sdp_last_batch_refused_ratio": ["job"],
    }
