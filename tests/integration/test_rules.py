"""Rules that are replaced while jobs run, the table that keeps them, and the trial of a set, on real servers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipelines import bootstrap
from pipelines.adapters.rule_sets import RuleSets
from pipelines.adapters.tables import Tables
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.rules import RuleSet
from pipelines.errors import InvalidRuleFile
from pipelines.flows.ports import Steps
from pipelines.records import INVALID, LEDGER, RULE_SETS, Batch
from pipelines.settings import ROOT, Settings
from tests.commands import sdp_here
from tests.world import World, record

SHIPPED = (ROOT / "conf" / "rules" / "api6-logs.yaml").read_text(encoding="utf-8")
STRICT = SHIPPED.replace("max: 599", "max: 404")
STRICTER = SHIPPED.replace("max: 599", "max: 200")
BAD = SHIPPED.replace("field: http_method", "field: method")
KINDS = {
    "timestamp": "number",
    "request_id": "text",
    "api_endpoint": "text",
    "http_method": "text",
    "status_code": "number",
    "response_time_ms": "number",
    "client_ip": "text",
    "user_agent": "text",
    "payload_size": "number",
    "error_message": "text",
}


class Corner:
    """A world with a rule file of its own."""

    def __init__(self, world: World, path: Path) -> None:
        self.world, self.path = world, path
        self.put(SHIPPED)

    def put(self, text: str) -> None:
        """Replace the file as an operator should: all at once."""
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)

    def settings(self, uri: str | None = None, **more: Any) -> Settings:
        return self.world.with_settings(rules={"file": uri or str(self.path)}, **more)

    def fingerprint(self, text: str) -> str:
        path = self.path.with_suffix(".other")
        path.write_text(text, encoding="utf-8")
        return load_rules(path, KINDS).fingerprint

    def sets(self) -> list[tuple[str, str, int]]:
        """(fingerprint, first query, first batch) in order of first use."""
        rows = self.world.table(RULE_SETS).orderBy("first_used_at").collect()
        return [(r["fingerprint"], r["first_query"], r["first_batch_id"]) for r in rows]

    def judged_by(self, job: str = "ingest") -> dict[int, str]:
        """Batch → fingerprint in the ledger."""
        rows = self.world.table(LEDGER).where(f"query = '{job}'").select("batch_id", "rule_set_fingerprint").collect()
        found = {r["batch_id"]: r["rule_set_fingerprint"] for r in rows}
        assert len(found) == len(set(map(tuple, rows))), "one batch, one set"
        return found


@pytest.fixture
def corner(world: World, tmp_path: Path) -> Corner:
    return Corner(world, tmp_path / "rules.yaml")


def after(batch_id: int, then: Callable[[], None]) -> Steps:
    """Do something between two batches."""

    def on_step(step: str, batch: Batch) -> None:
        if (step, batch.batch_id) == ("done", batch_id):
            then()

    return on_step


def test_the_next_batch_is_judged_by_the_new_file_and_a_bad_one_changes_nothing(corner: Corner) -> None:
    world = corner.world
    texts = {0: STRICT, 1: BAD, 2: BAD, 3: SHIPPED}

    def swap(step: str, batch: Batch) -> None:
        if step == "done":
            corner.put(texts[batch.batch_id])

    # four batches of three records, each with one of 404 and one of 500
    world.send([world.encode(record(status_code=c)) for c in (200, 404, 500) * 4], partition=0)
    one_by_one = corner.settings(ingest={"max_offsets_per_trigger": 3})
    with structlog.testing.capture_logs() as lines:
        world.run("ingest", swap, one_by_one)
    a, b = corner.fingerprint(SHIPPED), corner.fingerprint(STRICT)
    assert corner.judged_by() == {0: a, 1: b, 2: b, 3: b}
    assert world.codes() == {(0, n): ["status_code_range"] for n in (5, 8, 11)}
    assert {row["rule_set_fingerprint"] for row in world.invalid().values()} == {b}
    assert corner.sets() == [(a, "ingest", 0), (b, "ingest", 1)]

    [swapped] = [line for line in lines if line["event"] == "rules_swapped"]
    assert (swapped["before"], swapped["after"], swapped["job"]) == (a, b, "ingest")
    [refused] = [line for line in lines if line["event"] == "rules_refused"]
    assert (refused["log_level"], refused["kept"]) == ("error", b)
    assert f"{corner.path}:36: http_method_known: unknown field 'method'" in refused["error"]


def test_a_bad_file_is_refused_at_the_start(corner: Corner) -> None:
    corner.put(BAD)
    with pytest.raises(InvalidRuleFile, match=r"rules\.yaml:36: http_method_known: unknown field 'method'"):
        bootstrap.job("ingest", corner.settings(), corner.world.spark)


def test_a_rule_file_may_lie_on_any_file_system_that_hadoop_knows(corner: Corner) -> None:
    world = corner.world
    world.send([world.encode(record(status_code=c)) for c in (404, 500)], partition=0)
    swap = after(0, lambda: corner.put(STRICT))
    world.run("ingest", swap, corner.settings(f"file://{corner.path}", ingest={"max_offsets_per_trigger": 1}))
    assert world.codes() == {(0, 1): ["status_code_range"]}
    corner.path.unlink()
    with pytest.raises(InvalidRuleFile, match="No such file"):
        bootstrap.job("ingest", corner.settings(f"file:{corner.path}"), world.spark)


def test_a_set_is_kept_once_whatever_is_run_and_before_any_row_carries_it(corner: Corner) -> None:
    world = corner.world
    seen: list[str] = []

    def look(step: str, batch: Batch) -> None:
        if step in ("invalid_written", "documents_written"):
            carried = {row["rule_set_fingerprint"] for row in world.invalid().values()}
            assert carried <= {fingerprint for fingerprint, *_ in corner.sets()}
            seen.append(step)

    world.send([*(world.encode(record()) for _ in range(6)), b"bad"])
    for job in ("ingest", "index", "ingest"):
        world.run(job, look, corner.settings())
    world.run("ingest", look, corner.settings(), recover="earliest")
    corner.put(STRICT)
    world.send([world.encode(record(status_code=500))])
    for job in ("index", "ingest"):
        world.run(job, look, corner.settings())
    corner.put(SHIPPED)
    world.send([world.encode(record(status_code=500))])
    world.run("ingest", look, corner.settings())
    a, b = corner.fingerprint(SHIPPED), corner.fingerprint(STRICT)
    assert [fingerprint for fingerprint, *_ in corner.sets()] == [a, b]
    assert corner.sets()[1][1] == "index"
    assert {"invalid_written", "documents_written"} <= set(seen)

    row = world.table(RULE_SETS).where(f"fingerprint = '{b}'").collect()[0]
    assert row["subject"] == "api6-logs-value"
    [changed] = [rule for rule in row["rules"] if rule["id"] == "status_code_range"]
    assert (changed["field"], changed["severity"], changed["owner"]) == ("status_code", "critical", "api6-platform")
    assert json.loads(changed["definition"])["max"] == 404
    again = RuleSet.model_validate_json(row["definition"])
    assert (again.fingerprint, len(again.rules)) == (b, len(row["rules"]))
    carried = world.table(INVALID).selectExpr("explode(violations) as v").where("v.rule_fingerprint is not null")
    assert {r["v"]["rule_fingerprint"] for r in carried.collect()} == {changed["fingerprint"]}

    documented = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8").split("```sql\n")[1].split("```")[0]
    [found] = world.spark.sql(documented.replace("sdp.", f"{world.settings.metastore.database}.")).collect()
    assert tuple(found) == ("status_code_range", changed["fingerprint"], changed["definition"], 1)


def test_both_jobs_may_begin_to_use_a_set_at_the_same_moment(corner: Corner) -> None:
    world = corner.world
    database, warehouse = world.settings.metastore.database, world.settings.warehouse_uri
    tables = Tables(world.spark, database, warehouse)
    tables.create_missing()
    sets = [load_rules(_written(corner, n), KINDS) for n in range(6)]
    failed: list[BaseException] = []
    gate = threading.Barrier(3)

    def use(query: str) -> None:
        own = RuleSets(world.spark, Tables(world.spark, database, warehouse))
        try:
            for n, rules in enumerate(sets):
                gate.wait(240)
                own.keep(rules, Batch(query, f"id-{query}", n, ()))
        except BaseException as error:  # noqa: BLE001 a thread must not swallow it
            failed.append(error)
            gate.abort()

    threads = [threading.Thread(target=use, args=(name,)) for name in ("ingest", "index", "replay")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(f for f, *_ in corner.sets()) == sorted(rules.fingerprint for rules in sets)


def _written(corner: Corner, n: int) -> Path:
    path = corner.path.with_suffix(f".{n}")
    path.write_text(SHIPPED.replace("max: 599", f"max: {500 + n}"), encoding="utf-8")
    return path


def test_a_batch_that_was_killed_and_is_replayed_after_a_swap_keeps_the_first_set(corner: Corner) -> None:
    world = corner.world
    world.send([world.encode(record(status_code=code)) for code in (200, 404, 500)], partition=0)
    command = [sys.executable, "-m", "tests.integration.killable", "ingest", "judged", "0", *world.overrides()]
    killed = subprocess.run(
        [*command, f"rules.file={corner.path}"],
        cwd=ROOT, start_new_session=True, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    corner.put(STRICT)
    world.send([world.encode(record(status_code=500))], partition=0)
    world.run("ingest", settings=corner.settings())
    a, b = corner.fingerprint(SHIPPED), corner.fingerprint(STRICT)
    assert corner.judged_by() == {0: a, 1: b}
    assert world.codes() == {(0, 3): ["status_code_range"]}
    assert corner.sets() == [(a, "ingest", 0), (b, "ingest", 1)]


PROPOSED = (
    SHIPPED.replace("max: 599", "max: 404")
    + """\
  - id: error_message_there
    field: error_message
    check: required
    when: {field: status_code, min: 400}
    severity: warning
    message: an error should say what happened
    owner: api6-platform
  - id: client_ip_documented
    field: client_ip
    check: pattern
    regex: ^192[.]0[.]2[.]
    severity: critical
    message: client_ip must be one of RFC 5737
    owner: api6-platform
