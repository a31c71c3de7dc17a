"""What the nightly proof costs beside the jobs it checks, and beside reading everything: CPU of all processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks import elastic_lab
from benchmarks.meter import Meter, Outcome
from pipelines import bootstrap
from pipelines.flows.reconcile import Wanted
from pipelines.reconcile.hours import Window, ceil_hour, floor_hour
from pipelines.records import COORDINATES, VALID
from pipelines.settings import Settings
from stack.server import processes

AGAIN = 3
"""Runs of a comparison; the first two warm up."""

LOST_DOCUMENTS = 2
"""Beside them one row of the table is deleted: three lost records in all."""


def proof(settings: Settings) -> Outcome:
    """Both jobs over the topic, a clean reconciliation, a full join of all three sides, then three lost records.

    ``steps``: ingest, index, reconcile, anti_join, repair, each with the CPU of this process, its JVM and all servers.
    """
    spark = bootstrap.spark_session(settings, "bench")
    steps: dict[str, tuple[float, float]] = {}
    with elastic_lab.fresh_indices(settings):
        for name in (bootstrap.INGEST, bootstrap.INDEX):
            with Meter(_servers(settings)) as meter:
                bootstrap.job(name, settings, spark).run(once=True)
            steps[name] = meter.wall_s, meter.cpu_s
        rows = spark.table(f"{settings.metastore.database}.{VALID}")
        window = _window(rows)
        for _ in range(AGAIN):
            with Meter(_servers(settings)) as meter:
                run = bootstrap.reconcile(settings, spark).run(Wanted(window))
            steps["reconcile"] = meter.wall_s, meter.cpu_s
            if run.discrepant or run.records != rows.count():
                raise RuntimeError(f"{run.discrepant} of {run.records} records are said to be not the same")
        for _ in range(AGAIN - 1):
            with Meter(_servers(settings)) as meter:
                differing = _anti_join(settings, spark, rows)
            steps["anti_join"] = meter.wall_s, meter.cpu_s
            if differing:
                raise RuntimeError(f"{differing} records are not on all sides")
        _lose(settings, spark)
        with Meter(_servers(settings)) as meter:
            _find_and_repair(settings, window)
        steps["repair"] = meter.wall_s, meter.cpu_s
        if _anti_join(settings, spark, rows):
            raise RuntimeError("what was lost is not repaired")
    return Outcome(rows.count(), steps=steps, wall_s=steps["reconcile"][0], cpu_s=steps["reconcile"][1])


def _lose(settings: Settings, spark: SparkSession) -> None:
    with elastic_lab.client(settings) as es:
        found = es.search(index=f"{settings.elasticsearch.index_prefix}-*", size=LOST_DOCUMENTS)["hits"]["hits"]
        for hit in found:
            es.delete(index=hit["_index"], id=hit["_id"], refresh=True)
    table = f"{settings.metastore.database}.{VALID}"
    row = (
        spark.table(table).where(~F.col("request_id").isin([hit["_id"] for hit in found])).select(*COORDINATES).first()
    )
    assert row is not None
    spark.sql(f"DELETE FROM {table} WHERE kafka_partition = {row[1]} AND kafka_offset = {row[2]}")


def _find_and_repair(settings: Settings, window: Window) -> None:
    """As a user does it: one command, from a cold start."""
    carried = settings.home_path / f"{settings.elasticsearch.index_prefix}.json"
    carried.write_text(settings.model_dump_json(), encoding="utf-8")
    hours = ["--from", f"{window[0]:%Y-%m-%dT%H:%M}", "--to", f"{window[1]:%Y-%m-%dT%H:%M}"]
    command = [sys.executable, "-m", "pipelines.cli", "reconcile", *hours, "--repair"]
    subprocess.run(command, env={**os.environ, "SDP_SETTINGS_FILE": str(carried)}, check=True)


def _servers(settings: Settings) -> Iterator[psutil.Process]:
    running = processes(settings)
    for name in running.names():
        pid = running.pid(name)
        if pid is not None:
            yield psutil.Process(pid)


def _window(rows: DataFrame) -> Window:
    first, last = rows.agg(F.min("event_time"), F.max("event_time")).collect()[0]
    return floor_hour(first.astimezone()), ceil_hour(last.astimezone())


def _anti_join(settings: Settings, spark: SparkSession, rows: DataFrame) -> int:
    """Records that are not on all three sides, by reading coordinates and hash of every one of them."""
    kafka = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", settings.kafka.bootstrap)
        .option("subscribe", settings.kafka.topic)
        .load()
        .select(*(F.col(c).alias(f"kafka_{c}") for c in ("topic", "partition", "offset")), F.crc32("value").alias("k"))
    )
    host, _, port = settings.elasticsearch.url.rpartition("//")[2].partition(":")
    options = {"es.nodes": host, "es.port": port, "es.read.field.include": ",".join((*COORDINATES, "content_hash"))}
    documents = spark.read.format("es").options(**options).load(f"{settings.elasticsearch.index_prefix}-*")
    joined = (
        kafka.join(rows.select(*COORDINATES, F.col("content_hash").alias("t")), list(COORDINATES), "full_outer")
        .join(documents.select(*COORDINATES, F.col("content_hash").alias("e")), list(COORDINATES), "full_outer")
        .where("k IS NULL OR t IS NULL OR e IS NULL OR t <> e")
    )
    return joined.count()
