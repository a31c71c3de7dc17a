"""``sdp rules`` from files and verdicts made by hand: what it shows and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines import bootstrap, cli
from pipelines.cli import app, options
from pipelines.contracts.rules import KnownSet, RuleSet
from pipelines.flows.rule_trial import Verdict
from pipelines.ingest.rule_trial import RuleTrial, Sample, Trial
from pipelines.settings import ROOT

AT = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
SINCE, UNTIL = datetime(2026, 1, 31, 10, tzinfo=UTC), datetime(2026, 1, 31, 12, tzinfo=UTC)
SHIPPED = str(ROOT / "conf" / "rules" / "api6-logs.yaml")


def rule(name: str, **rest: Any) -> dict[str, Any]:
    base = {"id": name, "field": "request_id", "check": "required", "severity": "critical", "message": "m"}
    return base | {"owner": "us"} | rest


def rule_set(*rules: dict[str, Any], personal: tuple[str, ...] = ()) -> RuleSet:
    return RuleSet.model_validate({"subject": "s", "personal": personal, "rules": rules})


PROPOSED = rule_set(rule("blank"), rule("slow", field="response_time_ms", check="range", max=5, severity="warning"))
CURRENT = rule_set(rule("slow", field="response_time_ms", check="range", max=9, severity="warning"), rule("gone"))
TRIAL = Trial(
    rows=400,
    rejected=1,
    rules=(
        RuleTrial(PROPOSED.rules[0], 1, (Sample(3, 17, AT, " \x1b[2J"),)),
        RuleTrial(PROPOSED.rules[1], 100, (Sample(0, 1, AT, "7"), Sample(1, 2, AT, "[8]"))),
    ),
)
VERDICT = Verdict(PROPOSED, CURRENT, SINCE, UNTIL, TRIAL)


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options.out, "width", 160)
    monkeypatch.delenv("SDP_ENV", raising=False)


def sdp(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["rules", *arguments])


def cells(result: Result) -> list[list[str]]:
    """Cells of every line, frames left out."""
    lines = [line.replace("┃", "│").split("│")[1:-1] for line in result.stdout.split("\n")]
    return [[cell.strip() for cell in line] for line in lines if line]


# check


def test_a_good_file_is_fine() -> None:
    result = sdp("check", SHIPPED)
    assert result.exit_code == 0
    assert f"{SHIPPED}: 13 rules for api6-logs-value, 11 critical, 2 warning; set " in result.stdout


def test_a_good_file_as_json() -> None:
    found = json.loads(sdp("check", SHIPPED, "--json").stdout)
    assert (found["file"], found["subject"], found["rules"]) == (SHIPPED, "api6-logs-value", 13)
    assert len(found["fingerprint"]) == 16


@pytest.mark.parametrize("command", ["check", "test"])
def test_a_mistake_is_exit_code_2_with_file_and_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(Path(SHIPPED).read_text(encoding="utf-8").replace("field: http_method", "field: method"))
    with pytest.raises(SystemExit) as caught:
        cli.main(["rules", command, str(path)])
    assert caught.value.code == 2
    assert f"{path}:36: http_method_known: unknown field 'method'; there are " in capsys.readouterr().err


def test_a_file_that_is_not_there_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["rules", "check", "/nowhere/rules.yaml"])
    assert caught.value.code == 2
    assert "/nowhere/rules.yaml:1: No such file" in capsys.readouterr().err


# test


@pytest.fixture
def trying(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``sdp rules test`` on the shipped file, with a verdict made by hand."""

    @contextmanager
    def following(spark: Any, told: Callable[[int, int], None]) -> Iterator[None]:
        yield

    def call(verdict: Verdict, *arguments: str) -> Result:
        def trial(proposed: RuleSet, since: datetime, until: datetime, samples: int) -> Verdict:
            assert since < until
            assert samples == 3
            return verdict

        monkeypatch.setattr(bootstrap, "spark_session", lambda *_: None)
        monkeypatch.setattr(bootstrap, "rules_trial", lambda *_: trial)
        monkeypatch.setattr(bootstrap, "following", following)
        return sdp("test", SHIPPED, *arguments)

    return call


def test_newly_rejected_rows_are_shown_and_exit_with_1(trying: Callable[..., Result]) -> None:
    result = trying(VERDICT)
    assert result.exit_code == 1
    assert "valid rows of 2026-01-31 10:00:00 to 2026-01-31 12:00:00 UTC" in result.stdout
    found = cells(result)
    assert ["blank", "new", "critical", "request_id", "1", "0.25%", "3/17  \\x1b[2J"] in found
    assert ["slow", "changed", "warning", "response_time_ms", "100", "25.00%", "0/1 7"] in found
    assert ["", "", "", "", "", "", "1/2 [8]"] in found
    assert f"new: blank; changed: slow; removed: gone; against the set {CURRENT.fingerprint}" in result.stdout
    assert "1 of 400 valid rows (0.25%) would be newly rejected" in result.stdout
    assert "\x1b" not in result.stdout


