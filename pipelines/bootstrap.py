"""Settings → wired flows; the only place that names adapters."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipelines.adapters.checkpoint import Checkpoint
from pipelines.adapters.elastic import Elastic
from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.kafka import KafkaAdmin, ensure_topics
from pipelines.adapters.lease import Lease, StopAsked
from pipelines.adapters.ledger import Ledger
from pipelines.adapters.pinned_rules import PinnedRules
from pipelines.adapters.producer import KafkaSender
from pipelines.adapters.registry import Registry
from pipelines.adapters.schemas import RegisteredSchemas
from pipelines.adapters.spark import conf, session
from pipelines.adapters.stream import KafkaBroker, KafkaStream
from pipelines.adapters.submission import Submission, arguments
from pipelines.adapters.tables import Tables
from pipelines.contracts import avro
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.writer import LogSchema
from pipelines.flows import produce as producing
from pipelines.flows.balance import Balance
from pipelines.flows.index import IndexBatch
from pipelines.flows.ingest import IngestBatch
from pipelines.flows.job import Job
from pipelines.flows.ports import Steps
from pipelines.flows.position import Position
from pipelines.flows.status import Status
from pipelines.ingest.judge import Judge
from pipelines.monitoring.logs import BatchLog
from pipelines.records import ES_INVALID, INVALID, VALID, Batch, OffsetRange
from pipelines.settings import JobSettings, Settings
from pipelines.traffic.generate import Plan
from stack import dist

INGEST, INDEX = "ingest", "index"


def job(name: str, settings: Settings, spark: SparkSession | None = None, on_step: Steps | None = None) -> Job:
    """Wire the job ``ingest`` or ``index``. ``on_step`` is told every step beside the log."""
    spark = spark or spark_session(settings, f"sdp-{name}")
    wiring = _Wiring(name, settings, spark, on_step)
    return wiring.ingest() if name == INGEST else wiring.index()


def ask_to_stop(name: str, settings: Settings, spark: SparkSession | None = None) -> StopAsked:
    """Ask the job to stop after its running batch, wherever it runs, through its checkpoint's file system."""
    here = settings.spark.model_copy(update={"master": "local[1]"})  # a file is all it takes, not a cluster
    spark = spark or spark_session(settings.model_copy(update={"spark": here}), "sdp-stop")
    return _lease(name, settings, HadoopFiles(spark)).ask_to_stop()


def status(settings: Settings, spark: SparkSession | None = None) -> Status:
    """Wire the state of both jobs."""
    spark = spark or spark_session(settings, "sdp-status")
    tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
    tables.create_missing()
    topic = settings.kafka.topic
    admin = KafkaAdmin(settings.kafka)
    return Status(topic, lambda: admin.watermarks(topic), tables, Elastic(spark, settings.elasticsearch))


def spark_session(settings: Settings, app: str) -> SparkSession:
    """The Spark session of this process."""
    return session(settings, app, lambda: dist.jars(settings, "spark"))


def submit_arguments(settings: Settings, **wanted: Any) -> list[str]:
    """What spark-submit must be given; ``wanted``: the fields of adapters.submission.Submission."""
    return arguments(settings, Submission(**wanted), conf(settings), lambda: dist.jars(settings, "spark"))


def prepare(settings: Settings) -> producing.Prepared:
    """Make sure that topics and schema are there."""
    registry = Registry(settings.registry)
    return producing.prepare(producing.Ports(lambda: ensure_topics(settings), registry, settings.registry.subject))


def produce(
    settings: Settings, plan: Plan, rate: float, on_progress: Callable[[producing.Progress], None] = lambda _: None
) -> producing.Produced:
    """Prepare, then send the plan's traffic; SIGTERM and Ctrl-C flush what was begun, then it returns."""
    plan = producing.with_schema(plan, prepare(settings))
    stop = threading.Event()
    with stopping_on_signals(stop):
        return producing.produce(plan, KafkaSender(settings.kafka), rate, stop, on_progress)


