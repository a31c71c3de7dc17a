"""``sdp badrows replay``: dry run, canary, and the rest."""

from __future__ import annotations

import getpass
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.options import Env, Json, Set, err, load, on_interrupt, out, print_json, say, spelt_out, tell
from pipelines.cli.progress import OnProgress, reporter
from pipelines.errors import UsageError
from pipelines.records import Outcome

if TYPE_CHECKING:
    from pipelines.bootstrap import ReplayKit
    from pipelines.flows.replay_report import Forecast, Report, Sample

CUT_OFF = (
    "interrupted: every chunk that was finished stays. One that was cut off is finished by the next `sdp badrows "
    "replay`; run the same command again to go on"
)
STOPPED = "stopped as asked, after the running chunk: run the same command again to go on"


def finite(rate: float | None) -> float | None:
    """The rate of an option. Raises typer.BadParameter for one that is no number."""
    if rate is not None and not math.isfinite(rate):
        raise typer.BadParameter("0 is as fast as possible")
    return rate


def replay(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="Which rows, and how to repair them.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen; write nothing.")] = False,
    canary: Annotated[int, typer.Option(min=0, help="Rows of the first chunk; 0 for no canary.")] = 100,
    rate: Annotated[
        float, typer.Option(min=0, callback=finite, help="Rows a second at most; 0 is as fast as possible.")
    ] = 0,
    chunk: Annotated[int, typer.Option(min=1, help="Rows of a chunk at most.")] = 10_000,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask after the dry run.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on though the canary failed.")] = False,
    mark_unrecoverable: Annotated[
        bool, typer.Option("--mark-unrecoverable", help="Give up rows that still fail: no later replay takes them.")
    ] = False,
    who: Annotated[str | None, typer.Option("--as", help="Name for the audit trail; default: your login.")] = None,
    env: Env = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Repair bad rows by a recipe, and take those that are valid now to the tables and to Elasticsearch.

    Example: sdp badrows replay conf/recipes/upper-case-methods.yaml --dry-run

    First a dry run, then the canary, then the rest in chunks. Repeating it doubles nothing: a row is its Kafka
    coordinates. Ctrl-C ends it after the running chunk. Exit codes: 1 a row that was valid by schema and rules did not
    get in, 2 wrong use, 3 a server is away.
    """
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise UsageError("nobody can confirm the dry run here: give --yes, or --dry-run to see it")
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not
    from pipelines.flows.replay_report import Pace
    from pipelines.monitoring import logs

    logs.configure()
    with on_interrupt(CUT_OFF):
        kit = bootstrap.replay(load(env, overrides), recipe)
        with err.status("dry run …"):
            forecast = kit.flow.forecast(kit.recipe, mark_unrecoverable=mark_unrecoverable)
        if not as_json:
            _print_forecast(kit, forecast)
        report = None
        if not dry_run and _is_wanted(forecast, yes):
            pace = Pace(canary, rate, chunk, keep_going)
            report = _run(kit, forecast, who or login(), pace, mark_unrecoverable)
    if as_json:
        parts = {"forecast": _forecast_data(kit, forecast), "replay": _report_data(report)}
        print_json({"recipe": kit.recipe.name, **parts})
    elif report is not None:
        _print_report(report)
    _end(report)


@dataclass(frozen=True, slots=True)
class _Progress:
    """A report as the progress bar wants it."""

    acknowledged: int
    failed: int


def _run(kit: ReplayKit, forecast: Forecast, who: str, pace: Any, mark_unrecoverable: bool) -> Report:
    from pipelines import bootstrap

    def show(on_progress: OnProgress, report: Report) -> None:
        on_progress(_Progress(report.rows, report.rows - report.got_in))

    def told(_: str) -> None:
        tell("stopping after the running chunk")

    stopping = bootstrap.stopping_on_signals(kit.flow.stop, told)
    with stopping, reporter(forecast.matching, "replayed") as on_progress:
        return kit.flow.run(
            kit.recipe,
            who,
            pace,
            mark_unrecoverable=mark_unrecoverable,
            on_progress=lambda report: show(on_progress, report),
        )


def _is_wanted(forecast: Forecast, yes: bool) -> bool:
    if forecast.matching == 0 and forecast.unfinished is None:
        return False
    rows = f"Replay these {forecast.matching:,} rows"
    question = rows if forecast.matching else f"Finish the replay of {forecast.unfinished} that was cut off"
    if yes or typer.confirm(f"{question}?", err=True):
        return True
    tell("nothing was replayed")
    return False


def login() -> str:
    """Who is at work here, for the audit trail."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _end(report: Report | None) -> None:
    if report is None:
        return
    if report.stopped_after_canary:
        tell("stopped after the canary: rows that the dry run called valid did not get in", style="red")
    if report.stopped:
        tell(STOPPED)
    if report.broken_promises:
        raise typer.Exit(1)


def _forecast_data(kit: ReplayKit, forecast: Forecast) -> dict[str, Any]:
    return {
        "matching": forecast.matching,
        "waiting": forecast.waiting,
        "outcomes": forecast.outcomes,
        "reasons": forecast.reasons,
        "unfinished": forecast.unfinished,
        "samples": [
            {
                "partition": s.partition,
                "offset": s.offset,
                "outcome": s.outcome,
                "message": s.message,
                "before": kit.fields(s.before),
                "after": kit.fields(s.after),
            }
            for s in forecast.samples
        ],
    }


def _report_data(report: Report | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "replay_id": report.replay_id,
        "rows": report.rows,
        "outcomes": dict(report.outcomes),
        "chunks": report.chunks,
        "went_on": report.went_on,
        "broken_promises": report.broken_promises,
        "stopped_after_canary": report.stopped_after_canary,
        "stopped": report.stopped,
    }


def _print_forecast(kit: ReplayKit, forecast: Forecast) -> None:
    say(f"dry run of {kit.recipe.name}: {forecast.matching:,} rows match")
    if forecast.waiting:
        say(f"{forecast.waiting:,} more wait until both jobs have confirmed them")
    if forecast.unfinished:
        what = "this replay goes on where it" if forecast.goes_on else "that is finished first"
        say(f"a replay of {forecast.unfinished} was cut off: {what}")
    _print_counts("would become", {"valid": forecast.would_be_valid, **_others(forecast.outcomes)})
    _print_counts("because of", forecast.reasons)
    if forecast.samples:
        out.print(_samples_table(kit, forecast.samples))


def _others(outcomes: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in outcomes.items() if name != Outcome.REPLAYED}


def _print_counts(heading: str, counts: dict[str, int]) -> None:
    shown = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)
    if shown:
        say(f"{heading}: {shown}")


def _samples_table(kit: ReplayKit, samples: tuple[Sample, ...]) -> Table:
    table = Table("row", "outcome", "before", "after", title="Samples", title_justify="left")
    for s in samples:
        before, after = kit.fields(s.before), kit.fields(s.after)
        changed = [n for n in {**before, **after} if before.get(n) != after.get(n)]
        table.add_row(
            f"{s.partition}@{s.offset}",
            s.outcome,
            Text(_lines(before, changed) or "(not readable)"),
            Text(spelt_out(s.message or "") if not after else _lines(after, changed) or "(as before)"),
        )
    return table


def _lines(fields: dict[str, str], names: list[str]) -> str:
    return "\n".join(spelt_out(f"{name} = {fields[name]}") for name in names if name in fields)


def _print_report(report: Report) -> None:
    _print_counts(f"replay {report.replay_id}, {report.chunks:,} chunks", dict(report.outcomes))
