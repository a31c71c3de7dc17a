"""Start or join the Spark session of a job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from pipelines.errors import UsageError
from pipelines.settings import ROOT, Settings, under_spark_submit

AVRO_STRING_LIMIT_BYTES = 16 * 1024 * 1024
"""A record may claim a string of 2 GB in five bytes; Avro would allocate it. No Kafka message is near this limit."""

_JAVA_OPTIONS = " ".join(
    [
        f"-Dorg.apache.avro.limits.string.maxLength={AVRO_STRING_LIMIT_BYTES}",
        f"-Dorg.apache.avro.limits.bytes.maxLength={AVRO_STRING_LIMIT_BYTES}",
        "-XX:+UseParallelGC",
        "-Duser.timezone=UTC",
    ]
)

_QUIET_LOGS = f"-Dlog4j2.configurationFile={(ROOT / 'conf' / 'log4j2.properties').resolve().as_uri()}"

REQUIRED_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.catalogImplementation": "hive",
    "spark.sql.session.timeZone": "UTC",
    "spark.driver.extraJavaOptions": _JAVA_OPTIONS,
    "spark.executor.extraJavaOptions": _JAVA_OPTIONS,
}
"""What correctness rests on; ``spark-submit.sh`` passes the same."""

TUNING_CONF = {
    # The JVM never compiles a method of more than 8,000 bytes of bytecode, and one for all our rules is larger: as an
    # interpreted whole it takes twice the time of the smaller pieces that Spark makes below this limit.
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # A batch runs about 60 pieces of generated code. The default of 100, split over four segments, throws some of them
    # away before the next batch comes, which then compiles them anew, by Janino and by the JVM.
    "spark.sql.codegen.cache.maxEntries": "2000",
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    # Every drain is a query of its own, whose consumers and last fetched records nobody asks for again.
    "spark.kafka.consumer.cache.timeout": "30s",
    "spark.kafka.consumer.cache.evictorThreadRunInterval": "10s",
    "spark.kafka.consumer.fetchedData.cache.timeout": "30s",
    "spark.kafka.consumer.fetchedData.cache.evictorThreadRunInterval": "10s",
    "spark.sql.maxConcurrentOutputFileWriters": "24",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.streaming.metricsEnabled": "false",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.ui.showConsoleProgress": "false",
    "spark.ui.enabled": "false",
    # Without a UI nobody looks at them, yet each of thousands of batches would leave its plans in the heap.
    "spark.sql.ui.retainedExecutions": "20",
    "spark.ui.retainedJobs": "50",
    "spark.ui.retainedStages": "50",
    "spark.ui.retainedTasks": "1000",
}
"""What speed rests on; see docs/performance.md. ``spark.conf`` of the settings wins."""


def session(settings: Settings, app: str, jars: Callable[[], Sequence[Path]]) -> SparkSession:
    """The one Spark session of this process, with Delta and the Hive metastore.

    ``jars``: where our jars are, asked only if ``spark-submit`` did not bring them. Options given to ``spark-submit``
    win over ours. Raises UsageError if it was called without what a running driver can't change any more.
    """
    builder = SparkSession.builder.appName(app)
    submitted = _submitted() if under_spark_submit() else {}
    if submitted.get("spark.master", settings.spark.master).startswith("local"):
        workers_like_us()
    for key, value in conf(settings).items():
        if key not in submitted:
            builder = builder.config(key, value)
    if not under_spark_submit():
        builder = builder.master(settings.spark.master).config("spark.driver.memory", settings.spark.driver_memory)
        builder = builder.config("spark.jars", ",".join(map(str, jars())))
        builder = builder.config("spark.driver.extraJavaOptions", f"{_JAVA_OPTIONS} {_QUIET_LOGS}")
    return builder.getOrCreate()


def workers_like_us() -> None:
    """Python workers on this machine are what this process is; `PYSPARK_PYTHON` names another one.

    Spark by itself takes the first `python3` of the path, which has none of our packages unless a venv is active.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)


def _submitted() -> dict[str, str]:
    """What ``spark-submit`` was given."""
    SparkContext._ensure_initialized()  # connects to its JVM, without which SparkConf sees none of it
    given = dict(SparkConf().getAll())
    for key, ours in REQUIRED_CONF.items():
        there = given.get(key, "").split()
        if missing := [part for part in ours.split() if part not in there and not part.startswith("-XX:")]:
            raise UsageError(
                f"spark-submit was called without {' '.join(missing)} in {key}: use ./spark-submit.sh, which passes "
                f"it; Java options of your own go into {key.replace('extra', 'default')}"
                if key.endswith("JavaOptions")
                else f"spark-submit was called without {key}={ours}: use ./spark-submit.sh, which passes it"
            )
    return given


def conf(settings: Settings) -> dict[str, str]:
    """Every Spark option that does not depend on where the job runs."""
    return {
        **TUNING_CONF,
        **settings.spark.conf,
        **REQUIRED_CONF,
        "spark.hadoop.hive.metastore.uris": settings.metastore.uri,
        "spark.sql.warehouse.dir": settings.warehouse_uri,
    }
