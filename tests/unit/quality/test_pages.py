"""Pages that open without network, and their index."""

from __future__ import annotations

from pipelines.quality.pages import Page, index, offline

PAGE = """<html><head>
<link rel="stylesheet" href="https://cdn.example/a.css"/>
<link rel="shortcut icon" href="../../static/icon.ico">
<style>@font-face { font-family: X; src: url("../x.otf"); }
.a { background: url('https://b.example/l.png') 0 0; }</style>
<script src="https://cdn.example/a.js"></script>
<script>
$(".x").modal("</div>");
</script>
</head><body><img class="L"
 src="https://b.example/logo.png?d=1"
 alt="logo"/><a href="../../index.html">Home</a><p>12 of 100</p>
<footer>news <a href="https://news.example">more</a></footer></body></html>"""


def test_nothing_is_fetched_and_the_content_stays() -> None:
    found = offline(PAGE)
    assert "example" not in found
    assert "script" not in found
    assert "@font-face" not in found
    assert '<a href="../../index.html">Home</a><p>12 of 100</p>' in found
    assert 'href="../../static/icon.ico"' in found
    assert found.count("<style>") == 2


def test_a_page_that_was_made_so_before_stays_as_it_is() -> None:
    once = offline(PAGE)
    assert offline(once) == once


def test_the_newest_day_and_its_newest_run_come_first() -> None:
    pages = [
        Page("2026-01-01", "2026-01-09 03:00:00", "rows", "v/a.html", True, 0, 5),
        Page("2026-01-02", "2026-01-03 03:00:00", "rows", "v/b.html", False, 2, 5),
        Page("2026-01-02", "2026-01-04 03:00:00", "rows", "v/<c>.html", True, 0, 5),
        Page("2026-01-02", "2026-01-04 03:00:00", "hours", "v/d.html", True, 0, 1),
    ]
    text = index(pages)
    places = ["v/d.html", "v/&lt;c&gt;.html", "v/b.html", "v/a.html"]
    assert sorted(places, key=text.index) == places
    assert "2 of 5 not met" in text
    assert text.count("5 met") == 2
    assert "http" not in text