@contextmanager
def stopping_on_signals(stop: threading.Event, told: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Within the block SIGTERM and SIGINT set ``stop``; a Ctrl-C after that raises KeyboardInterrupt.

    ``told``: called with the signal's name, from another thread.
    """

    def request(number: int, _: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        # not here: setting takes a lock that the interrupted thread holds if it is just waiting for the event
        threading.Thread(target=_set, args=(stop, told, signal.Signals(number).name), daemon=True).start()

    before = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set(stop: threading.Event, told: Callable[[str], None], by: str) -> None:
    stop.set()
    told(by)


class _Wiring:
    """The parts that both jobs share, and what differs."""

    def __init__(self, name: str, settings: Settings, spark: SparkSession, on_step: Steps | None) -> None:
        self.name, self.settings, self.spark = name, settings, spark
        self.log = BatchLog(name)
        self.on_step = _both(self.log.step, on_step)
        self.tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
        self.ledger = Ledger(spark, self.tables, settings.metastore.database)
        self.broker = KafkaBroker(spark, settings.kafka)
        reader = LogSchema(avro.load(settings.registry.subject).text)
        self.rules = load_rules(settings.rules_path, reader.kinds)
        self.judge = Judge()
        self.files = HadoopFiles(spark)
        self.place = _place(name, settings)
        self.pinned = PinnedRules(self.files, f"{self.place}.rules")
        self.schemas = RegisteredSchemas(Registry(settings.registry), settings.registry, reader)

    def ingest(self) -> Job:
        def work(records: DataFrame, batch: Batch, accepted: Sequence[OffsetRange]) -> None:
            rules = self.pinned.of(batch, self.rules)
            balance = Balance(self.broker, rules.fingerprint, accepted)
            IngestBatch(self.schemas, rules, self.tables, self.ledger, balance, self.on_step, self.judge)(
                records, batch
            )

        return self._job(work, self.settings.ingest, (VALID, INVALID))

    def index(self) -> Job:
        store = Elastic(self.spark, self.settings.elasticsearch)

        def work(records: DataFrame, batch: Batch, accepted: Sequence[OffsetRange]) -> None:
            rules = self.pinned.of(batch, self.rules)
            balance = Balance(self.broker, rules.fingerprint, accepted)
            IndexBatch(self.schemas, rules, store, self.tables, self.ledger, balance, self.on_step, self.judge)(
                records, batch
            )

        return self._job(work, self.settings.index, (ES_INVALID,))

    def _job(
        self,
        work: Callable[[DataFrame, Batch, Sequence[OffsetRange]], None],
        timing: JobSettings,
        written: Sequence[str],
    ) -> Job:
        journal = Checkpoint(self.files, self.place)
        topic = self.settings.kafka.topic
        return Job(
            name=self.name,
            topic=topic,
            work=work,
            stream=KafkaStream(self.spark, self.settings.kafka, timing.max_offsets_per_trigger),
            journal=journal,
            ledger=self.ledger,
            tables=self.tables,
            position=Position(self.name, topic, journal, self.ledger, self.tables, self.broker, written),
            lease=_lease(self.name, self.settings, self.files),
            on_step=self.on_step,
            on_retry=self.log.retry,
            trigger_s=timing.trigger_s,
            retry_for_s=timing.retry_for_s,
        )


def _place(name: str, settings: Settings) -> str:
    """Checkpoint of the job; what belongs to it lies beside it."""
    return f"{settings.checkpoints_uri}/{name}"


def _lease(name: str, settings: Settings, files: HadoopFiles) -> Lease:
    return Lease(files, f"{_place(name, settings)}.lease", name)


def _both(first: Steps, second: Steps | None) -> Steps:
    def tell(step: str, batch: Batch) -> None:
        first(step, batch)
        if second is not None:
            second(step, batch)

    return tell
