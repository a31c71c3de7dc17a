"""Found, repaired though it is killed again and again, and found clean: with the real reconciliation, in one story."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from pipelines import bootstrap
from pipelines.flows.reconcile import Wanted
from pipelines.reconcile.model import Run
from pipelines.settings import ROOT
from tests.commands import sdp_here
from tests.integration.mending import Mending
from tests.world import NOW_MS, World, record

RECORDS = 12_000
HOUR_MS = 3_600_000
CHUNK = 3


def reconciled(world: World) -> Run:
    until = datetime.fromtimestamp(NOW_MS / 1000, UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return bootstrap.reconcile(world.settings, world.spark).run(Wanted((until - timedelta(hours=5), until)))


def killed(world: World, step: str, chunk: int) -> subprocess.Popen[str]:
    """A repair that ends there."""
    command = [sys.executable, "-m", "tests.integration.killable_repair", "latest", step, str(chunk), str(CHUNK)]
    return subprocess.Popen(
        [*command, *world.overrides()],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def died(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=900)
    assert process.returncode == -signal.SIGKILL, f"the step was never reached:\n{said[-3000:]}"


def test_a_few_records_among_thousands_are_named_and_repaired_whatever_is_killed(world: World) -> None:
    values = [record(timestamp=NOW_MS - n % 4 * HOUR_MS, status_code=200 + n % 7) for n in range(RECORDS)]
    world.send([world.encode(v) for v in values])
    world.run("ingest")
    world.run("index")
    before = world.valid(), world.documents()
    at = {(d["kafka_partition"], d["kafka_offset"]): d for d in before[1].values()}
    mending = Mending(world)
    mending.delete_rows([(0, 500), (5, 7)])
    for place in [(0, 500), (3, 999), (11, 0)]:
        mending.delete_document(at[place])
    mending.double_rows([(2, 44)])
    mending.alter_rows([(4, 4)], response_time_ms=1)
    mending.alter_document(at[6, 6], status_code=500)
    mending.put_document(at[7, 7]["_index"], "doubled", at[7, 7])
    mending.put_document(f"{mending.prefix}-2001.01.01", at[8, 8]["request_id"], at[8, 8])
    mending.delete_document(at[8, 8])
    wrong = {
        ("missing", "valid", 0, 500),
        ("missing", "valid", 5, 7),
        ("missing", "elasticsearch", 0, 500),
        ("missing", "elasticsearch", 3, 999),
        ("missing", "elasticsearch", 11, 0),
        ("doubled", "valid", 2, 44),
        ("differs", "valid", 4, 4),
        ("differs", "elasticsearch", 6, 6),
        ("doubled", "elasticsearch", 7, 7),
        ("misplaced", "elasticsearch", 8, 8),
    }
    assert reconciled(world).discrepant == 9
    assert mending.open() == wrong
    named = len(mending.states())  # more than records: an altered row differs in its hash as well

    first = killed(world, "rows_written", 0)
    more = [record() for _ in range(60)]
    world.send([world.encode(v) for v in more])
    world.run("ingest")  # while the repair writes to the same table
    world.run("index")
    died(first)
    died(killed(world, "documents_removed", 1))
    assert {a["repair_id"] for a in mending.audit()} != set()

    code, printed = sdp_here(
        world.spark, [*world.overrides(), f"repair.chunk={CHUNK}"], "repair", "latest", "--delete-extras", "--json"
    )
    told = json.loads(printed)
    assert (code, told["went_on"], told["closed"], told["left"]) == (0, True, named, 0), printed
    now = world.valid(), world.documents()
    added = {v["request_id"] for v in more}
    assert {p: row for p, row in now[0].items() if row["request_id"] not in added} == before[0]
    assert {i: d for i, d in now[1].items() if i not in added} == before[1]
    assert (len(now[0]), len(now[1])) == (RECORDS + 60, RECORDS + 60)
    assert mending.open() == set()
    assert {state for _, _, state in mending.states()} == {"repaired"}
    trail = [(a["repair_id"], a["kind"], a["side"], a["action"], a["kafka_partition"]) for a in mending.audit()]
    assert len(trail) == len(set(trail)) == 12
    assert {repair for repair, *_ in trail} == {told["repair_id"]}
    assert reconciled(world).discrepant == 0
    found = bootstrap.status(world.settings, world.spark)
    assert [*found.ingest().problems, *found.index().problems] == []
