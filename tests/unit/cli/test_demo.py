"""The end of ``sdp demo``: what counts as a proof, from totals made by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines import bootstrap
from pipelines.cli import app, demo
from pipelines.flows.produce import Produced
from pipelines.flows.status import JobState, PartitionState
from pipelines.traffic.defects import Defect
from pipelines.traffic.expected import Expected
from pipelines.traffic.generate import Message, Plan
from stack import lifecycle

PLAN = Plan(1_000, 6, {}, 3_600_000, 1_700_000_000_000, 1)
ADDS_UP, DOES_NOT, MORE = "It adds up", "does NOT add up", "More was sent to this topic"


def sent(failures: dict[str, int] | None = None, *, stopped: bool = False) -> Produced:
    """1,000 records, 10 of them duplicates; those that failed are not delivered."""
    sound, again = (Message(b"k", b"v", 0, (), defect) for defect in (None, Defect.DUPLICATE_DIFFERENT_CONTENT))
    expected = Expected()
    expected.add([sound] * 990 + [again] * 10)
    failed = sum((failures or {}).values())
    return Produced("logs", PLAN, expected, {0: 1_000 - failed}, failures or {}, 1.0, stopped)


def jobs(valid: int, invalid: int) -> list[JobState]:
    """Both jobs at the end of one partition, in order by themselves."""
    read = valid + invalid
    state = PartitionState(0, 0, read, 0, read, valid, invalid, 0, 0, held_valid=valid, held_invalid=invalid)
    return [JobState(name, 0, None, (state,)) for name in ("ingest", "index")]


@pytest.mark.parametrize(
    ("valid", "invalid", "is_fine", "said", "not_said"),
    [
        (990, 10, True, [ADDS_UP], [MORE, DOES_NOT]),
        (989, 11, False, [DOES_NOT], [MORE, ADDS_UP]),
        (594, 6, False, [DOES_NOT, "expected {'valid': 990, 'invalid': 10}"], [MORE, ADDS_UP]),
        (1_990, 10, True, [MORE, ADDS_UP], [DOES_NOT]),
    ],
    ids=["as expected", "judged otherwise", "missing", "more"],
)
def test_only_what_is_all_there_adds_up(
    valid: int,
    invalid: int,
    is_fine: bool,
    said: list[str],
    not_said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert demo._show_verdict(sent(), jobs(valid, invalid), {"valid": 990, "invalid": 10}) is is_fine
    shown = " ".join(capsys.readouterr().out.split())
    assert all(text in shown for text in said), shown
    assert not any(text in shown for text in not_said), shown


@dataclass(frozen=True)
class Bad:
    """A few bad rows, as Status finds them."""

    message: str

    def reasons(self) -> dict[str, int]:
        return {"request_id_blank": 3}

    def samples(self, at_most: int) -> Bad:
        assert at_most > 1
        return self

    def collect(self) -> list[dict[str, Any]]:
        at = {"kafka_partition": 5, "kafka_offset": 7}
        return [at | {"code": "request_id_blank", "error_message": self.message, "raw_hex": "0000"}]


def test_a_bad_value_stays_on_its_line_and_commands_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    demo._show_bad_rows(Bad("found '\n\t\x1b[2J' [/b] of é"))  # type: ignore[arg-type]
    shown = capsys.readouterr().out
    [row] = [line for line in shown.splitlines() if "request_id_blank" in line]
    assert "5/7" in row
    assert r"found '\n\t\x1b[2J' [/b] of é" in row
    assert "\x1b" not in shown


@pytest.mark.parametrize("stopped", [False, True], ids=["refused", "gave up"])
def test_records_that_kafka_does_not_take_end_the_demo(
    stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def produce(*_: Any, **__: Any) -> Produced:
        return sent({"Message timed out": 400}, stopped=stopped)

    monkeypatch.setenv("SDP_HOME", str(tmp_path))
    monkeypatch.setattr(lifecycle, "up", lambda *_: {})
    monkeypatch.setattr(bootstrap, "produce", produce)
    result = CliRunner().invoke(app, ["demo", "--count", "1000"])
    assert result.exit_code == 3
    assert "sdp: Kafka did not take all records: Message timed out (400 records)\n" in result.stderr
    assert "interrupted" not in result.stderr
    assert list(tmp_path.rglob("demo-expected.json")) == []
