"""The Spark side: the shared decode-and-validate path alone, and both jobs whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks import elastic_lab
from benchmarks.meter import Meter, Outcome
from pipelines import bootstrap
from pipelines.adapters.registry import Registry
from pipelines.adapters.schemas import RegisteredSchemas
from pipelines.adapters.stream import KafkaStream
from pipelines.contracts.evolution import base_schema
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import SchemaSet
from pipelines.ingest.decode import decode
from pipelines.ingest.judge import KAFKA_NAMES, judge
from pipelines.records import LEDGER, Batch
from pipelines.settings import Settings

Transform = Callable[[DataFrame], DataFrame]

RULES = 20
_VALID: dict[str, int] = {}


def kafka(settings: Settings) -> Outcome:
    """The source alone: every column of it, with the job's source options, to nowhere."""
    return _to_nowhere(settings, lambda: lambda frame: frame)


def plain_kafka(settings: Settings) -> Outcome:
    """The source alone with the options that Spark and the Kafka client have by themselves."""
    spark = bootstrap.spark_session(settings, "bench")
    meter, counted = Meter(), Outcome()

    def handle(records: DataFrame, _batch_id: int) -> None:
        with meter:
            records.write.format("noop").mode("overwrite").save()
        counted.wall_s, counted.cpu_s, counted.peak_mib = meter.wall_s, meter.cpu_s, meter.peak_mib
        counted.batches += 1

    reader = spark.readStream.format("kafka").option("kafka.bootstrap.servers", settings.kafka.bootstrap)
    reader = reader.option("subscribe", settings.kafka.topic).option("includeHeaders", "true")
    writer = reader.option("startingOffsets", "earliest").load().writeStream.foreachBatch(handle)
    query = writer.option("checkpointLocation", f"{settings.checkpoints_uri}/plain").trigger(availableNow=True).start()
    query.awaitTermination()
    counted.records = sum(p["numInputRows"] for p in query.recentProgress)
    return counted


def decoded(settings: Settings) -> Outcome:
    """Decoded, but no rule evaluated."""

    def make() -> Transform:
        names = [F.col(theirs).alias(ours) for theirs, ours in KAFKA_NAMES.items()]
        decoded = decode(_schemas(settings))
        return lambda frame: frame.select(*names, "key", "value", "headers").transform(decoded)

    return _to_nowhere(settings, make)


def judged(settings: Settings) -> Outcome:
    """Decoded and validated: every column that ``judge`` promises, content hash included."""
    rules = load_rules(settings.rules_path, base_schema(settings.registry.subject).kinds)
    outcome = _to_nowhere(settings, lambda: judge(_schemas(settings), rules))
    outcome.valid = _valid(settings, rules)
    outcome.invalid = outcome.records - outcome.valid
    return outcome


def judged_by_twenty(settings: Settings) -> Outcome:
    """Decoded and validated by twenty rules: those that ship, and as many of them again under other names."""
    kinds = base_schema(settings.registry.subject).kinds
    ours = load_rules(settings.rules_path, kinds).rules
    again = (rule.model_copy(update={"id": f"{rule.id}_again"}) for rule in ours)
    twenty = RuleSet(subject="bench", rules=tuple(islice(chain(ours, again), RULES)))
    return _to_nowhere(settings, lambda: judge(_schemas(settings), twenty))


def judged_by_none(settings: Settings) -> Outcome:
    """The same without any rule: decoded, hashed, and checked for being UTF-8."""
    return _to_nowhere(settings, lambda: judge(_schemas(settings), RuleSet(subject="bench", rules=())))


def rules_test(settings: Settings) -> Outcome:
    """``sdp rules test`` over a table that holds the whole topic; only the trial is on the clock."""
    spark = bootstrap.spark_session(settings, "bench")
    done = _whole_job("ingest", settings, forget=False)
    rules = load_rules(settings.rules_path, base_schema(settings.registry.subject).kinds)
    long_ago, now = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC)
    with Meter() as meter:
        verdict = bootstrap.rules_trial(settings, spark)(rules, long_ago, now, 3)
    _forget(spark)
    return meter.outcome(done.records, valid=verdict.trial.rows, invalid=done.invalid)


def _valid(settings: Settings, rules: RuleSet) -> int:
    """Rows that the judge lets pass, counted once per topic and off the clock: fast but wrong would not be fast."""
    topic = settings.kafka.topic
    if topic not in _VALID:
        spark = bootstrap.spark_session(settings, "bench")
        _VALID[topic] = 0

        def handle(records: DataFrame, _batch_id: int) -> None:
            # no filter: it would be pushed below the borders of the generated code, which no compiler takes then
            _VALID[topic] += judge(_schemas(settings), rules)(records).agg(F.count_if("is_valid")).collect()[0][0]

        stream = KafkaStream(spark, settings.kafka, settings.ingest.max_offsets_per_trigger)
        stream.start(f"{settings.checkpoints_uri}/valid", handle).awaitTermination()
    return _VALID[topic]


def ingest(settings: Settings) -> Outcome:
    """The whole job, from a fresh checkpoint to the end of the topic."""
    return _whole_job("ingest", settings)


def index(settings: Settings) -> Outcome:
    """The whole job, into fresh indices."""
    with elastic_lab.fresh_indices(settings):
        return _whole_job("index", settings)


def _to_nowhere(settings: Settings, make: Callable[[], Transform]) -> Outcome:
    """Read the topic as the jobs do and discard the result; only the batch itself is on the clock."""
    spark = bootstrap.spark_session(settings, "bench")
    transform, meter, counted = make(), Meter(), Outcome()

    def handle(records: DataFrame, _batch_id: int) -> None:
        with meter:
            transform(records).write.format("noop").mode("overwrite").save()
        counted.wall_s += meter.wall_s
        counted.cpu_s += meter.cpu_s
        counted.peak_mib = max(counted.peak_mib, meter.peak_mib)
        counted.batches += 1

    stream = KafkaStream(spark, settings.kafka, settings.ingest.max_offsets_per_trigger)
    query = stream.start(f"{settings.checkpoints_uri}/noop", handle)
    query.awaitTermination()
    counted.records = sum(p["numInputRows"] for p in query.recentProgress)
    return counted


def _whole_job(name: str, settings: Settings, *, forget: bool = True) -> Outcome:
    spark = bootstrap.spark_session(settings, "bench")
    meter = Meter()
    steps: list[str] = []

    def on_step(step: str, batch: Batch) -> None:  # noqa: ARG001 the port has it
        # What lies between "done" and the next "started" is Spark's own: offsets, checkpoint, commit.
        meter.step("between_batches" if step == "started" else step)
        steps.append(step)

    job = bootstrap.job(name, settings, spark, on_step)
    job.tables.create_missing()  # tables are made once in the life of a job
    with meter:
        job.run(once=True)
        meter.step("after_last_batch")
    ledger = spark.table(f"{settings.metastore.database}.{LEDGER}").where(F.col("query") == name)
    valid, invalid = ledger.agg(F.sum("valid"), F.sum("invalid")).first() or (0, 0)
    if forget:
        _forget(spark)
    return meter.outcome(valid + invalid, valid=valid, invalid=invalid, batches=steps.count("started"))


def _forget(spark: SparkSession) -> None:
    """Each run has tables of its own; Delta would keep the state of each in memory for an hour."""
    jvm: Any = spark._jvm
    jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


def _schemas(settings: Settings) -> SchemaSet:
    base = base_schema(settings.registry.subject)
    return RegisteredSchemas(Registry(settings.registry), settings.registry, base).current()