"""
)


def sdp(world: World, *arguments: str) -> tuple[int, Any]:
    """Exit code of ``sdp rules …``, and what it printed as JSON."""
    code, printed = sdp_here(world.spark, world.overrides(), "rules", *arguments, "--json")
    return code, json.loads(printed)


def test_a_proposed_set_is_tried_on_what_is_stored(corner: Corner) -> None:
    world = corner.world
    codes = [200] * 20 + [404] * 3 + [500, 502, 503, 504, 599]
    values = [record(status_code=code, error_message="why" if code == 599 else None) for code in codes]
    values += [record(client_ip="198.51.100.7"), record(client_ip="203.0.113.9", status_code=500)]
    world.send([*(world.encode(v) for v in values), b"bad"], partition=4)
    world.run("ingest", settings=corner.settings())
    corner.put(PROPOSED)

    code, found = sdp(world, "test", str(corner.path), "--since", "2h", "--samples", "2")
    assert code == 1
    assert (found["rows"], found["rejected"]) == (30, 7)
    assert found["rejected_share"] == pytest.approx(7 / 30)
    broken = {one["id"]: one["rows"] for one in found["by_rule"] if one["rows"]}
    assert broken == {"status_code_range": 6, "error_message_there": 8, "client_ip_documented": 2}
    samples = {
        one["id"]: [(s["partition"], s["offset"], s["found"]) for s in one["samples"]] for one in found["by_rule"]
    }
    assert samples["status_code_range"] == [(4, 23, "500"), (4, 29, "500")]
    assert samples["client_ip_documented"] == [(4, 28, "***"), (4, 29, "***")]
    assert samples["error_message_there"] == [(4, 20, "null"), (4, 29, "null")]
    assert found["current"] == corner.fingerprint(SHIPPED)
    assert found["changes"] == {
        "added": ["error_message_there", "client_ip_documented"],
        "removed": [],
        "changed": ["status_code_range"],
        "reordered": False,
        "personal": False,
    }

    # nothing was written, and a job that takes the set judges what comes next as the trial said
    assert corner.sets() == [(corner.fingerprint(SHIPPED), "ingest", 0)]
    world.send([world.encode(v | {"request_id": f"again-{n}"}) for n, v in enumerate(values)], partition=5)
    world.run("ingest", settings=corner.settings())
    assert sum(1 for partition, _ in world.codes() if partition == 5) == 7
    warned = [row["warnings"] for (partition, _), row in world.valid().items() if partition == 5]
    assert sum(1 for warnings in warned if warnings) == 8 - 5  # five of the eight are invalid by another rule

    code, known = sdp(world, "show")
    assert code == 0
    assert [one["fingerprint"] for one in known] == [corner.fingerprint(SHIPPED), corner.fingerprint(PROPOSED)]


def test_a_set_that_rejects_nothing_new_ends_with_0(corner: Corner) -> None:
    world = corner.world
    code, found = sdp(world, "test", str(corner.path), "--since", "2h")
    assert (code, found["rows"], found["current"]) == (0, 0, None)
    world.send([world.encode(record()) for _ in range(5)])
    world.run("ingest", settings=corner.settings())
    code, found = sdp(world, "test", str(corner.path), "--since", "2h")
    assert (code, found["rows"], found["rejected"], found["changes"]["changed"]) == (0, 5, 0, [])
    code, found = sdp(world, "test", str(corner.path), "--since", "9h", "--until", "8h")
    assert (code, found["rows"]) == (0, 0)
