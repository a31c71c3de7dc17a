"""Settings → a wired repair; beside ``bootstrap``, the only place that names adapters."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pyspark.sql import SparkSession

from pipelines import bootstrap
from pipelines.adapters.document_repairs import DocumentRepairs
from pipelines.adapters.repair_journal import RepairJournal
from pipelines.adapters.repairs import Repairs
from pipelines.adapters.table_repairs import TableRepairs
from pipelines.adapters.tables import OF_JOBS, OF_RECONCILIATION
from pipelines.flows.ports import Steps
from pipelines.flows.reconcile import Wanted
from pipelines.flows.repair import Repair
from pipelines.flows.repair_chunk import JOB, RepairChunk
from pipelines.flows.repair_ports import ReconcileAgain
from pipelines.flows.repair_truth import Truth
from pipelines.flows.trouble import Patience
from pipelines.settings import Settings


def repair(
    settings: Settings,
    spark: SparkSession | None = None,
    on_step: Steps = lambda *_: None,
    on_phase: Callable[[str], None] = lambda _: None,
    again: ReconcileAgain | None = None,
) -> Repair:
    """Wire the repair of a run's findings. ``again``: reconciles a window; `sdp reconcile` unless given."""
    spark = spark or bootstrap.spark_session(settings, f"sdp-{JOB}")
    parts = bootstrap.Wiring(JOB, settings, spark, None)
    topic, place = settings.kafka.topic, f"{settings.checkpoints_uri}/{JOB}"
    stop = threading.Event()
    patience = Patience(f"the repair of {topic}", settings.repair.retry_for_s, parts.log.retry, stop)
    tables = TableRepairs(spark, settings.metastore.database, settings.warehouse_uri)
    patience(lambda: tables.create_missing((*OF_JOBS, *OF_RECONCILIATION)))
    documents = DocumentRepairs(spark, settings.elasticsearch)
    book = Repairs(spark, tables, settings.metastore.database, topic)
    truth = Truth(
        topic=topic,
        schemas=parts.schemas,
        tables=tables,
        broker=parts.broker,
        finder=documents,
        known_rules=parts.rule_sets,
        rules=lambda: parts.rules,
    )
    return Repair(
        topic=topic,
        book=book,
        log=RepairJournal(parts.files, f"{place}.pending"),
        lease=bootstrap.lease_of(JOB, settings, parts.files),
        chunk=RepairChunk(truth, tables, documents, book, on_step),
        again=again or _reconciling(settings, spark, stop),
        patience=patience,
        on_phase=on_phase,
    )


def _reconciling(settings: Settings, spark: SparkSession, stop: threading.Event) -> ReconcileAgain:
    flow = bootstrap.reconcile(settings, spark, stop=stop)
    return lambda since, until, deep: flow.run(Wanted((since, until), deep)).run_id
