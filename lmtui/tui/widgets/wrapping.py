"""Paragraphs of styled parts, broken into lines.

Pure functions. What may not be broken is broken only where it is longer than a line,
and never within a character and its marks. What comes in is visible already. Knows no
widget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len

from lmtui.tui.widgets.breaking import WORDS
from lmtui.tui.widgets.cells import clusters, tame_heaps
from lmtui.tui.widgets.styled_lines import Line, Part


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Parts that follow each other; they hold no newline."""

    parts: tuple[Part, ...] = ()
    indent: int = 0
    """Cells before every line but the first."""


def paragraphs(text: str, style: str = "", *, indent: int = 0) -> list[Paragraph]:
    """A paragraph for each line of a text."""
    return [Paragraph(((line, style),), indent) for line in text.split("\n")]


def wrapped(paragraph: Paragraph, width: int) -> list[Line]:
    """The lines of a paragraph in so many cells, at least one."""
    if width <= 0:
        return [()]
    if _fits(paragraph, width):
        return [[(tame_heaps(text), style) for text, style in paragraph.parts]]
    indent = min(paragraph.indent, width // 2, max(0, width - 2))
    lines: list[Line] = []
    line: list[Part] = []
    used = 0
    for text, style in _pieces(paragraph, width - indent):
        size = cell_len(text)
        if used + size > width:
            lines.append(line)
            line, used = [(" " * indent, "")], indent
            if text.isspace():
                continue
        line.append((text, style))
        used += size
    return [*lines, line]


def _fits(paragraph: Paragraph, width: int) -> bool:
    size = sum(len(text) for text, _ in paragraph.parts)
    if size > width:
        return False
    return sum(cell_len(text) for text, _ in paragraph.parts) <= width


def _pieces(paragraph: Paragraph, width: int) -> Iterator[Part]:
    """Words and spaces, none wider than a line."""
    for text, style in paragraph.parts:
        for word in WORDS.findall(tame_heaps(text)):
            if cell_len(word) <= width:
                yield word, style
                continue
            held, size = "", 0
            for cluster in clusters(word):
                if held and size + cell_len(cluster) > width:
                    yield held, style
                    held, size = "", 0
                held += cluster
                size += cell_len(cluster)
            yield held, style
