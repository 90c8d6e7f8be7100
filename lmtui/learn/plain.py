"""Figures and pages as lines of plain text, for shells and screen readers.

Every number that a bar or a shade shows on a screen is written out; nothing rests on
colour or position alone. Knows no terminal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from lmtui import notation
from lmtui.engine.sampling.stages import TABLE
from lmtui.engine.types import Candidate, Mark
from lmtui.learn.course import Page, Paragraph, Sentence, Span
from lmtui.learn.figure import (
    Bars,
    Chart,
    Figure,
    ShadedText,
    Table,
    Words,
)
from lmtui.text import visible_flow, visible_line, visible_token


def figure_lines(figure: Figure) -> Iterator[str]:
    """Yield the lines of a figure, with an empty one between two parts."""
    for number, part in enumerate(figure):
        if number:
            yield ""
        match part:
            case Words(text=text):
                yield from visible_flow(text).split("\n")
            case Bars():
                yield from _bars(part)
            case Table():
                yield from _table(part)
            case ShadedText():
                yield from _shaded(part)
            case Chart():
                yield from _chart(part)


def _bars(bars: Bars) -> Iterator[str]:
    yield visible_line(bars.title)
    for number, row in enumerate(bars.rows, 1):
        yield f"{number}. {_bar(row)}{' (chosen)' if row.id == bars.chosen else ''}"
    yield f"all others: {_probs(bars.rest_prob, bars.rest_sampled_prob)}"
    for each in bars.pinned:
        row = each.candidate
        yield (
            f"{visible_token(row.text)}: {notation.chance(row.prob)}, "
            f"rank {notation.count(each.rank)}"
        )
    if bars.note:
        yield visible_line(bars.note)


def _bar(row: Candidate) -> str:
    cut = f", cut by {CUTS[row.cut]}" if row.cut else ""
    return f"{visible_token(row.text)}: {_probs(row.prob, row.sampled_prob)}{cut}"


CUTS: Mapping[Mark, str] = {
    **{stage.mark: stage.settings[0].label for stage in TABLE},
    "b": "a ban",
    "s": "the grammar",
    "g": "greedy decoding",
}
"""The stage that cut a token, in words."""


def _probs(prob: float, sampled: float | None) -> str:
    shown = notation.chance(prob)
    return shown if sampled is None else f"{shown}, drawn {notation.chance(sampled)}"


def _table(table: Table) -> Iterator[str]:
    """Yield a table as one line a row, each number with its heading."""
    if table.title:
        yield visible_line(table.title)
    for number, row in enumerate(table.rows):
        mark = "> " if number == table.at else ""
        parts = (
            f"{column.heading} {visible_line(cell.text)}".strip()
            for column, cell in zip(table.columns, row, strict=True)
            if cell.text  # what a bar shows stands in another cell as a number
        )
        yield mark + ", ".join(parts)
    if table.note:
        yield visible_line(table.note)


def _shaded(shaded: ShadedText) -> Iterator[str]:
    if shaded.title:
        yield visible_line(shaded.title)
    for number, token in enumerate(shaded.tokens):
        mark = "> " if number == shaded.at else ""
        bits = notation.in_bits(token.surprisal)
        yield f"{mark}{visible_token(token.text)}: {bits} bits"


def _chart(chart: Chart) -> Iterator[str]:
    yield visible_line(chart.title)
    for level in chart.levels:
        yield f"line of {visible_line(level.name)}: {notation.rate(level.value)}"
    points = chart.points
    few = points if len(points) <= 12 else points[:: math.ceil(len(points) / 12)]
    if points and few[-1] != points[-1]:
        few = (*few, points[-1])
    for x, y in few:
        at = notation.number(x, ",g")
        yield f"{chart.x_label} {at}: {chart.y_label} {notation.rate(y)}"


def page_lines(page: Page, keys: Mapping[str, str]) -> Iterator[str]:
    """Yield the text of a page above its instrument; `keys` is what to write for each
    action that the text names."""
    yield page.title
    yield ""
    for paragraph in page.before:
        yield paragraph_text(paragraph, keys)
        yield ""


def paragraph_text(paragraph: Paragraph, keys: Mapping[str, str]) -> str:
    """Return a paragraph as one line."""
    return ("- " if paragraph.is_item else "") + sentence_text(paragraph.spans, keys)


def sentence_text(sentence: Sentence, keys: Mapping[str, str]) -> str:
    """Return a sentence without its styles."""
    return "".join(span_text(span, keys) for span in sentence)


def span_text(span: Span, keys: Mapping[str, str]) -> str:
    """Return a part of a sentence as a text that needs no style: what is to be typed
    stands in quotes."""
    if span.style == "key":
        return keys.get(span.text, span.text)
    return f"“{span.text}”" if span.style == "code" else span.text
