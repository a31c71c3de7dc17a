"""The report holds the figures of its run and nothing that somebody wrote by hand."""

from __future__ import annotations

from benchmarks import report
from benchmarks.compare import Part, Plan, Ratio
from benchmarks.meter import Outcome
from pipelines.settings import ROOT


def results(*parts: Part) -> report.Results:
    return report.Results(Plan(1_000, 1, False), "python -m benchmarks --quick", list(parts))


JUDGE = Part(
    "judge",
    {"judge": [Outcome(1_000, wall_s=1, cpu_s=1)], "kafka": [Outcome(1_000, wall_s=0.5, cpu_s=1)]},
    [
        Ratio("reached", "judge", "kafka", 0.50, (0.4, 0.5, 0.6)),
        Ratio("missed", "judge", "kafka", 0.51, (0.5,)),
        Ratio("without target", "judge", "kafka", None, (0.5,)),
    ],
)


def rows(text: str) -> dict[str, list[str]]:
    """First cell of each table row → the others."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {first: others for first, *others in cells}


def test_a_ratio_is_held_against_its_target() -> None:
    found = rows(report.markdown(results(JUDGE)))
    assert found["reached"] == ["≥ 0.50", "**0.50**", "0.40–0.60", "yes"]
    assert found["missed"] == ["≥ 0.51", "**0.50**", "0.50–0.50", "**no**"]
    assert found["without target"] == ["–", "**0.50**", "0.50–0.50", "–"]


def test_the_report_ends_with_the_page_that_explains_it() -> None:
    last = report.markdown(results(JUDGE)).splitlines()[-1]
    assert "(performance.md)" in last
    assert (ROOT / "docs" / "performance.md").is_file()
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").splitlines()[-1] == last


def test_the_committed_report_has_no_section_of_its_own() -> None:
    kinds = (
        "Ratios",
        "Runs: ",
        "Stages: ",
        "CPU per record: ",
        "Reconciliation",
        "Acknowledgement at ",
        "Memory without ",
    )
    lines = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith(tuple(f"## {kind}" for kind in kinds)) for line in lines if line.startswith("## "))
