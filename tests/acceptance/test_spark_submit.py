"""Jobs under spark-submit on this machine: exit codes, and a stop that cuts nothing off."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import IO, Any

from tests.submitting import LONGEST_S, selection, submit, submitted
from tests.world import World, record

RECORDS, PER_BATCH = 2_400, 600


def steps(said: IO[str]) -> Iterator[dict[str, Any]]:
    """The job's own log lines as they come."""
    for line in said:
        if line.startswith("{"):
            yield json.loads(line)


def test_a_wrong_setting_is_exit_code_2_and_one_readable_message(world: World) -> None:
    code, said = submit(["local", "ingest", "--once", *selection(world.settings), "--set", "ingest.trigger_s=soon"])
    assert code == 2
    assert "ingest.trigger_s" in said
    assert "Traceback" not in said


def test_the_exit_code_of_the_job_is_that_of_the_script(world: World) -> None:
    rules = ["--set", "rules.file=conf/rules/none.yaml"]
    code, said = submit(["local", "ingest", "--once", *selection(world.settings), *rules])
    assert code == 2, said
    assert "none.yaml:1: No such file" in " ".join(said.split())


def test_sigterm_finishes_the_batch_and_the_next_run_goes_on(world: World) -> None:
    world.send(world.encode(record()) for _ in range(RECORDS))
    bounded = ["--set", f"ingest.max_offsets_per_trigger={PER_BATCH}", "--set", "ingest.trigger_s=1"]
    with submitted(["local", "ingest", *selection(world.settings), *bounded]) as process:
        assert process.stdout is not None
        events = []
        for step in steps(process.stdout):
            events.append(step["event"])
            if step["event"] == "batch_started":
                process.send_signal(signal.SIGTERM)
                break
        events += [step["event"] for step in steps(process.stdout)]
        assert process.wait(LONGEST_S) == 0

    assert events.count("batch_started") == events.count("batch_done") >= 1, events
    taken = sum(until - start for rows in world.ledger("ingest").values() for start, until, *_ in rows)
    assert taken == events.count("batch_done") * PER_BATCH < RECORDS
    assert len(world.valid()) == taken

    world.run("ingest")
    assert world.valid().keys() == {(i % 12, i // 12) for i in range(RECORDS)}
