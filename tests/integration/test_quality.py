"""`sdp quality` on tables that a real job wrote: a good day passes, and what somebody spoils afterwards is found."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipelines import bootstrap
from pipelines.quality.result import State
from tests.world import NOW_MS, World, record


def test_a_day_that_the_job_wrote_passes_until_somebody_spoils_it(world: World, tmp_path: Path) -> None:
    day = datetime.fromtimestamp((NOW_MS - 1_000) / 1000, UTC).date()
    world.send([world.encode(record()) for _ in range(40)] + [world.encode(record(status_code=99))])
    world.run("ingest")
    check = bootstrap.quality(world.settings, tmp_path / "docs", world.spark)
    clean = check(day)
    assert (clean.rows, clean.refused, clean.failed) == (40, 1, ())
    assert all(one.state is not State.FAILED for one in clean.checked)

    table = f"{world.settings.metastore.database}.api6_logs_valid"
    world.spark.sql(f"UPDATE {table} SET http_method = 'FETCH' WHERE kafka_partition = 0")
    world.spark.sql(f"INSERT INTO {table} SELECT * FROM {table} WHERE kafka_partition = 1 LIMIT 1")
    rows = world.spark.table(table).where("kafka_partition = 0").count()
    spoilt = check(day)
    assert {one.expectation.id: one.found.partition(" are ")[0] for one in spoilt.failed} == {
        "http_method_known": f"{rows} of 41 rows",
        "request_id_unique": "1 of 1 request ids",
    }
    assert clean.pages == spoilt.pages
    assert spoilt.pages.read_text(encoding="utf-8").count(f"<tr><td>{day}</td>") >= 2 * 3
