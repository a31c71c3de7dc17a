"""How large a chunk is, what a report counts, and that a plan survives the journal."""

from __future__ import annotations

import json

import pytest

from pipelines.badrows.plan import Plan
from pipelines.badrows.recipe import Recipe
from pipelines.contracts.rule_file import load_rules
from pipelines.flows.replay_report import Pace, Report
from pipelines.records import LOG_FIELDS
from pipelines.settings import ROOT

KINDS = dict.fromkeys(LOG_FIELDS, "text") | dict.fromkeys(
    ("timestamp", "status_code", "response_time_ms", "payload_size"), "number"
)
RULES = load_rules(ROOT / "conf" / "rules" / "api6-logs.yaml", KINDS)
STEPS = [{"map": {"field": "status_code", "values": {0: 200}}}, {"encode": {"schema": 1}}]
RECIPE = Recipe.model_validate({"name": "r", "where": {"codes": ["c"]}, "steps": STEPS})
PLAN = Plan("id", "logs", RECIPE, "ana", True, RULES, version=3)


@pytest.mark.parametrize(
    ("pace", "chunk", "rows"),
    [
        (Pace(), 0, 100),
        (Pace(), 1, 10_000),
        (Pace(canary=0), 0, 10_000),
        (Pace(canary=500, chunk_rows=50), 0, 50),
        (Pace(rate=20), 1, 200),
        (Pace(rate=20, canary=500), 0, 200),
        (Pace(rate=0.01), 1, 1),
        (Pace(rate=1e9), 1, 10_000),
    ],
)
def test_a_chunk_is_never_larger_than_asked_for(pace: Pace, chunk: int, rows: int) -> None:
    assert pace.rows(chunk) == rows


def test_a_plan_survives_the_journal() -> None:
    begun = PLAN.begun(77)
    again = Plan.from_json(json.loads(json.dumps(begun.as_json())))
    assert again == begun
    assert again.recipe.fingerprint == RECIPE.fingerprint
    assert again.rules.fingerprint == RULES.fingerprint


def test_the_next_chunk_begins_behind_the_last() -> None:
    done = PLAN.begun(77).done()
    assert (done.chunk, done.after, done.upto) == (1, 77, None)


def test_a_replay_goes_on_under_its_own_id_by_what_holds_today() -> None:
    today = Plan("other", "logs", RECIPE, "ben", True, RULES, version=4)
    assert PLAN.is_same_command(today)
    now = PLAN.begun(77).done().under(today)
    assert (now.replay_id, now.chunk, now.after) == ("id", 1, 77)
    assert (now.who, now.version) == ("ben", 4)


def test_another_recipe_or_another_end_of_the_failures_is_another_command() -> None:
    renamed = Recipe.model_validate({"name": "s", "where": {"codes": ["c"]}, "steps": STEPS})
    assert not PLAN.is_same_command(Plan("id", "logs", renamed, "ana", True, RULES, 3))
    assert not PLAN.is_same_command(Plan("id", "logs", RECIPE, "ana", False, RULES, 3))
    assert not PLAN.is_same_command(Plan("id", "others", RECIPE, "ana", True, RULES, 3))


def test_only_a_chunk_of_another_command_must_end_first() -> None:
    another = Plan("id", "logs", RECIPE, "ana", False, RULES, 3)
    assert [p.must_end_first(another) for p in (PLAN, PLAN.begun(77), PLAN.begun(77).done())] == [False, True, False]
    assert not PLAN.begun(77).must_end_first(PLAN)


def test_a_promise_is_broken_by_what_was_valid_and_did_not_get_in() -> None:
    report = Report("id")
    report.add({"replayed": 8, "duplicate": 2}, promised=8)
    assert (report.rows, report.broken_promises) == (10, 0)
    report.add({"replayed": 3, "rejected": 1}, promised=4)
    assert (report.rows, report.chunks, report.broken_promises) == (14, 2, 1)
    assert report.outcomes == {"replayed": 11, "duplicate": 2, "rejected": 1}


def test_a_row_that_was_valid_before_breaks_no_promise() -> None:
    report = Report("id")
    report.add({"replayed": 1, "restored": 2, "rejected": 1}, promised=4)
    assert (report.got_in, report.broken_promises) == (3, 1)
