"""The page and the JSON of a run made by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.reconcile.advice import Mended
from pipelines.reconcile.model import OffsetsCheck, Run, RunState, Verdict
from pipelines.reconcile.report import Report, as_json, html
from pipelines.reconcile.wording import Limits
from tests.unit.reconcile.examples_report import (
    CLEAN,
    DAY,
    DIFFERS,
    EMPTY,
    ESCALATE,
    FAILED,
    FULL,
    HISTORY,
    HOUR,
    MISSING,
    WARNING,
    hours,
    past,
)
from tests.unit.reconcile.page import Page

ROOT = Path(__file__).parents[3]
HOSTILE = "</style></title>\"'><script>alert(1)</script><img src=x onerror=alert(1)>&\x00\x1b[2J\u202e\ud800"
ATTRIBUTES = re.compile(r"[a-zA-Z0-9-]+")
ALL = [
    FULL,
    Report(CLEAN, history=HISTORY),
    Report(FAILED),
    Report(EMPTY),
    Report(replace(CLEAN, state=RunState.RUNNING)),
]


@pytest.mark.parametrize("report", ALL)
def test_a_page_is_well_formed_and_fetches_nothing(report: Report) -> None:
    shown = html(report)
    page = Page(shown)
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert len(ids) == len(set(ids))
    links = {str(given["href"]) for name, given in page.tags if name == "a"}
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert not {name for name, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not any(name in given for _, given in page.tags for name in ("src", "srcset", "action"))
    assert not re.search(r"url\(|@import", shown)
    assert "prefers-color-scheme: dark" in shown


def test_the_parts_come_in_this_order() -> None:
    sections = [given["id"] for name, given in Page(html(FULL)).tags if name == "section"]
    assert sections == ["verdict", "figures", "findings", "hours", "trend", "reasons", "offsets", "notes"]


def test_hostile_values_are_text_wherever_they_stand() -> None:
    run = replace(
        WARNING,
        topic=HOSTILE,
        run_id=HOSTILE,
        notes=(HOSTILE,),
        failure=HOSTILE,
        kinds=((HOSTILE, HOSTILE, 1),),
        seconds={HOSTILE: 1.0},
        offsets=(OffsetsCheck(HOSTILE, 0, 0, 1, 0, 1, 1, 0, 0, 0),),
    )
    finding = replace(
        DIFFERS,
        kafka_topic=HOSTILE,
        request_id=HOSTILE,
        field=HOSTILE,
        expected=HOSTILE,
        found=HOSTILE,
        es_index=HOSTILE,
        es_id=HOSTILE,
        reason=HOSTILE,
        closed_by=HOSTILE,
    )
    mended = Mended(HOSTILE, 0, 1, again=(HOSTILE,))
    shown = html(Report(run, [finding], [], [(HOSTILE, 3)], mended=mended))
    page = Page(shown)
    assert not {name for name, _ in page.tags} & {"script", "img"}
    assert not any(name.startswith("on") for _, given in page.tags for name in given)
    assert all(ATTRIBUTES.fullmatch(name) for _, given in page.tags for name in given)
    assert page.text.count("<script>alert(1)</script>") >= 15
    assert not re.search("[\x00\x1b\u202e\ud800]", shown)
    assert "\\x00\\x1b[2J\\u202e\\ud800" in page.text
    shown.encode("utf-8")


def test_a_run_with_findings_says_what_is_wrong_and_what_to_do_next() -> None:
    text = Page(html(FULL)).text
    for part in (
        "WARNING",
        "3 of 24,000 records (0.0125%) are not the same on all sides; 2 of them are lost without an explanation.",
        "1 record refused by one job, which says why.",
        "sdp repair 2026-01-31T00-30-00 --dry-run",
        "api6-logs-5@3384",
        "missing in Elasticsearch",
        "status_code : expected 200 , found 500",
        "The first 2 of 4.",
        "Kafka has deleted those before 500, the ledger stands for them",
        "80 not read yet",
        "no such record in Kafka",
        "docs/runbook.md#reconciliation-warning",
    ):
        assert part in text


def test_a_failed_run_proves_nothing_and_shows_no_figures() -> None:
    text = Page(html(Report(FAILED, history=HISTORY))).text
    assert "The run failed and proves nothing: neither that records are missing nor that all are there." in text
    assert "Why it failed: Elasticsearch at http://es:9200 is not available: refused" in text
    assert "sdp reconcile --from 2026-01-30T00:00:00Z --to 2026-01-31T00:00:00Z" in text
    assert "None, which means nothing: the run came to no result." in text
    assert "discrepant share" not in text
    assert "proven complete until" not in text


def test_empty_states() -> None:
    text = Page(html(Report(EMPTY))).text
    for part in ("there was nothing to compare", "Nothing to do.", "No hour was compared.", "No offset was compared."):
        assert part in text
    assert "No finding has a reason." in text
    assert "No hour differs." in Page(html(Report(CLEAN))).text


def test_hours_that_are_still_written_are_not_called_wrong() -> None:
    lag = replace(hours()[23], documents=400)
    run = replace(CLEAN, hours=(*hours()[:23], lag), settled_until=DAY + 22 * HOUR)
    text = Page(html(Report(run))).text
    assert "Hours from 2026-01-30 22:00 UTC on can still change: a later run proves them." in text
    assert "still being written" in text
    assert "differs, explained" in Page(html(Report(replace(run, settled_until=run.window_until)))).text


def test_offsets_that_do_not_add_up_are_named() -> None:
    hole = OffsetsCheck("index", 2, 0, 100, 0, 100, 93, 7, 0, 0)
    text = Page(html(Report(replace(CLEAN, verdict=Verdict.WARNING, offsets=(hole,))))).text
    assert "Offsets and ledger do not add up." in text
    assert "index 2 0 100 0 100 93 7 0 0 does not add up" in text
    assert "sdp status" in text


def test_a_repair_at_once_takes_the_place_of_the_advice() -> None:
    text = Page(html(replace(FULL, mended=Mended("repair-1", 3, 0, again=("run-2",))))).text
    assert "Repaired since: 3 findings closed, 0 left." in text
    assert "Compared again after the repair, by run-2" in text
    assert "--dry-run" not in text
    assert "--dry-run" in Page(html(replace(FULL, mended=Mended("repair-1", 2, 1)))).text
    stopped = Page(html(replace(FULL, mended=Mended("repair-1", 0, 0, stopped=True)))).text
    assert ("A repair was begun and stopped before its end." in stopped, "--dry-run" in stopped) == (True, True)


@pytest.mark.parametrize("number", [1, 30, 24 * 40])
def test_the_hours_chart_stays_within_its_frame(number: int) -> None:
    counts = tuple(replace(hours(0)[0], hour=DAY + n * HOUR, table=1_000 + n % 7) for n in range(number))
    page = Page(html(Report(replace(WARNING, hours=counts), history=HISTORY)))
    frames = [given["viewbox"] for name, given in page.tags if given.get("class") == "chart"]
    assert len(frames) == 2
    height = max(float(str(frame).split()[3]) for frame in frames)
    boxes = [given for name, given in page.tags if name == "rect" and str(given.get("class")).startswith("side")]
    for box in boxes:
        x, y, width, tall = (float(str(box.get(name) or 0)) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + width <= 720
        assert 0 <= y <= y + tall <= height
    assert len(boxes) <= 48 * 4 * 2 + 4


def test_the_trend_shows_thirty_days_and_the_limits_of_this_installation() -> None:
    report = Report(CLEAN, history=[*HISTORY, past(45)], limits=Limits(0.002, 0.05))
    text = Page(html(report)).text
    assert "ok below 0.2%, investigate from there, escalate above 5%" in text
    # of HISTORY all but the run of 31 days ago, and the run itself
    assert "Runs: 14 ok, 1 warning, 1 investigate, 1 escalate, 1 failed." in text
    assert "Highest share: 2.5%, 2026-01-21 00:30 UTC." in text


def test_json_has_the_same_in_plain_values() -> None:
    told: Any = json.loads(json.dumps(as_json(replace(FULL, mended=Mended("repair-1", 3, 0, again=("run-2",))))))
    assert told["outcome"] == "warning"
    assert told["run"]["window_from"] == "2026-01-30T00:00:00Z"
    assert told["run"]["kinds"][0] == {"kind": "missing", "side": "elasticsearch", "findings": 2}
    assert told["run"]["share"] == 0.000125
    assert told["thresholds"] == {"investigate_from": 0.001, "escalate_above": 0.01}
    assert (told["findings_total"], [f["kafka_offset"] for f in told["findings"]]) == (4, [3384, 3385])
    assert (told["findings"][1]["state"], told["findings"][1]["first_seen"]) == ("repaired", "2026-01-31T00:30:00Z")
    assert told["top_reasons"][1] == {"reason": "no such record in Kafka", "findings": 1}
    assert told["repair"] == {"repair_id": "repair-1", "closed": 3, "left": 0, "stopped": False, "again": ["run-2"]}
    assert told["next"] == []
    failed = as_json(Report(FAILED))
    assert (failed["outcome"], failed["run"]["verdict"], failed["repair"]) == ("failed", None, None)


@pytest.mark.parametrize(
    ("run", "headline"),
    [
        (CLEAN, "All 24,000 records are the same on all sides."),
        (replace(CLEAN, records=1), "The one record is the same on all sides."),
        (replace(EMPTY, discrepant=2), "2 records where none should be; none is lost."),
        (replace(CLEAN, discrepant=1, lost=1), "1 of 24,000 records (0.00416%) is not the same on all sides; "),
        (replace(CLEAN, records=100_000, discrepant=999), "999 of 100,000 records (0.999%) are not"),
        (
            replace(CLEAN, discrepant=4),
            "4 of 24,000 records (0.0166%) are not the same on all sides; none is lost. Too few for an alarm, but ",
        ),
        (ESCALATE, "300 of 24,000 records (1.25%) are not the same on all sides; 300 of them are lost"),
    ],
)
def test_headlines(run: Run, headline: str) -> None:
    assert as_json(Report(run))["headline"].startswith(headline)


@pytest.mark.parametrize("report", [*ALL, Report(ESCALATE), Report(replace(ESCALATE, verdict=Verdict.INVESTIGATE))])
def test_the_runbook_has_the_pages_that_a_report_names(report: Report) -> None:
    named = set(re.findall(r"docs/runbook\.md#([a-z-]+)", html(report)))
    assert named
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert named <= {re.sub(r"[^a-z -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_an_empty_value_is_shown_as_one() -> None:
    finding = replace(DIFFERS, expected="", found=None)
    assert 'expected "" , found –' in Page(html(replace(FULL, findings=(finding,)))).text


def test_the_table_of_all_findings_is_named_so_that_it_can_be_asked() -> None:
    caption = f"The first 2 of 4. All are in sdp.reconciliation_findings, by run_ids {WARNING.run_id}."
    for text in (caption, "None of 4 here; they are in sdp.reconciliation_findings."):
        report = FULL if text is caption else replace(FULL, findings=())
        assert text in Page(html(report)).text


def test_a_caption_is_as_wide_as_the_screen_and_not_as_a_table_that_scrolls() -> None:
    rule = re.search(r"\.scroll caption \{ (.*?) \}", html(FULL))
    assert rule
    assert {"position: sticky", "left: 0", "max-width: calc(100vw - 32px)"} <= {*map(str.strip, rule[1].split(";"))}


def test_steps_stand_in_the_order_in_which_they_were_taken() -> None:
    names = ("history", "ledger", "figures", "records", "findings", "watermark")
    kept = {name: n + 0.5 for n, name in reversed(list(enumerate(names)))} | {"a later one": 9.0}
    text = Page(html(Report(replace(CLEAN, seconds=kept)))).text
    assert ", ".join(f"{name} {n}.5 s" for n, name in enumerate(names)) + ", a later one 9.0 s" in text


def test_equal_bars_are_not_called_a_proof() -> None:
    cancelled = replace(hours()[14], discrepant=2)
    run = replace(WARNING, hours=(*hours()[:14], cancelled, *hours()[15:]))
    text = Page(html(Report(run))).text
    assert "nothing is missing" not in text
    assert "a loss and a duplicate may still cancel" in text


def test_a_finding_without_a_document_or_field() -> None:
    bare = replace(MISSING, request_id=None, es_index=None, es_id=None, reason=None)
    text = Page(html(Report(replace(WARNING, kinds=(("missing", "valid", 1),)), [bare]))).text
    assert "1 finding, all there are." in text
    assert "None" not in text
