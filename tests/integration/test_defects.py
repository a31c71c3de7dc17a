"""Conservation with each defect alone: from a topic without it to one that holds nothing else (law 2)."""

from __future__ import annotations

from collections import Counter
from threading import Event

import pytest

from pipelines.adapters.producer import KafkaSender
from pipelines.flows import produce as producing
from pipelines.records import INVALID, VALID
from pipelines.traffic.defects import Defect, Outcome
from pipelines.traffic.generate import Plan, generate
from pipelines.traffic.mix import MILLION
from tests.world import NOW_MS, World

RECORDS = 120
MINUTE_MS = 60_000
NEEDS_OTHERS = {d for d in Defect if d.outcome is Outcome.DUPLICATE}
"""A duplicate repeats a sound record, so some of those must be there."""
SHARES = (0, MILLION // 2, MILLION)


def sent(world: World, defect: Defect, share_ppm: int, seed: int) -> tuple[int, int]:
    """Send RECORDS with that share of the defect; how many of them must be valid and invalid."""
    if share_ppm == MILLION and defect not in NEEDS_OTHERS:
        world.send(alone(world, defect, seed))
        return (0, RECORDS) if defect.outcome is Outcome.INVALID else (RECORDS, 0)
    mix = {defect: min(share_ppm, MILLION * 9 // 10)} if share_ppm else {}
    plan = Plan(RECORDS, seed, mix, MINUTE_MS, NOW_MS, schema_id=world.schema_id)
    done = producing.produce(plan, KafkaSender(world.settings.kafka), 0, Event())
    assert not done.failures
    return done.expected.valid, done.expected.invalid


def alone(world: World, defect: Defect, seed: int) -> list[bytes | None]:
    """RECORDS values that all have the defect: those of a plan in which every other record has it."""
    plan = Plan(2 * RECORDS, seed, {defect: MILLION // 2}, MINUTE_MS, NOW_MS, schema_id=world.schema_id)
    values = [message.value for message in generate(plan) if message.defect is defect]
    assert len(values) == RECORDS
    return values


@pytest.mark.parametrize("share_ppm", SHARES, ids=["none", "half", "all"])
def test_every_defect_at_this_share_is_conserved(world: World, share_ppm: int) -> None:
    defects = [d for d in Defect if d is not Defect.HUGE_VALUE]  # 1 MB each
    defects = defects if share_ppm else defects[:1]  # without any defect they are all the same
    expected = Counter[str]()
    for seed, defect in enumerate(defects):
        valid, invalid = sent(world, defect, share_ppm, seed)
        expected.update(valid=valid, invalid=invalid)
    # batches of about one defect each, so that some hold nothing valid and some nothing invalid
    world.run("ingest", settings=world.with_settings(ingest={"max_offsets_per_trigger": 4 * RECORDS}))
    ledger = [row for rows in world.ledger("ingest").values() for row in rows]
    assert all(until - start == valid + invalid + gaps + lost for start, until, valid, invalid, gaps, lost in ledger)
    assert sum(row[1] - row[0] for row in ledger) == RECORDS * len(defects)
    assert (sum(row[2] for row in ledger), sum(row[3] for row in ledger)) == (expected["valid"], expected["invalid"])
    assert (world.table(VALID).count(), world.table(INVALID).count()) == (expected["valid"], expected["invalid"])
