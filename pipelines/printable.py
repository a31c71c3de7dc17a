"""Text from outside, made fit to be shown. Standard library only."""

from __future__ import annotations


def spelt_out(text: str) -> str:
    """The text with ``\\x1b`` and the like for whatever does not print: a value must not command the terminal.

    These are control characters, line breaks, changes of the writing direction, and halves of surrogate pairs.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
