"""A sample can be drawn again, and holds what it may."""

from __future__ import annotations

from pyspark.sql import SparkSession

from pipelines.reconcile.sample import chosen


def test_a_sample_is_of_the_rows_without_repetition(spark: SparkSession) -> None:
    places = [(p, o) for p in range(4) for o in range(100)]
    rows = spark.createDataFrame([*places, (0, 0)], "kafka_partition INT, kafka_offset BIGINT")
    found = chosen(rows, 20, 1)
    assert set(found) <= set(places)
    assert len(set(found)) == len(found) == 20
    assert chosen(rows.repartition(7), 20, 1) == found, "however the rows lie"
    assert chosen(rows, 20, 2) != found
    assert len({p for p, _ in found}) == 4
    assert chosen(rows, 500, 1) == tuple(places), "all there are, a row that is there twice once"
    assert chosen(rows.limit(0), 20, 1) == ()
