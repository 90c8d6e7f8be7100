"""Figures as HTML: tables with headings, bars and charts as drawings, shaded text.

Every number is also text; under each figure stands the same as lines of text. Nothing
rests on colour alone. Knows no instrument and no page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lmtui import notation, surprisal_scale
from lmtui.engine.types import Candidate, RankedCandidate
from lmtui.html_page import shown
from lmtui.learn.figure import (
    Bars,
    Cell,
    Chart,
    Column,
    Figure,
    Part,
    ShadedText,
    Table,
    Words,
)
from lmtui.learn.handout.chart_svg import chart_svg
from lmtui.learn.plain import CUTS, figure_lines
from lmtui.text import visible_token

_BAR, _HALF = 10, 5
"""Heights in a drawing that is 100 wide: of a bar, and of one of two."""


def figure_html(figure: Figure, name: str, before: str = "") -> str:
    """Return a figure under its heading, with `before` above it as HTML, and its lines
    of text folded below it."""
    parts = "\n".join(_part(part) for part in figure)
    lines = shown("\n".join(figure_lines(figure)))
    folded = "<summary>As text</summary>"
    text = f'\n<details class="lines">{folded}<pre>{lines}</pre></details>'
    kind = "figure result" if before else "figure"
    return (
        f'<section class="{kind}">\n<h2>{shown(name)}</h2>\n{before}{parts}'
        f"{text if figure else ''}\n</section>"
    )


def _mark(words: str) -> str:
    return f'<span class="mark">{words}</span>'


CHOSEN = f" {_mark('◂ chosen')}"


def _part(part: Part) -> str:
    match part:
        case Words(text=text, tone=tone):
            return f'<p class="words {tone}">{shown(text)}</p>'
        case Bars():
            return _bars(part)
        case Table():
            return _table(part)
        case ShadedText():
            return _shaded(part)
        case Chart():
            return f"<h3>{shown(part.title)}</h3>\n{chart_svg(part)}"


# Bars.


def _bars(bars: Bars) -> str:
    drawn = bars.rest_sampled_prob is not None
    heads = {"probability": "▀", "drawn": "▄"} if drawn else {"probability": ""}
    numbers = "".join(
        f'<th scope="col" class="n">{head}{_sign(sign)}</th>'
        for head, sign in heads.items()
    )
    rows = [_bar_row(row, chosen=row.id == bars.chosen) for row in bars.rows]
    rows.append(_rest_row(bars))
    rows += map(_pinned_row, bars.pinned)
    return (
        f'<div class="wide"><table class="bars"><caption>{shown(bars.title)}</caption>'
        f'\n<thead><tr><th scope="col">{shown(bars.unit)}</th>{numbers}<td></td></tr>'
        f"</thead>\n<tbody>\n{''.join(rows)}</tbody></table></div>{_note(bars.note)}"
    )


def _sign(sign: str) -> str:
    """Return the sign of a bar of two: the upper or the lower half."""
    return f' <span class="half" aria-hidden="true">{sign}</span>' if sign else ""


def _bar_row(row: Candidate, *, chosen: bool) -> str:
    marks = f" {_mark(f'(cut by {CUTS[row.cut]})')}" if row.cut else ""
    marks += CHOSEN if chosen else ""
    name = "chosen" if chosen else "cut" if row.cut else ""
    return (
        f'<tr class="{name}"><th scope="row"><code>{shown(visible_token(row.text))}'
        f"</code>{marks}</th>{_probs(row.prob, row.sampled_prob)}</tr>\n"
    )


def _pinned_row(row: RankedCandidate) -> str:
    name = f"<code>{shown(visible_token(row.candidate.text))}</code>"
    rank = _mark(f"rank {notation.count(row.rank)}")
    probs = _probs(row.candidate.prob, None)
    return f'<tr class="pinned"><th scope="row">{name} {rank}</th>{probs}</tr>\n'


def _rest_row(bars: Bars) -> str:
    hidden = bars.chosen is not None and all(r.id != bars.chosen for r in bars.rows)
    mark = CHOSEN if hidden else ""
    probs = _probs(bars.rest_prob, bars.rest_sampled_prob)
    return f'<tr class="rest"><th scope="row">all others{mark}</th>{probs}</tr>\n'


def _probs(prob: float, sampled: float | None) -> str:
    """Return the cells of a probability, of what the sampler draws with, and of their
    bars."""
    numbers = f'<td class="n">{notation.chance(prob)}</td>'
    if sampled is not None:
        numbers += f'<td class="n">{notation.chance(sampled)}</td>'
    return f'{numbers}<td class="b">{_drawn_bar(prob, sampled)}</td>'


def _drawn_bar(share: float, second: float | None = None) -> str:
    """Return a bar; with a second one, two halves above each other. The numbers stand
    beside it."""
    height = _BAR if second is None else _HALF
    rects = [f'<rect width="{_length(share)}" height="{height}"/>']
    if second is not None:
        rects.append(
            f'<rect class="second" width="{_length(second)}" y="{_HALF}" '
            f'height="{_HALF}"/>'
        )
    return (
        f'<svg class="bar" viewBox="0 0 100 {_BAR}" preserveAspectRatio="none" '
        f'aria-hidden="true">{"".join(rects)}</svg>'
    )


def _length(share: float) -> str:
    whole = 100 * min(1.0, max(0.0, share)) if math.isfinite(share) else 0
    return f"{whole:.5g}"


# Tables.


def _table(table: Table) -> str:
    caption = f"<caption>{shown(table.title)}</caption>" if table.title else ""
    classes = [_classes(table, number) for number in range(len(table.columns))]
    heads = ""
    if any(column.heading for column in table.columns):
        cells = "".join(map(_heading, table.columns, classes))
        heads = f"<thead><tr>{cells}</tr></thead>\n"
    rows = "".join(
        _row(cells, classes, marked=number == table.at)
        for number, cells in enumerate(table.rows)
    )
    name = "grown" if any(column.grows for column in table.columns) else ""
    return (
        f'<div class="wide"><table class="{name}">{caption}\n{heads}<tbody>\n{rows}'
        f"</tbody></table></div>{_note(table.note)}"
    )


def _classes(table: Table, number: int) -> str:
    """Return the classes of the cells of a column."""
    column = table.columns[number]
    known = {
        "n": column.right,
        "g": column.grows,
        "d": any(_is_drawing(row[number].text) for row in table.rows),
    }
    return " ".join(name for name, holds in known.items() if holds)


def _is_drawing(text: str) -> bool:
    """Return whether a text begins with lines or blocks, whose signs have to stand
    below each other."""
    return "\u2500" <= text.lstrip()[:1] <= "\u25a1"


def _heading(column: Column, name: str) -> str:
    if not column.heading:
        return f'<td class="{name}"></td>'
    return f'<th scope="col" class="{name}">{shown(column.heading)}</th>'


def _row(cells: Sequence[Cell], classes: Sequence[str], *, marked: bool) -> str:
    drawn = "".join(
        _cell(cell, name, first=not number)
        for number, (cell, name) in enumerate(zip(cells, classes, strict=True))
    )
    mark = ' class="at" aria-current="true"' if marked else ""
    return f"<tr{mark}>{drawn}</tr>\n"


def _cell(cell: Cell, name: str, *, first: bool) -> str:
    inner = shown(cell.text)
    if cell.surprisal is not None:
        step = surprisal_scale.step(cell.surprisal, "surprisal")
        inner = f'<span class="s{step}">{inner}</span>'
    if cell.share is not None:
        inner += _drawn_bar(cell.share, cell.second)
    names = " ".join(each for each in (name, cell.tone) if each)
    tag = "th" if first and cell.text else "td"
    scope = ' scope="row"' if tag == "th" else ""
    return f'<{tag}{scope} class="{names}">{inner}</{tag}>'


def _note(note: str) -> str:
    return f'\n<p class="note">{shown(note)}</p>' if note else ""


# Shaded text.


def _shaded(shaded: ShadedText) -> str:
    title = f"<h3>{shown(shaded.title)}</h3>\n" if shaded.title else ""
    tokens = "".join(
        _token(token.text, token.surprisal, marked=number == shaded.at)
        for number, token in enumerate(shaded.tokens)
    )
    legend = " ".join(
        f'<span class="s{step}">{shown(words)}</span>'
        for step, words in enumerate(surprisal_scale.explained("surprisal"))
    )
    unit = surprisal_scale.unit("surprisal")
    return (
        f'{title}<p class="shaded">{tokens}</p>\n'
        f'<p class="legend">surprisal: {legend} {unit}</p>'
    )


def _token(text: str, surprisal: float | None, *, marked: bool) -> str:
    names = ["at"] if marked else []
    about = ""
    if surprisal is not None:
        names.append(f"s{surprisal_scale.step(surprisal, 'surprisal')}")
        about = f' title="{notation.in_bits(surprisal)} bits"'
    lines = shown(text).split("\n")
    inner = '<span class="nl">\n</span>'.join(lines)
    return f'<span class="{" ".join(names)}"{about}>{inner}</span>'
