"""``sdp rules``: check a rule file, try it on recent data, and see which sets have judged what."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.options import Env, Json, Set, err, load, out, print_json, say, spelt_out
from pipelines.cli.progress import stages
from pipelines.cli.window import Since, Until, parse_window
from pipelines.contracts.evolution import base_schema
from pipelines.contracts.rule_file import load_rules
from pipelines.contracts.rules import Changes, KnownSet, RuleSet
from pipelines.records import Severity
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.flows.rule_trial import Verdict
    from pipelines.ingest.rule_trial import RuleTrial, Sample

MOST_SAMPLES = 20

File = Annotated[Path, typer.Argument(metavar="FILE", help="The proposed rules, a YAML file as docs/rules.md has it.")]
Samples = Annotated[int, typer.Option("--samples", min=0, max=MOST_SAMPLES, help="Rows to show of each rule.")]

group = typer.Typer(
    help="Business rules: check a file, try it on recent data, list the sets used.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add this group to ``sdp``."""
    app.add_typer(group, name="rules")


@group.command()
def check(file: File, env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """Read a rule file as a job would, and nothing else.

    Example: sdp rules check conf/rules/api6-logs.yaml

    Exit code 2 for a mistake, which is named with file, line and reason.
    """
    rules = _read(file, load(env, overrides))
    if as_json:
        print_json({"file": str(file), **_summary(rules)})
    else:
        say(f"{file}: {len(rules.rules)} rules for {rules.subject}, {_severities(rules)}; set {rules.fingerprint}")


@group.command("test")
def try_out(
    file: File,
    since: Since = "2h",
    until: Until = "now",
    samples: Samples = 3,
    as_json: Json = False,
    env: Env = None,
    overrides: Set = None,
) -> None:
    """Try a rule set on stored valid rows: what would it reject, by which rule, with samples?

    Example: sdp rules test conf/rules/api6-logs.yaml --since 2h

    Changes nothing. Judges the rows of api6_logs_valid whose Kafka timestamp lies between --since and --until with what
    the jobs judge by. Exit codes: 0 nothing would be newly rejected, 1 something would, 2 wrong use or a mistake in the
    file, 3 infrastructure unavailable.
    """
    begin, end = parse_window(since, until, datetime.now(UTC))
    settings = load(env, overrides)
    verdict = _try(settings, _read(file, settings), begin, end, samples)
    print_json({"file": str(file), **as_data(verdict)}) if as_json else show_verdict(verdict)
    if verdict.trial.rejected:
        raise typer.Exit(1)


@group.command()
def show(env: Env = None, overrides: Set = None, as_json: Json = False) -> None:
    """List every rule set that has judged a batch, oldest first, with its first batch.

    Example: sdp rules show --json

    The fingerprints are those on bad rows and in the ledger. With --json each set comes with all its rules. Exit code 3
    if a server is away.
    """
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    with err.status("reading rule sets …"):
        found = bootstrap.known_rule_sets(load(env, overrides))
    print_json([_known_data(one) for one in found]) if as_json else _show_known(found)


def as_data(verdict: Verdict) -> dict[str, Any]:
    """The verdict as one JSON object."""
    trial, changes = verdict.trial, verdict.changes
    return {
        **_summary(verdict.proposed),
        "since": verdict.since.isoformat(),
        "until": verdict.until.isoformat(),
        "rows": trial.rows,
        "rejected": trial.rejected,
        "rejected_share": _share(trial.rejected, trial.rows),
        "by_rule": [_rule_data(one, trial.rows) for one in trial.rules],
        "current": None if verdict.current is None else verdict.current.fingerprint,
        "changes": None if changes is None else asdict(changes),
    }


def show_verdict(verdict: Verdict) -> None:
    """Print the same as a table, what differs, and the verdict."""
    trial = verdict.trial
    out.print(_by_rule(verdict))
    if verdict.current is None:
        say("no batch was judged yet, so there is no set to compare with")
    else:
        say(f"{_differences(verdict.changes)} {verdict.current.fingerprint}, which judged the newest batch")
    if not trial.rows:
        say("there are no valid rows in that time: nothing was tried", style="bold yellow")
    elif trial.rejected:
        share = f"{_share(trial.rejected, trial.rows):.2%}"
        say(f"{trial.rejected:,} of {trial.rows:,} valid rows ({share}) would be newly rejected", style="bold red")
    else:
        say(f"none of {trial.rows:,} valid rows would be newly rejected", style="bold green")


def _try(settings: Settings, proposed: RuleSet, since: datetime, until: datetime, samples: int) -> Verdict:
    from pipelines import bootstrap  # pyspark takes a second to import; --help should not

    with stages() as begin:
        starting = begin("Spark", 1)
        spark = bootstrap.spark_session(settings, "sdp-rules-test")
        trial = bootstrap.rules_trial(settings, spark)
        starting.end()
        judging = begin("rows", None)
        with bootstrap.following(spark, judging.show_tasks):
            verdict = trial(proposed, since, until, samples)
        judging.show(completed=verdict.trial.rows)
        judging.end()
    return verdict


def _read(file: Path, settings: Settings) -> RuleSet:
    subject = settings.registry.subject
    return load_rules(file, base_schema(subject).kinds, subject)


def _by_rule(verdict: Verdict) -> Table:
    title = f"valid rows of {verdict.since:%F %T} to {verdict.until:%F %T} UTC that break a rule"
    table = Table(title=title, title_justify="left")
    for heading in ("rule", "", "severity", "field"):
        table.add_column(heading)
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    table.add_column("partition/offset and value", overflow="fold")
    notes = _notes(verdict.changes)
    for one in verdict.trial.rules:
        rule, share = one.rule, f"{_share(one.rows, verdict.trial.rows):.2%}"
        shown = "\n".join(map(_sample_text, one.samples))
        style = "red" if one.rows and rule.severity is Severity.CRITICAL else "yellow" if one.rows else None
        cells = (rule.id, notes.get(rule.id, ""), rule.severity.value, rule.field, f"{one.rows:,}", share)
        table.add_row(*cells, Text(shown), style=style)
    return table


def _sample_text(sample: Sample) -> str:
    return f"{sample.partition}/{sample.offset} {spelt_out(sample.found)}"


def _notes(changes: Changes | None) -> dict[str, str]:
    if changes is None:
        return {}
    return dict.fromkeys(changes.added, "new") | dict.fromkeys(changes.changed, "changed")


def _differences(changes: Changes | None) -> str:
    if not changes:
        return "the same as the set"
    named = {"new": changes.added, "changed": changes.changed, "removed": changes.removed}
    parts = [f"{word}: {', '.join(ids)}" for word, ids in named.items() if ids]
    parts += ["another order"] * changes.reordered + ["other personal fields"] * changes.personal
    return f"{'; '.join(parts)}; against the set"


def _show_known(found: list[KnownSet]) -> None:
    table = Table(title="rule sets that have judged a batch", title_justify="left")
    for heading in ("set", "subject", "rules", "first batch", "first used (UTC)"):
        table.add_column(heading)
    for one in found:
        first = f"{one.first_query} {one.first_batch_id}"
        cells = (one.rules.fingerprint, one.rules.subject, _severities(one.rules), first)
        table.add_row(*map(Text, cells), f"{one.first_used_at:%F %T}")
    out.print(table)


def _known_data(one: KnownSet) -> dict[str, Any]:
    first = {"first_query": one.first_query, "first_batch_id": one.first_batch_id}
    rules = [{"fingerprint": rule.fingerprint, **rule.model_dump(mode="json")} for rule in one.rules.rules]
    return {**_summary(one.rules), **first, "first_used_at": one.first_used_at.isoformat(), "definitions": rules}


def _rule_data(one: RuleTrial, rows: int) -> dict[str, Any]:
    rule = {name: getattr(one.rule, name) for name in ("id", "field", "severity", "fingerprint")}
    samples = [{**asdict(s), "kafka_timestamp": s.kafka_timestamp.isoformat()} for s in one.samples]
    return {**rule, "rows": one.rows, "share": _share(one.rows, rows), "samples": samples}


def _summary(rules: RuleSet) -> dict[str, Any]:
    return {"subject": rules.subject, "fingerprint": rules.fingerprint, "rules": len(rules.rules)}


def _severities(rules: RuleSet) -> str:
    critical = sum(rule.severity is Severity.CRITICAL for rule in rules.rules)
    return f"{critical} critical, {len(rules.rules) - critical} warning"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
