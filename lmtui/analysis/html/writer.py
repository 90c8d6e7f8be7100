"""Writes scored texts as one self-contained HTML page.

Foreign text can't run there: it is made visible, embedded as JSON, and shown by the
script as text only; the page's policy forbids other scripts and all addresses. Pure;
knows no engine and writes no file.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

from lmtui import html_page, surprisal_scale
from lmtui.analysis.compare import ComparedSpan, PlacedToken, covered
from lmtui.engine.scoring.totals import typicality
from lmtui.partial import EntropyRange, RankAbove, exact_entropy, exact_rank
from lmtui.text import visible_flow, visible_line, visible_token

# Escaped, so that no text can close the script element that holds the JSON.
_IN_ELEMENT = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


def cells(
    text: str,
    spans: Iterable[ComparedSpan],
    *,
    top_n: int,
    parts: Sequence[tuple[int, int]] = (),
) -> str:
    """Return the cells of a text as JSON: the units that the page shades and walks.

    A cell holds a part of the text, its line and column, and its tokens by each model;
    a part that no token covers has none. With `parts`, ranges of code points in order,
    it has the number of the one that its first letter is in, too.
    """
    drawn, start, line, column = list[str](), 0, 1, 1
    for part, together in covered(text, spans):
        tokens = [_token(t, top_n) for span in together for t in span.tokens]
        others = [_token(t, top_n) for span in together for t in span.others]
        cell = [part, line, column, tokens]
        if others:
            cell.append(others)
        elif parts:
            letter = (len(part) - len(part.lstrip())) % max(1, len(part))
            cell += [None, _part_at(parts, start + letter)]
        drawn.append(_json(cell))
        start += len(part)
        line += part.count("\n")
        after = part.rfind("\n")
        column = len(part) - after + (column - 1 if after < 0 else 0)
    return f"[{','.join(drawn)}]"


def _part_at(parts: Sequence[tuple[int, int]], at: int) -> int | None:
    index = bisect_right(parts, at, key=lambda part: part[0]) - 1
    return index if index >= 0 and at < parts[index][1] else None


def _token(placed: PlacedToken, top_n: int) -> list[Any]:
    token, _ = placed
    rows = [
        [visible_token(row.text), row.logprob, int(row.id == token.id)]
        for row in token.top[:top_n]
    ]
    rank, entropy = exact_rank(token.rank), exact_entropy(token.entropy)
    z = typicality(token)
    numbers = [visible_token(token.text), token.logprob, rank, entropy, z]
    if rank == token.rank and entropy == token.entropy:
        return [*numbers, rows] if rows else numbers
    # What is known of rank and entropy where a server lists only some tokens: a number
    # that the rank is above, least and greatest entropy.
    above = token.rank.listed if isinstance(token.rank, RankAbove) else None
    spread = token.entropy if isinstance(token.entropy, EntropyRange) else (None, None)
    return [*numbers, rows, [above, *spread]]


def text_data(cells: str, facts: Mapping[str, Any]) -> str:
    return f'{_json(facts)[:-1]},"cells":{cells}}}'


def scales() -> list[dict[str, Any]]:
    """Return the steps of each measure, the same as on the screen and the command
    line."""
    bounds: dict[surprisal_scale.Shade, Sequence[float]] = {
        "surprisal": surprisal_scale.BOUNDS,
        "rank": surprisal_scale.RANKS,
        "entropy": surprisal_scale.BOUNDS,
        "probability": surprisal_scale.PROBS,
        "typicality": surprisal_scale.TYPICALITIES,
        "difference": surprisal_scale.DIFFERENCES,
    }
    return [
        {
            "name": name,
            "unit": surprisal_scale.unit(name),
            "bounds": list(steps),
            "names": surprisal_scale.explained(name),
        }
        for name, steps in bounds.items()
    ]


def page(title: str, text: str) -> str:
    """Return the whole page of a text, as `text_data` gives it."""
    data = f'{{"text":{text},"scales":{_json(scales())}}}'
    body = Template(_asset("page.html")).substitute(
        title=html_page.shown(visible_line(title)), data=data
    )
    style = _asset("shades.css") + _asset("page.css")
    return html_page.page(
        visible_line(title), body, style=style, script=_asset("page.js")
    )


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