def test_warnings_alone_exit_with_0(trying: Callable[..., Result]) -> None:
    result = trying(replace(VERDICT, trial=replace(TRIAL, rejected=0)))
    assert result.exit_code == 0
    assert "none of 400 valid rows would be newly rejected" in result.stdout


def test_no_rows_are_no_verdict(trying: Callable[..., Result]) -> None:
    nothing = tuple(RuleTrial(one, 0, ()) for one in PROPOSED.rules)
    result = trying(replace(VERDICT, trial=Trial(0, 0, nothing)))
    assert result.exit_code == 0
    assert "there are no valid rows in that time: nothing was tried" in result.stdout


@pytest.mark.parametrize(
    ("current", "said"),
    [
        (None, "no batch was judged yet"),
        (PROPOSED, f"the same as the set {PROPOSED.fingerprint}"),
        (
            rule_set(*(r.model_dump(mode="json") for r in reversed(PROPOSED.rules)), personal=("request_id",)),
            "another order; other personal fields; against the set",
        ),
    ],
)
def test_what_the_proposed_set_is_compared_with(
    trying: Callable[..., Result], current: RuleSet | None, said: str
) -> None:
    assert said in trying(replace(VERDICT, current=current)).stdout


def test_the_verdict_as_json(trying: Callable[..., Result]) -> None:
    result = trying(VERDICT, "--json", "--since", "2026-01-31T10:00:00", "--until", "2026-01-31T12:00:00")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "file": SHIPPED,
        "subject": "s",
        "fingerprint": PROPOSED.fingerprint,
        "rules": 2,
        "since": "2026-01-31T10:00:00+00:00",
        "until": "2026-01-31T12:00:00+00:00",
        "rows": 400,
        "rejected": 1,
        "rejected_share": 0.0025,
        "by_rule": [
            {
                "id": "blank",
                "field": "request_id",
                "severity": "critical",
                "fingerprint": PROPOSED.rules[0].fingerprint,
                "rows": 1,
                "share": 0.0025,
                "samples": [
                    {"partition": 3, "offset": 17, "kafka_timestamp": "2026-01-31T12:00:05+00:00", "found": " \x1b[2J"}
                ],
            },
            {
                "id": "slow",
                "field": "response_time_ms",
                "severity": "warning",
                "fingerprint": PROPOSED.rules[1].fingerprint,
                "rows": 100,
                "share": 0.25,
                "samples": [
                    {"partition": 0, "offset": 1, "kafka_timestamp": "2026-01-31T12:00:05+00:00", "found": "7"},
                    {"partition": 1, "offset": 2, "kafka_timestamp": "2026-01-31T12:00:05+00:00", "found": "[8]"},
                ],
            },
        ],
        "current": CURRENT.fingerprint,
        "changes": {
            "added": ["blank"],
            "removed": ["gone"],
            "changed": ["slow"],
            "reordered": False,
            "personal": False,
        },
    }


NO_CHANGES = {"added": [], "removed": [], "changed": [], "reordered": False, "personal": False}


@pytest.mark.parametrize(("current", "changes"), [(None, None), (PROPOSED, NO_CHANGES)])
def test_the_differences_as_json(trying: Callable[..., Result], current: RuleSet | None, changes: Any) -> None:
    found = json.loads(trying(replace(VERDICT, current=current), "--json").stdout)
    assert (found["current"], found["changes"]) == (current and current.fingerprint, changes)


@pytest.mark.parametrize(
    ("option", "value"), [("--since", "soon"), ("--until", "9h"), ("--samples", "21"), ("--samples", "-1")]
)
def test_wrong_use_is_exit_code_2(option: str, value: str) -> None:
    assert sdp("test", SHIPPED, option, value).exit_code == 2


# show


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [KnownSet(CURRENT, "ingest", 0, SINCE), KnownSet(PROPOSED, "index", 12, AT)]
    monkeypatch.setattr(bootstrap, "known_rule_sets", lambda _: sets)


def test_known_sets_are_listed_with_their_first_use(known: None) -> None:
    result = sdp("show")
    assert result.exit_code == 0
    assert [row for row in cells(result) if len(row) == 5][1:] == [
        [CURRENT.fingerprint, "s", "1 critical, 1 warning", "ingest 0", "2026-01-31 10:00:00"],
        [PROPOSED.fingerprint, "s", "1 critical, 1 warning", "index 12", "2026-01-31 12:00:05"],
    ]


def test_known_sets_as_json_hold_their_rules(known: None) -> None:
    first, second = json.loads(sdp("show", "--json").stdout)
    assert (first["fingerprint"], first["first_query"], first["first_batch_id"]) == (CURRENT.fingerprint, "ingest", 0)
    assert second["first_used_at"] == "2026-01-31T12:00:05+00:00"
    assert [one["id"] for one in second["definitions"]] == ["blank", "slow"]
    assert second["definitions"][1]["max"] == 5
    assert second["definitions"][1]["fingerprint"] == PROPOSED.rules[1].fingerprint
