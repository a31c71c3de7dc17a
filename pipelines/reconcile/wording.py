"""What a run's figures, times and places are called. Page, JSON and terminal say the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal

from pipelines.reconcile.model import ESCALATE_ABOVE, INVESTIGATE_FROM, HourCounts, Run, RunState, Side

SIDES = {
    Side.KAFKA: "Kafka",
    Side.TABLE: "table valid",
    Side.INVALID: "table invalid",
    Side.ELASTICSEARCH: "Elasticsearch",
}
COUNTED = (
    ("ledger_ingest", "ledger of ingest"),
    ("table", "table valid"),
    ("ledger_index", "ledger of index"),
    ("documents", "documents"),
)
"""Field of an hour's counts → its name: the four figures that are equal where all is well."""
SHOWN_DIGITS = 3
STEPS = ("history", "ledger", "figures", "records", "findings", "watermark")


@dataclass(frozen=True, slots=True)
class Limits:
    """The thresholds of the verdict: shares of discrepant records."""

    investigate: float = INVESTIGATE_FROM
    escalate: float = ESCALATE_ABOVE

    def __str__(self) -> str:
        return f"ok below {percent(self.investigate)}, investigate from there, escalate above {percent(self.escalate)}"


def outcome(run: Run) -> str:
    """The verdict's name, or that of the state where there is no verdict."""
    if run.state is RunState.DONE and run.verdict is not None:
        return run.verdict.value
    return RunState.RUNNING.value if run.state is RunState.RUNNING else RunState.FAILED.value


def counted(number: int, noun: str = "record") -> str:
    """``1 record``, ``2 records``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent(share: float) -> str:
    """A share to three digits, cut off and not rounded: below a threshold must not look like the threshold."""
    value = Decimal(repr(share)) * 100
    if not value:
        return "0%"
    cut = value.quantize(Decimal(1).scaleb(value.adjusted() - SHOWN_DIGITS + 1), ROUND_DOWN)
    text = f"{cut:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def phrase(kind: str, side: str) -> str:
    """``missing in Elasticsearch``."""
    return f"{kind.replace('_', ' ')} in {side_name(side)}"


def side_name(side: str) -> str:
    return SIDES[Side(side)] if side in set(Side) else side


def utc(moment: datetime) -> datetime:
    """In UTC; Spark gives UTC without saying so."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def iso(moment: datetime) -> str:
    return f"{utc(moment):%Y-%m-%dT%H:%M:%SZ}"


def shown(moment: datetime) -> str:
    """``2026-01-31 14:00``, UTC."""
    return f"{utc(moment):%Y-%m-%d %H:%M}"


def window(run: Run) -> str:
    hours = counted(round((utc(run.window_until) - utc(run.window_from)).total_seconds() / 3600), "hour")
    return f"{shown(run.window_from)} until {shown(run.window_until)} UTC, {hours}"


def way(run: Run) -> str:
    """How it compared."""
    how = "every row and document, field by field" if run.deep else "counts and hashes, then the records that differ"
    if not run.sampled:
        return how
    seed = f" (seed {run.seed})" if run.seed is not None else ""
    return f"{how}; {counted(run.sampled, 'random record')}{seed}"


def in_order(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """The steps of a run as it takes them: a table gives them back in any order. Others come last."""
    return sorted(seconds.items(), key=lambda step: STEPS.index(step[0]) if step[0] in STEPS else len(STEPS))


def total_findings(run: Run) -> int:
    """How many there are, shown or not."""
    return sum(count for _, _, count in run.kinds)


def hour_result(run: Run, hour: HourCounts) -> str:
    """One word or two about an hour."""
    if hour.discrepant:
        return "differs"
    if not unequal(hour):
        return "equal"
    is_open = run.settled_until is not None and utc(hour.hour) >= utc(run.settled_until)
    return "still being written" if is_open else "differs, explained"


def unequal(hour: HourCounts) -> bool:
    """Whether the four counts of the hour are not one and the same, or a record of it has an open finding."""
    return hour.discrepant > 0 or len({getattr(hour, name) for name, _ in COUNTED}) > 1
