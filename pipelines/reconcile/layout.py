"""What the page is put together from: sections, tables, boxes that scroll by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.reconcile.markup import Child, Markup, tag

NONE = "–"


def section(name: str, title: str, *children: Child) -> Markup:
    """A part of the page that a link can lead to."""
    return tag("section", tag("h2", title, id=f"{name}-title"), *children, id=name, aria_labelledby=f"{name}-title")


def table(caption: str, headings: Sequence[str], rows: Sequence[Markup], class_: str | None = None) -> Markup:
    """A table in a box that scrolls. A heading that begins with ``#`` stands above numbers."""
    heads = [
        tag("th", heading.removeprefix("#"), scope="col", class_="number" if heading.startswith("#") else None)
        for heading in headings
    ]
    body = tag("table", tag("caption", caption), tag("thead", tag("tr", heads)), tag("tbody", rows), class_=class_)
    return scroll(caption, body)


def number(value: int) -> Markup:
    """A cell with a number."""
    return tag("td", f"{value:,}", class_="number")


def scroll(name: str, content: Markup) -> Markup:
    """A box that scrolls sideways where it is too narrow, by keyboard too."""
    return tag("div", content, class_="scroll", role="region", aria_label=name, tabindex="0")


def chart(name: str, drawing: Markup, keys: Sequence[Markup], said: str) -> Markup:
    """A chart with what its colours and shapes mean."""
    return tag("figure", scroll(name, drawing), tag("figcaption", tag("ul", keys, class_="keys"), said))


def key(drawing: Markup, name: str, box: str) -> Markup:
    """One line of a chart's legend; ``box``: what of the drawing's plane is shown."""
    return tag("li", tag("svg", drawing, viewBox=box, aria_hidden="true"), name)
