"""How the DAGs call jobs and read their answers: plain functions, without Airflow.

Times are UTC in what a job is given, whatever time zone the schedule is in.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

SUBMIT = str(Path(__file__).resolve().parents[1] / "spark-submit.sh")
SUNDAY = 6
SETTLING = timedelta(minutes=25)
"""Until an hour that is over can be proven: reconcile.grace_minutes (15) and some for the start."""
FIGURES = (
    *("run_id", "verdict", "state", "window_from", "window_until", "records", "discrepant", "lost", "share"),
    *("deep", "sampled", "complete_until", "notes", "failure", "adds_up"),
)
"""What goes on from a job's answer to later tasks: never the findings themselves."""

Variables = Callable[[str, str], str]
"""Name of an Airflow Variable and what it is without one."""


class WrongForm(ValueError):
    """What a form asks for makes no sense; the same try again would not either."""


class Ending(Enum):
    """What an exit code of a job means for its task."""

    FINE = "fine"
    DATA_WRONG = "data wrong"
    WRONG_USE = "wrong use"
    AWAY = "infrastructure away"
    """Also a job that was killed: the only ending after which another try can help."""


def ending(exit_code: int) -> Ending:
    """The exit codes of `sdp`."""
    return {0: Ending.FINE, 1: Ending.DATA_WRONG, 2: Ending.WRONG_USE}.get(exit_code, Ending.AWAY)


def is_complete(exit_code: int) -> bool | None:
    """What `complete --until` says: yes or not yet; None for a call that is wrong.

    A server that is away says nothing: whoever waits goes on waiting.
    """
    return {Ending.FINE: True, Ending.WRONG_USE: None}.get(ending(exit_code), False)


def command(job: str, options: Sequence[str], variables: Variables) -> list[str]:
    """The call of spark-submit.sh. Variables win over the environment: sdp_target over SDP_TARGET."""

    def setting(name: str, otherwise: str = "") -> str:
        return variables(f"sdp_{name}", os.environ.get(f"SDP_{name.upper()}", otherwise))

    reports = ["--report", setting("reports")] if job == "reconcile" and setting("reports") else []
    extra = setting("spark_options").split()
    given = [
        setting("submit", SUBMIT),
        setting("target", "local"),
        job,
        *options,
        *reports,
        *setting("job_options").split(),
    ]
    return [*given, "--", *extra] if extra else given


def answer(said: str) -> dict[str, Any]:
    """The JSON object that a job printed last, with --json; empty if there is none, as with the driver on a cluster."""
    last: dict[str, Any] = {}
    for start in (match.start() for match in re.finditer(r"^\{", said, re.MULTILINE)):
        try:
            last, _ = json.JSONDecoder().raw_decode(said, start)
        except ValueError:
            continue
    return last


def figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """What of an answer later tasks and messages need."""
    inner = found.get("run")
    return {
        key: value for key, value in {**found, **(inner if isinstance(inner, dict) else {})}.items() if key in FIGURES
    }


def run_id(dag_run_id: str, cleared: int = 0) -> str:
    """The same for every try of one DAG run, which takes the place of the one before; another one after a clear."""
    dag_run_id = f"{dag_run_id}-{cleared}" if cleared else dag_run_id
    readable = re.sub(r"[^a-z0-9]+", "-", dag_run_id.lower())[:40].strip("-")
    return f"airflow-{readable}-{hashlib.sha256(dag_run_id.encode()).hexdigest()[:8]}"


def hour_before(moment: datetime) -> str:
    """Start of its hour."""
    return _text(moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0))


def hour_after(moment: datetime) -> str:
    """End of its hour; itself if it is the start of one."""
    return hour_before(moment + timedelta(hours=1) - timedelta(microseconds=1))


def yesterday(moment: datetime) -> str:
    """The UTC day before the one of this moment."""
    return (moment.astimezone(UTC).date() - timedelta(days=1)).isoformat()


