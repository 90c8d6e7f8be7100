"""The blocks of Markdown, and the names and CSS of their styles."""

from __future__ import annotations

import re
from dataclasses import dataclass

STYLES = (
    "heading", "code", "bullet", "quote", "link", "rule",
    "keyword", "string", "number", "comment", "name",
)  # fmt: skip
"""Names of the styles; the last five are for parts of code."""

CLASSES = {f"markdown--{name}" for name in STYLES}
"""The component classes of a widget that draws Markdown."""
SHEET = """
        & > .markdown--heading { color: $primary; text-style: bold; }
        & > .markdown--code { background: $surface; }
        & > .markdown--bullet { color: $accent; }
        & > .markdown--quote { color: $quiet; }
        & > .markdown--link { color: $quiet; text-style: underline; }
        & > .markdown--rule { color: $quiet; }
        & > .markdown--keyword { color: $accent; text-style: bold; }
        & > .markdown--string { color: $success; }
        & > .markdown--number { color: $warning; }
        & > .markdown--comment { color: $quiet; text-style: italic; }
        & > .markdown--name { color: $primary; }
"""
"""CSS rules for the component classes, to be put within the widget's own rule."""

# Begins with a letter: a line can begin with a number or a mark that starts a list or
# another block. Holds no character that has a meaning within a line.
_PLAIN = re.compile(r"[^\W\d_][^\\`*_~\[\]<>|#&\t\n]*")


@dataclass(frozen=True, slots=True)
class MarkdownBlock:
    """A part of a text that is drawn on its own: a paragraph, a list item, a code
    block."""

    source: str
    kind: str = "paragraph_open"
    """The type of its first token in markdown-it."""
    joined: bool = False
    """Whether no empty line separates it from the block before."""


def is_plain(source: str) -> bool:
    """Return whether a paragraph is one line of words without markup: then words that
    follow never change how its beginning is drawn."""
    return _PLAIN.fullmatch(source) is not None
