"""Writes scored texts as one self-contained HTML page.

Foreign text can't run there: it is made visible, embedded as JSON, and shown by the
script as text only; the page's policy forbids other scripts and all addresses. Pure;
knows no engine and writes no file.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

from lmtui import html_page, surprisal_scale
from lmtui.analysis.compare import ComparedSpan, PlacedToken
from lmtui.analysis.summary import Span, Summary, page_fields
from lmtui.engine.types import ScoredToken
from lmtui.text import visible_flow, visible_line, visible_token

# Escaped, so that no text can close the script element that holds the JSON.
_IN_ELEMENT = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


class Cells:
    """The cells of one text: the units that the page shades and navigates.

    A cell holds a token, several that share a character, or text that no token covers.
    """

    def __init__(self, text: str, *, top_n: int) -> None:
        self._text = text
        self._top = top_n
        self._cells: list[str] = []
        self._drawn = 0
        self._line = self._column = 1
        self._open: list[ComparedSpan] = []
        self._span: Span = (0, 0)

    def add(self, piece: ComparedSpan) -> None:
        """Add the next span of the text."""
        start, end = piece.span
        if start < self._span[1]:
            self._span = (self._span[0], max(self._span[1], end))
        else:
            self._close()
            self._span = (start, end)
        self._open.append(piece)

    def finish(self) -> str:
        """Return all cells as JSON."""
        self._close()
        self._put(self._text[self._drawn :], ())
        return f"[{','.join(self._cells)}]"

    def _close(self) -> None:
        start, end = self._span
        self._put(self._text[self._drawn : start], ())
        if self._open:
            self._put(self._text[start:end], self._open)
        self._drawn = end
        self._open = []

    def _put(self, text: str, spans: Sequence[ComparedSpan]) -> None:
        if not (text or spans):
            return
        tokens = [self._token(each) for piece in spans for each in piece.tokens]
        others = [self._token(each) for piece in spans for each in piece.others]
        cell = [text, self._line, self._column, tokens]
        self._cells.append(_json([*cell, others] if others else cell))
        self._line += text.count("\n")
        after = text.rfind("\n")
        self._column = len(text) - after + (self._column - 1 if after < 0 else 0)

    def _token(self, placed: PlacedToken) -> list[Any]:
        token, _ = placed
        rows, bounds = self._rows(token), _bounds(token)
        numbers = [visible_token(token.text), token.logprob, token.rank, token.entropy]
        if bounds:
            return [*numbers, rows, bounds]
        return [*numbers, rows] if rows else numbers

    def _rows(self, token: ScoredToken) -> list[list[Any]]:
        return [
            [visible_token(row.text), row.logprob, int(row.id == token.id)]
            for row in token.top[: self._top]
        ]


def _bounds(token: ScoredToken) -> list[Any]:
    """Return what is known of rank and entropy where a server lists only some tokens:
    a number that the rank is above, least and greatest entropy; empty elsewhere."""
    if token.rank_above is None and token.entropy_range is None:
        return []
    return [token.rank_above, *(token.entropy_range or (None, None))]


def text_data(cells: str, facts: Mapping[str, Any]) -> str:
    """Return one text of the page as JSON: its cells and its totals."""
    return f'{_json(facts)[:-1]},"cells":{cells}}}'


def scales() -> list[dict[str, Any]]:
    """Return the steps of each measure, the same as on the screen and the command
    line."""
    bounds: dict[surprisal_scale.Shade, Sequence[float]] = {
        "surprisal": surprisal_scale.BOUNDS,
        "rank": surprisal_scale.RANKS,
        "entropy": surprisal_scale.BOUNDS,
        "probability": surprisal_scale.PROBS,
        "difference": surprisal_scale.DIFFERENCES,
    }
    return [
        {
            "name": name,
            "unit": surprisal_scale.unit(name),
            "bounds": list(found),
            "names": surprisal_scale.explained(name),
        }
        for name, found in bounds.items()
    ]


def page(title: str, texts: Iterable[str], total: Sequence[Mapping[str, Any]]) -> str:
    """Return the whole page; `total` holds the totals of several texts, by model."""
    told = _json(list(total)) if total else "null"
    style = _asset("shades.css") + _asset("page.css")
    script = _asset("page.js")
    return Template(_asset("page.html")).substitute(
        title=html.escape(visible_line(title)),
        policy=html_page.policy(style=style, script=script),
        style=style,
        script=script,
        data=f'{{"texts":[{",".join(texts)}],"total":{told},"scales":{_json(scales())}}}',
    )


def page_of_text(
    name: str, text: str, tokens: Sequence[PlacedToken], summary: Summary
) -> str:
    """Return the page of one text, all of whose tokens are scored."""
    cells = Cells(text, top_n=0)
    for placed in tokens:
        cells.add(ComparedSpan((placed,)))
    (own,) = page_fields(summary)
    facts = {"file": visible_line(name), "own": own}
    return page(name, [text_data(cells.finish(), facts)], [])


def _asset(name: str) -> str:
    return html_page.asset("lmtui.analysis.html", name)


def _json(value: Any) -> str:
    told = json.dumps(_harmless(value), ensure_ascii=False, separators=(",", ":"))
    return told.translate(_IN_ELEMENT)


def _harmless(value: Any) -> Any:
    """Return `value` fit for JSON.

    Invisible characters in its texts are made visible; NaN and infinity become None.
    """
    if isinstance(value, str):
        return visible_flow(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _harmless(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(item) for item in value]
    return value
