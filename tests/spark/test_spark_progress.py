"""Progress of a Spark job, told while it runs."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.adapters.spark_progress import following


def test_tasks_are_told_while_the_job_runs_and_not_after(spark: SparkSession, tmp_path: Path) -> None:
    """The job's only task ends when somebody has heard of it."""
    gate, heard = tmp_path / "heard", []

    def told(done: int, of: int) -> None:
        heard.append((done, of))
        gate.touch()

    def wait(path: str) -> None:
        import time
        from pathlib import Path

        while not Path(path).exists():
            time.sleep(0.01)

    with following(spark, told):
        spark.sparkContext.parallelize([str(gate)], 1).foreach(wait)
    assert heard[0] == (0, 1)
    told_within = len(heard)
    spark.range(1).count()
    assert len(heard) == told_within
