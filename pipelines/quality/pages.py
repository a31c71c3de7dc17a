"""The pages of Great Expectations, made to open without network, and an index of them. Text in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

_REMOTE_STYLE = re.compile(r"<link\b[^>]*\bhref=[\"']https?:[^>]*>", re.IGNORECASE)
_SCRIPT = re.compile(r"<script\b[^>]*>.*?</script\s*>", re.IGNORECASE | re.DOTALL)
_REMOTE_IMAGE = re.compile(r"<img\b[^>]*\bsrc=[\"']https?:[^>]*>", re.IGNORECASE)
_REMOTE_URL = re.compile(r"url\(\s*[\"']?https?:[^)]*\)", re.IGNORECASE)
_FOOTER = re.compile(r"<footer\b.*?</footer\s*>", re.IGNORECASE | re.DOTALL)
_FONT_FACE = re.compile(r"@font-face\s*\{[^}]*\}")
_HEAD_END = re.compile(r"</head\s*>", re.IGNORECASE)

STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #18794e; --bad: #c62a2f; }
@media (prefers-color-scheme: dark) { :root { --good: #4cc38a; --bad: #ff6369; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 0 1rem 3rem; }
a { color: inherit; }
nav.navbar { height: auto !important; padding: .75rem 0; border-bottom: 1px solid var(--line); }
ol.breadcrumb, ul.nav { list-style: none; margin: 0; padding: 0; }
ol.breadcrumb li { display: inline; }
ol.breadcrumb li + li::before { content: " › "; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top; }
.alert { margin: 1.5rem 0 .5rem; font-weight: 600; }
.alert h5, .alert h6, h6 { display: inline; font-size: 1.1rem; margin: 0; }
.badge { border: 1px solid var(--line); border-radius: .3rem; padding: 0 .3rem; }
.text-danger { color: var(--bad); } .text-success { color: var(--good); }
.fa-times::before { content: "✗"; } .fa-check-circle::before { content: "✓"; }
.fa-exclamation-triangle::before { content: "!"; } i { font-style: normal; font-weight: 700; }
a[data-toggle=collapse], .card:has(.btn-group-toggle), .cooltip .top { display: none !important; }
.collapse { font-size: .9em; opacity: .85; }
"""
"""Ours, instead of the style sheets that the pages load from elsewhere."""


@dataclass(frozen=True, slots=True, order=True)
class Page:
    """One page of results. ``day``, ``at``: as texts that sort by time. ``place``: relative to the index."""

    day: str
    at: str
    suite: str
    place: str
    is_success: bool
    failed: int
    evaluated: int


def offline(html: str) -> str:
    """The page without scripts and without anything that a browser would fetch from another host; links stay.

    A page that is so already stays as it is.
    """
    if STYLE in html:
        return html
    for pattern in (_REMOTE_STYLE, _SCRIPT, _FOOTER, _FONT_FACE):
        html = pattern.sub("", html)
    html = _REMOTE_IMAGE.sub("<strong>Data quality</strong>", html)
    html = _REMOTE_URL.sub("none", html)
    return _HEAD_END.sub(lambda end: f"<style>{STYLE}</style>{end[0]}", html, count=1)


def index(pages: Iterable[Page]) -> str:
    """The first page: every run, the newest day and its newest run first."""
    rows = "\n".join(_row(page) for page in sorted(pages, key=_newest_first))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data quality</title><style>{STYLE}</style></head>
<body><h1>Data quality</h1>
<table><thead><tr><th>day</th><th>checked at (UTC)</th><th>about</th><th>result</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def _newest_first(page: Page) -> tuple[int, int, str]:
    digits = (int("".join(filter(str.isdigit, text)) or 0) for text in (page.day, page.at))
    day, at = digits
    return -day, -at, page.suite


def _row(page: Page) -> str:
    style, text = ("text-success", f"{page.evaluated} met") if page.is_success else ("text-danger", _failed(page))
    link = f'<a href="{escape(page.place)}">{escape(page.suite)}</a>'
    cells = (escape(page.day), escape(page.at), link, f'<span class="{style}">{text}</span>')
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _failed(page: Page) -> str:
    return f"{page.failed} of {page.evaluated} not met"
