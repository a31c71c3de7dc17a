"""HTML and SVG as values: whatever ``tag`` has not made is text, and text is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from pipelines.printable import spelt_out

VOID = frozenset({"meta"})


class Markup(str):
    """Text that is HTML already; made in this module, and of constants."""

    __slots__ = ()


Child = str | Iterable[str | None] | None


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """One element. Children: elements, texts, several of either, or None for nothing.

    ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``; an attribute that is None is left away. What does
    not print is spelt out, as in the terminal: ``\\x00`` would make the page invalid, and a change of the writing
    direction would show a value that is not there.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{given} />")
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Elements and texts one after the other."""
    return Markup("".join(_piece(child) for child in children))


def _piece(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return _escaped(child) if isinstance(child, str) else joined(*child)


def _escaped(text: str) -> str:
    return escape(spelt_out(text), quote=True)


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
