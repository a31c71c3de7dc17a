"""Settings → wired flows; the only place that names adapters."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from types import FrameType
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from pipelines import interrupts
from pipelines.adapters.checkpoint import Checkpoint
from pipelines.adapters.completeness import Completeness
from pipelines.adapters.daily_indices import DailyIndices
from pipelines.adapters.dead_letters import DeadLetterTopic
from pipelines.adapters.elastic import Elastic
from pipelines.adapters.elastic_documents import ElasticDocuments
from pipelines.adapters.elastic_sums import ElasticSums
from pipelines.adapters.exposition import Exposition
from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.java_regex import java_refusal
from pipelines.adapters.kafka import KafkaAdmin, ensure_topics
from pipelines.adapters.lease import Lease, StopAsked
from pipelines.adapters.ledger import Ledger
from pipelines.adapters.pinned_rules import PinnedRules
from pipelines.adapters.producer import KafkaSender
from pipelines.adapters.reconciliations import Reconciliations
from pipelines.adapters.registry import Registry
from pipelines.adapters.replay_journal import ReplayJournal
from pipelines.adapters.retirements import Retirements
from pipelines.adapters.rule_book import RuleBook, rule_file_reader
from pipelines.adapters.rule_sets import RuleSets
from pipelines.adapters.schemas import RegisteredSchemas
from pipelines.adapters.spark import conf, session
from pipelines.adapters.spark_progress import following as following  # for cli
from pipelines.adapters.stream import KafkaBroker, KafkaStream
from pipelines.adapters.submission import Submission, arguments
from pipelines.adapters.tables import OF_JOBS, OF_MAINTENANCE, Tables
from pipelines.badrows.dissect import dissect
from pipelines.badrows.recipe import Recipe
from pipelines.badrows.recipe_file import load_recipe
from pipelines.badrows.registered import Registered
from pipelines.contracts.evolution import base_schema, shipped
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.rules import KnownSet, RuleSet
from pipelines.contracts.topic_file import declared_topics
from pipelines.errors import RegistryUnavailable, UsageError
from pipelines.flows import produce as producing
from pipelines.flows.badrows import BadRows
from pipelines.flows.balance import Balance
from pipelines.flows.index import IndexBatch
from pipelines.flows.ingest import IngestBatch
from pipelines.flows.job import Job
from pipelines.flows.ports import Steps
from pipelines.flows.position import Position
from pipelines.flows.quality import Quality
from pipelines.flows.reconcile import Reconcile
from pipelines.flows.reconcile_first import FirstLevel
from pipelines.flows.reconcile_records import Records
from pipelines.flows.reconcile_truth import Truth
from pipelines.flows.replay import Replay
from pipelines.flows.replay_chunk import JOB, ReplayChunk
from pipelines.flows.rule_trial import RulesTrial
from pipelines.flows.schema_sync import SchemaSync
from pipelines.flows.schema_trial import SchemaTrial
from pipelines.flows.status import Status
from pipelines.flows.topics import Topics
from pipelines.flows.trouble import Patience
from pipelines.ingest.judge import Judge
from pipelines.ingest.route import Router
from pipelines.monitoring.logs import BatchLog
from pipelines.monitoring.metrics import JobMetrics
from pipelines.monitoring.reconciliation import ReconciliationMetrics
from pipelines.quality.expectation import load_expectations
from pipelines.reconcile.model import Run, Verdict
from pipelines.records import ES_INVALID, INVALID, VALID, Batch, LedgerEntry, OffsetRange
from pipelines.settings import ROOT, JobSettings, Settings
from pipelines.traffic.generate import Plan
from stack import dist

INGEST, INDEX, RECONCILE = "ingest", "index", "reconcile"


def job(name: str, settings: Settings, spark: SparkSession | None = None, on_step: Steps | None = None) -> Job:
    """Wire the job ``ingest`` or ``index``. ``on_step`` is told every step beside the log."""
    spark = spark or spark_session(settings, f"sdp-{name}")
    wiring = Wiring(name, settings, spark, on_step)
    return wiring.ingest() if name == INGEST else wiring.index()


def ask_to_stop(name: str, settings: Settings, spark: SparkSession | None = None) -> StopAsked:
    """Ask the job to stop after its running batch, wherever it runs, through its checkpoint's file system."""
    spark = spark or brief_session(settings, "sdp-stop")
    return lease_of(name, settings, HadoopFiles(spark)).ask_to_stop()