def reconcile_options(params: Mapping[str, Any], run: str, start: datetime | None, end: datetime | None) -> list[str]:
    """Options of `reconcile`: the window of the form, else the settled hours of the schedule's interval.

    Hours of one interval end where those of the next begin; in zones that are half an hour off, an hour that ends with
    the interval is one of the next. A form with a beginning only means until now. Without
    either, the job takes its own default window. Raises WrongForm for a form with an end only.
    """
    asked_from, asked_until = _moment(params.get("window_from")), _moment(params.get("window_until"))
    if asked_until and not asked_from:
        raise WrongForm("the form has Until without From: give both, or none for the window of the run's interval")
    window_from, window_until = asked_from, asked_until
    if not asked_from:
        window_from, window_until = (moment and moment - SETTLING for moment in (start, end))
    options = ["--run-id", run, "--sample", str(params["sample"]), "--json"]
    if window_from:
        options += ["--from", hour_before(window_from)]
    if window_from and window_until:
        options += ["--to", hour_before(window_until)]
    on_sunday = params["deep"] == "on Sundays" and end is not None and end.weekday() == SUNDAY
    return [*options, "--deep"] if on_sunday or params["deep"] == "always" else options


def given(options: Mapping[str, Any]) -> list[str]:
    """Those that have a value: ``--name value``; true is the bare name."""
    parts: list[str] = []
    for name, value in options.items():
        if value is not None and value is not False and value != "":
            parts += [name] if value is True else [name, str(value)]
    return parts


def next_tasks(found: Mapping[str, Any], repair: bool) -> list[str]:
    """Task ids that a verdict leads to. Wrong data without figures (the driver ran on a cluster) count as the worst."""
    if found["exit_code"] == 0:
        return ["ok"]
    alarm = "investigate" if found.get("verdict") in ("ok", "warning", "investigate") else "escalate"
    return [alarm, "repair"] if repair else [alarm]


def told_as(found: Mapping[str, Any], alarm: str) -> str:
    """What a message is about; ``alarm``: the task that sends it. Verdicts of less weight have their own words."""
    return {"ok": "open findings", "warning": "warning"}.get(str(found.get("verdict")), alarm)


def is_proven(found: Mapping[str, Any], *, repaired: bool) -> bool:
    """Whether a window is clean, or was made so: a repair adds records, but it can't make offsets add up.

    A repaired run without figures (the driver ran on a cluster) proves nothing: nobody knows whether they do.
    """
    return not found["exit_code"] or (repaired and found.get("adds_up") is True)


def compared_run(found: Mapping[str, Any]) -> str:
    """Id of the run that a task has asked for."""
    options = list(found["options"])
    return str(options[options.index("--run-id") + 1])


def summary(found: Mapping[str, Any]) -> str:
    """One line about a reconciliation, for a person."""
    if "records" not in found:
        where = "its figures are where its driver ran, and in its report"
        return f"reconciliation {compared_run(found)} ended with {found['exit_code']}; {where}"
    share = f"{100 * float(found.get('share') or 0):.4g} %"
    window = f"{found.get('window_from')} to {found.get('window_until')}"
    also = "" if found.get("adds_up", True) else "; offsets and ledger do not add up"
    return (
        f"reconciliation {found.get('run_id')} of {window}: {str(found.get('verdict')).upper()}. "
        f"{found['records']:,} records, {found['discrepant']:,} discrepant ({share}), {found['lost']:,} lost{also}"
    )


def reasons(said: str, most: int = 800) -> str:
    """Why a job failed, for a message: what its answer names, else the end of what it said."""
    found = answer(said)
    told = [one for part in (found, *found.values()) if isinstance(part, dict) for one in _told(part)]
    return "; ".join(told)[:most] or said.strip()[-most:]


def _told(part: Mapping[str, Any]) -> list[str]:
    """What is wrong, in the words of a job or of one part of its answer."""
    found = [part.get(key) or [] for key in ("failure", "reasons", "problems")]
    return [text for value in found for text in ([value] if isinstance(value, str) else map(str, value))]


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