def status(settings: Settings, spark: SparkSession | None = None) -> Status:
    """Wire the state of both jobs."""
    spark = spark or spark_session(settings, "sdp-status")
    tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
    tables.create_missing((*OF_JOBS, *OF_MAINTENANCE))
    topic = settings.kafka.topic
    admin, store = KafkaAdmin(settings.kafka), Elastic(spark, settings.elasticsearch)
    log = Retirements(spark, tables, settings.metastore.database, DailyIndices(settings.elasticsearch).names)
    watermark = Completeness(spark, settings.metastore.database)
    return Status(
        topic,
        lambda: admin.watermarks(topic),
        tables,
        store,
        retired=lambda name: log.retired(name, topic),
        complete_until=watermark.until,
    )


def reconcile(
    settings: Settings,
    spark: SparkSession | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Reconcile:
    """Wire the comparison of Kafka, tables and indices. ``stop`` ends its waiting for servers that are away."""
    spark = spark or spark_session(settings, f"sdp-{RECONCILE}")
    parts = Wiring(RECONCILE, settings, spark, None)
    few = _for_few_rows(spark)
    tables = Tables(few, settings.metastore.database, settings.warehouse_uri)
    topic, wanted, prefix = settings.kafka.topic, settings.reconcile, settings.elasticsearch.index_prefix
    sums = ElasticSums(settings.elasticsearch)
    retired = Retirements(few, tables, settings.metastore.database, DailyIndices(settings.elasticsearch).names)
    truth = Truth(topic, parts.schemas, lambda: parts.rules, parts.broker, prefix, parts.judge, parts.route)
    records = Records(
        topic=topic,
        tables=parts.tables,
        sums=sums,
        reader=ElasticDocuments(spark, settings.elasticsearch),
        schemas=parts.schemas,
        truth=truth,
        personal=lambda: frozenset(parts.rules.personal),
        block_offsets=wanted.block_offsets,
    )
    where = f"{settings.metastore.database}, topic {topic}"
    return Reconcile(
        topic=topic,
        first=FirstLevel(topic, tables, sums, KafkaAdmin(settings.kafka), lambda *days: retired.gone(topic, *days)),
        records=records,
        history=reconciliations(settings, few),
        patience=lambda: Patience(where, wanted.retry_for_s, parts.log.retry, stop or threading.Event()),
        publish=_publisher(settings, parts),
        grace=timedelta(minutes=wanted.grace_minutes),
        investigate=wanted.investigate_share,
        escalate=wanted.escalate_share,
        on_step=on_step,
    )


def reconciliations(settings: Settings, spark: SparkSession | None = None) -> Reconciliations:
    """Runs and findings that are kept."""
    spark = spark or spark_session(settings, f"sdp-{RECONCILE}")
    tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
    return Reconciliations(spark, tables, settings.metastore.database, settings.kafka.topic)


def _for_few_rows(spark: SparkSession) -> SparkSession:
    """A session for queries that end in few rows: adaptive execution would run each of their stages as a job."""
    plain = spark.newSession()
    plain.conf.set("spark.sql.adaptive.enabled", "false")
    plain.conf.set("spark.sql.shuffle.partitions", str(min(8, spark.sparkContext.defaultParallelism)))
    return plain


def completeness(settings: Settings, spark: SparkSession | None = None) -> Completeness:
    """The completeness watermark."""
    spark = spark or brief_session(settings, "sdp-complete")
    tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
    tables.create_missing()
    return Completeness(spark, settings.metastore.database)


def _publisher(settings: Settings, parts: Wiring) -> Callable[[Run, bool], None]:
    """Where a run that is over shows: the table's property, and metrics. A gateway that is away stops nobody."""
    metrics, watermark = ReconciliationMetrics(), Completeness(parts.spark, settings.metastore.database)

    def publish(run: Run, has_moved: bool) -> None:
        if has_moved:
            watermark.set(run.complete_until)
        with Exposition(RECONCILE, metrics.registry, settings.monitoring, parts.log.push_failed)(once=True):
            metrics.show(
                list(Verdict).index(run.verdict or Verdict.OK),
                run.records,
                run.discrepant,
                run.lost,
                time.time(),
                run.complete_until.timestamp() if run.complete_until else 0.0,
            )

    return publish


def topics(settings: Settings) -> Topics:
    """Wire the declared topics and their cluster."""
    return Topics(declared_topics(settings.kafka), KafkaAdmin(settings.kafka).topics)


def schema_sync(settings: Settings) -> SchemaSync:
    """Wire the files under ``schemas/`` and their registry."""
    return SchemaSync(ROOT / "schemas", Registry(settings.registry))


def schema_trial(settings: Settings, spark: SparkSession | None = None) -> SchemaTrial:
    """Wire the trial of a proposed schema; Spark starts when records are read."""
    base = base_schema(settings.registry.subject)
    return SchemaTrial(
        subject=settings.registry.subject,
        topic=settings.kafka.topic,
        base=base,
        rules=load_rules(settings.rules_path, base.kinds, settings.registry.subject),
        versions=Registry(settings.registry),
        records=lambda: KafkaBroker(spark or spark_session(settings, "sdp-schemas-test"), settings.kafka),
        registry_url=settings.registry.url,
    )


def rules_trial(settings: Settings, spark: SparkSession) -> RulesTrial:
    """Wire the trial of a proposed rule set."""
    spark = plain(spark)
    tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
    tables.create_missing()
    topic = settings.kafka.topic
    return RulesTrial(topic, tables, lambda: RuleSets(spark, tables).newest(topic))


def quality(settings: Settings, pages: Path, spark: SparkSession | None = None) -> Quality:
    """Wire the check of one day's rows. ``pages``: folder of the Data Docs. Raises InvalidExpectations."""
    expectations = load_expectations(ROOT / settings.quality.file)
    try:
        from pipelines.adapters.great_expectations import GreatExpectations  # takes seconds, and no other job needs it
    except ModuleNotFoundError as error:
        raise UsageError(
            f"this Python has no {error.name}: run `make install`, which brings Great Expectations"
        ) from error
    spark = plain(spark or spark_session(settings, "sdp-quality"))
    tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
    tables.create_missing()
    return Quality(settings.kafka.topic, expectations, settings.quality, tables, GreatExpectations(pages))


def known_rule_sets(settings: Settings, spark: SparkSession | None = None) -> list[KnownSet]:
    """Every rule set that has judged a batch, in the order of first use."""
    spark = spark or brief_session(settings, "sdp-rules")
    tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
    tables.create_missing()
    return RuleSets(spark, tables).all()


def bad_rows(settings: Settings, spark: SparkSession | None = None) -> BadRows:
    """Wire the view of bad rows."""
    spark = spark or spark_session(settings, "sdp-badrows")
    parts = Wiring("badrows", settings, spark, None)
    parts.tables.create_missing()
    registry = Registry(settings.registry)
    texts = partial(registry.snapshot, settings.registry.subject)
    return BadRows(settings.kafka.topic, parts.schemas, parts.rules, parts.tables, texts)


@dataclass(frozen=True)
class ReplayKit:
    """A wired replay and its recipe."""

    flow: Replay
    recipe: Recipe
    registered: Callable[[], Registered]
    personal: frozenset[str]

    def fields(self, value: bytes | None) -> dict[str, str]:
        """Field → text of a value, personal ones masked; those before the first byte that can't be read."""
        return dissect(value, self._texts, self.personal).fields()

    @cached_property
    def _texts(self) -> Mapping[int, str]:
        """As of the first look."""
        return self.registered().texts


def replay(
    settings: Settings, recipe: Path, spark: SparkSession | None = None, on_step: Steps = lambda *_: None
) -> ReplayKit:
    """Wire the replay of bad rows by the recipe in this file. Raises InvalidRecipe before Spark starts."""
    subject = settings.registry.subject
    registry = Registry(settings.registry)

    def registered() -> Registered:
        found = registry.versions(subject)
        if not found:
            raise RegistryUnavailable.without(subject, settings.registry.url)
        return Registered({v: i for v, (i, _) in found.items()}, dict(found.values()))

    # a recipe works on records as their versions name the fields, not on columns
    names = {field.name for version in shipped(subject).values() for field in version.fields}
    wanted = load_recipe(recipe, names, lambda: registered().names)
    spark = spark or spark_session(settings, f"sdp-{JOB}")
    parts = Wiring(JOB, settings, spark, None)
    parts.tables.create_missing()
    chunk = ReplayChunk(
        topic=settings.kafka.topic,
        schemas=parts.schemas,
        registered=registered,
        tables=parts.tables,
        store=Elastic(spark, settings.elasticsearch),
        on_step=on_step,
        keep_rules=parts.rule_sets.keep,
    )
    flow = Replay(
        topic=settings.kafka.topic,
        schemas=parts.schemas,
        registered=registered,
        rules=parts.rules,
        tables=parts.tables,
        ledger=parts.ledger,
        journal=ReplayJournal(parts.files, f"{parts.place}.pending"),
        lease=lease_of(JOB, settings, parts.files),
        chunk=chunk,
    )
    return ReplayKit(flow, wanted, registered, frozenset(parts.rules.personal))


def plain(spark: SparkSession) -> SparkSession:
    """A session beside it without adaptive execution, which would run each stage as a job of its own."""
    beside = spark.newSession()
    beside.conf.set("spark.sql.adaptive.enabled", "false")
    return beside


def spark_session(settings: Settings, app: str) -> SparkSession:
    """The Spark session of this process."""
    return session(settings, app, lambda: dist.jars(settings, "spark"))


def brief_session(settings: Settings, app: str) -> SparkSession:
    """A session for a look at a few rows or a file: one thread of this process, not a cluster.

    Its JVM compiles quickly instead of well: of a command that ends after some seconds it spares 40 % of the CPU.
    """
    quick = {"spark.driver.defaultJavaOptions": "-XX:TieredStopAtLevel=1"} | settings.spark.conf
    here = settings.spark.model_copy(update={"master": "local[1]", "conf": quick})
    return spark_session(settings.model_copy(update={"spark": here}), app)


def submit_arguments(settings: Settings, **wanted: Any) -> list[str]:
    """What spark-submit must be given; ``wanted``: the fields of adapters.submission.Submission."""
    return arguments(settings, Submission(**wanted), conf(settings), lambda: dist.jars(settings, "spark"))


def prepare(settings: Settings) -> producing.Prepared:
    """Make sure that topics and schema are there."""
    registry = Registry(settings.registry)
    return producing.prepare(producing.Ports(lambda: ensure_topics(settings), registry, settings.registry.subject))


def produce(
    settings: Settings,
    plan: Plan,
    rate: float,
    on_progress: Callable[[producing.Progress], None] = lambda _: None,
    on_prepared: Callable[[producing.Prepared], None] = lambda _: None,
) -> producing.Produced:
    """Prepare, then send the plan's traffic; SIGTERM and Ctrl-C flush what was begun, then it returns."""
    prepared = prepare(settings)
    on_prepared(prepared)
    plan = producing.with_schema(plan, prepared)
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
        with interrupts.not_noted():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set(stop: threading.Event, told: Callable[[str], None], by: str) -> None:
    stop.set()
    told(by)


class Wiring:
    """The parts that both jobs share, and what differs."""

    def __init__(self, name: str, settings: Settings, spark: SparkSession, on_step: Steps | None) -> None:
        self.name, self.settings, self.spark = name, settings, spark
        self.log = BatchLog(name)
        self.metrics = JobMetrics(name)
        self.on_step = _all(self.log.step, self.metrics.step, *([on_step] if on_step else []))
        self.tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
        self.ledger = Ledger(spark, self.tables, settings.metastore.database)
        self.broker = KafkaBroker(spark, settings.kafka)
        base = base_schema(settings.registry.subject)
        self.judge, self.route = Judge(), Router()
        self.files = HadoopFiles(spark)
        self.place = _place(name, settings)
        rule_file = settings.rules_uri
        subject, refusal = settings.registry.subject, java_refusal(spark)
        read_rules = rule_file_reader(self.files, rule_file)
        self.book = RuleBook(read_rules, rule_file, subject, lambda: base.kinds, refusal, self.log)
        self.pinned = PinnedRules(self.files, f"{self.place}.rules", refusal)
        self.rule_sets = RuleSets(spark, self.tables)
        self.schemas = RegisteredSchemas(Registry(settings.registry), settings.registry, base)

    def ingest(self) -> Job:
        dead_letters = DeadLetterTopic(self.settings.kafka)

        def story(rules: RuleSet, balance: Balance) -> IngestBatch:
            return IngestBatch(
                self.schemas,
                rules,
                self.tables,
                dead_letters,
                self.ledger,
                balance,
                self.on_step,
                self._tell_outcome,
                self.judge,
                self.route,
            )

        return self._job(story, self.settings.ingest, (VALID, INVALID))

    def index(self) -> Job:
        store = Elastic(self.spark, self.settings.elasticsearch)

        def story(rules: RuleSet, balance: Balance) -> IndexBatch:
            return IndexBatch(
                self.schemas,
                rules,
                store,
                self.tables,
                self.ledger,
                balance,
                self.on_step,
                self._tell_outcome,
                self.judge,
                self.route,
            )

        return self._job(story, self.settings.index, (ES_INVALID,))

    @property
    def rules(self) -> RuleSet:
        """Those of a batch that begins now."""
        return self.book.current()

    def _rules_of(self, batch: Batch) -> RuleSet:
        """Those of the batch's first try, or of now; from here on ``sdp.rule_sets`` knows them."""
        rules = self.pinned.of(batch, self.rules)
        self.rule_sets.keep(rules, batch)
        return rules

    def _tell_outcome(self, batch: Batch, entries: Sequence[LedgerEntry], reasons: Mapping[str, int]) -> None:
        if reasons:
            self.log.refused(batch, reasons)
        self.metrics.outcome(batch, entries, reasons)

    def _job(
        self,
        story: Callable[[RuleSet, Balance], Callable[[DataFrame, Batch], None]],
        timing: JobSettings,
        written: Sequence[str],
    ) -> Job:
        def work(records: DataFrame, batch: Batch, accepted: Sequence[OffsetRange]) -> None:
            rules = self._rules_of(batch)
            story(rules, Balance(self.broker, rules.fingerprint, accepted))(records, batch)

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
            lease=lease_of(self.name, self.settings, self.files),
            on_step=self.on_step,
            on_retry=self.log.retry,
            trigger_s=timing.trigger_s,
            retry_for_s=timing.retry_for_s,
            shown=Exposition(self.name, self.metrics.registry, self.settings.monitoring, self.log.push_failed),
        )


def _place(name: str, settings: Settings) -> str:
    """Checkpoint of the job; what belongs to it lies beside it."""
    return f"{settings.checkpoints_uri}/{name}"


def lease_of(name: str, settings: Settings, files: HadoopFiles) -> Lease:
    """Keeps a second copy of what is named so out."""
    return Lease(files, f"{_place(name, settings)}.lease", name)


def _all(*told: Steps) -> Steps:
    def tell(step: str, batch: Batch) -> None:
        for one in told:
            one(step, batch)

    return tell
