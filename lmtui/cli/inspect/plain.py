"""`lmtui inspect --plain`: the shaded text, and a summary of one or two models.

The layout is 80 columns wide. Control characters in foreign text are made visible.
Knows no engine.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from lmtui import notation
from lmtui import surprisal_scale as scale
from lmtui.analysis.compare import (
    NOTICEABLE,
    ComparedSpan,
    Comparison,
    Unit,
    common_figures,
    covered,
)
from lmtui.analysis.summary import RANKS, Summary, Totals, figures, known_by_heart
from lmtui.cli.inspect.score import ScoredRow, TextScores
from lmtui.engine.types import EngineInfo, ScoredToken
from lmtui.models.source import short_label, short_labels
from lmtui.notation import bits, counted
from lmtui.text import visible, visible_line, visible_token

SURPRISE = (
    "dim",
    "none",
    "cyan underline",
    "magenta bold underline",
    "red reverse",
    "red bold reverse underline",
)

DIFFERENCE = (
    "red bold reverse",
    "red reverse",
    "red italic",
    "dim",
    "cyan underline",
    "cyan bold underline",
    "cyan bold italic underline",
)
"""Style of each step of difference: how much more another model expected the text."""

_PLAIN = {"dim", "none"}  # too weak to mark newlines

_CELLS = 24  # width of a token in a table
_LABELS = (
    notation.LOG_PROB,
    notation.SURPRISAL,
    notation.PERPLEXITY,
    notation.PER_BYTE,
    notation.PER_CHARACTER,
)
_NAMED = 17  # width of the column of names
_LISTED = 10  # rows in a table of tokens
_BLOCKS = "▁▂▃▄▅▆▇█"
_UNITS: dict[Unit, str] = {
    "token": "tokens",
    "span": "parts of the text that both cut alike, since their tokens differ",
}
_PART = 4096  # characters of one line that are drawn at once


def surprise_style(value: float | None) -> str:
    return "none" if value is None else SURPRISE[scale.step(value, "surprisal")]


def difference_style(value: float | None) -> str:
    middle = len(DIFFERENCE) // 2
    return (
        "none" if value is None else DIFFERENCE[scale.difference_step(value) + middle]
    )


def _sign(difference: float | None) -> str:
    """Return the sign of a difference that is large enough."""
    if difference is None or abs(difference) < scale.SIGNED:
        return ""
    return "⁺" if difference > 0 else "⁻"


def legend_of(measure: scale.Shade, styles: Sequence[str]) -> Text:
    legend = Text(f"{measure}  ")
    for words, style in zip(scale.explained(measure), styles, strict=True):
        legend.append(words, style)
        legend.append("  ")
    return legend.append(scale.unit(measure))


def summary_of(row: ScoredRow, alternatives: bool) -> list[RenderableType]:
    """Return one model's results on a text: numbers, and most surprising tokens.

    With `alternatives`, each of these stands beside the most probable other token.
    """
    totals = row.own.totals
    parts: list[RenderableType] = [numbers(row.own)]
    if totals.scored:
        parts.append(_worst(row, alternatives=alternatives))
    return parts


def comparison_of(row: ScoredRow) -> list[RenderableType]:
    """Return two models' results on a text: numbers, difference, most changed parts."""
    assert row.other and row.comparison
    parts: list[RenderableType] = [
        _both(row.own, row.other, row.comparison),
        _difference(row.comparison),
    ]
    most = row.comparison.most()[:_LISTED]
    if most:
        parts.append(_changed(row.document.text, most))
    return parts


def numbers(summary: Summary) -> Text:
    totals, info = summary.totals, summary.info
    known = figures(totals)
    rows = {
        "tokens": f"{totals.tokens:,}, {_scored(totals)}",
        **{label.full: known[label.full] for label in _LABELS},
        "known by heart?": _wrapped(known_by_heart(totals)),
        "ranks": _ranks(totals),
        "entropy": _entropies(totals.entropies),
        "model": model_name(info),
        "windows": _windows(summary),
    }
    if not rows["known by heart?"]:
        del rows["known by heart?"]
    if not totals.scored:
        del rows["ranks"], rows["entropy"]
    elif not any(totals.entropies):
        rows["entropy"] = "a range for each token, as the server lists only some"
    if summary.rewritten:
        many = counted(summary.rewritten, "character")
        rows["rewritten"] = f"{many} of the text, which the tokenizer reads as others"
    return _rows(rows)


def _scored(totals: Totals) -> str:
    if totals.tokens and not totals.scored:
        return "0 scored: the first has no context (--bos yes gives it one)"
    return f"{totals.scored:,} scored"


def model_name(info: EngineInfo) -> str:
    """Return the short label of a model, since a path is private, and wide; with its
    precision and number format."""
    label = visible_line(short_label(info.label))
    return f"{label} ({info.precision}, {info.number_format})"


def _windows(summary: Summary) -> str:
    windows = summary.windows
    return f"{windows.window:,}, stride {windows.stride:,}, {_before(summary)}"


def _before(summary: Summary) -> str:
    """Describe what each window begins with, and the origin of a message's ids."""
    if summary.stored is None:
        return "with BOS" if summary.bos else "without BOS"
    ids = "kept ids" if summary.stored else "re-tokenised"
    return f"after {summary.before:,} tokens, {ids}"


def _wrapped(sentence: str) -> str:
    """Wrap a sentence behind the column of names."""
    margin = " " * _NAMED
    return textwrap.fill(
        sentence, 80, initial_indent=margin, subsequent_indent=margin
    ).strip()


def _rows(rows: dict[str, str]) -> Text:
    lines = [Text.assemble((f"{name:<{_NAMED}}", "bold"), rows[name]) for name in rows]
    return Text("\n").join(lines)


def _ranks(totals: Totals) -> str:
    whole = max(sum(totals.ranks) + totals.unlisted, 1)
    names = ["1st", *(f"{a + 1:,}–{b:,}" for a, b in pairwise(RANKS)), "rest"]
    shares = list(zip(names, totals.ranks, strict=True))
    if totals.unlisted:
        shares.append(("not listed", totals.unlisted))
    return "  ".join(
        f"{name} {notation.percent(count / whole)}" for name, count in shares
    )


def _bars(counts: Sequence[int]) -> str:
    """Draw a block for each count, scaled to the largest; a space for 0."""
    most = max(*counts, 1)
    heights = (-(-count * len(_BLOCKS) // most) for count in counts)
    return "".join(_BLOCKS[height - 1] if height else " " for height in heights)


def _entropies(counts: Sequence[int]) -> str:
    """Draw how many tokens have each entropy, and say how many the highest block is."""
    most = notation.percent(max(counts) / max(1, sum(counts)))
    return f"{_bars(counts)}  0 to 11 bits, and more; █ is {most}"


def _worst(row: ScoredRow, *, alternatives: bool) -> Table:
    table = _table("most surprising", "bits", "rank")
    if alternatives:
        table.add_column("best other", no_wrap=True)
    for token, span in row.own.totals.worst()[:_LISTED]:
        surprisal = bits(token.logprob or 0.0)
        cells = [
            Text(notation.location(row.document.text, span[0])),
            Text(notation.in_bits(surprisal)),
            Text(notation.rank(token.rank)),
            _clipped(token.text, surprise_style(surprisal)),
        ]
        table.add_row(*cells, *([_best_other(token)] if alternatives else []))
    return table


def _table(name: str, *numbers: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")
    for heading in ("line:col", *numbers):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(name, no_wrap=True)
    return table


def _clipped(token: str, style: str = "none") -> Text:
    # Styled by append: a style of the whole Text would fill the rest of the cell.
    drawn = Text().append(visible_token(token), style)
    drawn.truncate(_CELLS, overflow="ellipsis")
    return drawn


def _best_other(token: ScoredToken) -> Text:
    other = next((row for row in token.top if row.id != token.id), None)
    if other is None:
        return Text("–")
    return _clipped(other.text).append(f"  {notation.likely(other.prob)}")


def _both(own: Summary, other: Summary, comparison: Comparison) -> Table:
    """Return both models' totals: first of the text that both scored, then of all that
    each did."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for label in short_labels(own.info.label, other.info.label):
        table.add_column(Text(visible_line(label)), justify="right")
    columns = zip(_measures(own), _measures(other), strict=True)
    rows = [(name, value, another) for (name, value), (_, another) in columns]
    for name, *cells in (*common_figures(comparison), *rows):
        table.add_row(Text(name, "bold"), *map(Text, cells))
    return table


def _measures(summary: Summary) -> list[tuple[str, str]]:
    return [
        *figures(summary.totals).items(),
        ("precision", f"{summary.info.precision}, {summary.info.number_format}"),
        ("window", f"{summary.windows.window:,}"),
        ("stride", f"{summary.windows.stride:,}"),
        ("begins", _before(summary)),
    ]


def _difference(comparison: Comparison) -> Text:
    whole = comparison.bits
    words = "the other model expected the text {}"
    if whole is None:
        result = "nothing could be compared"
    elif abs(whole) < NOTICEABLE / 2:
        result = f"{notation.difference(whole)} bits: the same"
    else:
        more = words.format("more" if whole > 0 else "less")
        result = f"{notation.difference(whole)} bits: {more}"
    return _rows(
        {
            "difference": result,
            "compared": f"{comparison.compared:,} {_UNITS[comparison.unit]}",
            "changed": f"{comparison.more:,} by +{NOTICEABLE:g} bit or more, "
            f"{comparison.less:,} by −{NOTICEABLE:g} or more",
        }
    )


def _changed(text: str, most_changed: Sequence[ComparedSpan]) -> Table:
    table = _table("changed most", "difference", "bits", "other bits")
    for piece in most_changed:
        start, end = piece.span
        difference = piece.bits or 0.0
        table.add_row(
            Text(notation.location(text, start)),
            Text(notation.difference(difference)),
            Text(notation.surprisal(piece.logprob)),
            Text(notation.surprisal(piece.other_logprob)),
            _clipped(text[start:end], difference_style(difference)),
        )
    return table


class _Console(Console):
    """Console that raises BrokenPipeError for a closed pipe, as `guarded` expects."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def terminal_console(*, no_color: bool = False) -> Console:
    """Return a Rich console on stdout, without markup, highlighting and emoji."""
    return _Console(
        file=sys.stdout,
        no_color=no_color or None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def write_plain(
    console: Console, scores: TextScores, *, heading: bool, alternatives: bool
) -> None:
    """Write a text while it is scored, then the legend and the summary.

    With another model it is shaded by how much more that one expected each part, not by
    the surprisal under the first one.
    """
    document, compares = scores.document, scores.compares
    if heading:
        console.rule(Text(visible_line(document.name)), align="left")
    lines = _Lines(console)
    for text, spans in covered(document.text, scores.pieces()):
        values = [span.bits if compares else _bits(span.logprob) for span in spans]
        known = [value for value in values if value is not None]
        value = sum(known) if known else None
        style = difference_style(value) if compares else surprise_style(value)
        lines.add(text, style, _sign(value) if compares else "")
    lines.flush(newline=lines.is_begun or not document.text.endswith("\n"))
    console.print()
    if console.is_terminal:
        shade: tuple[scale.Shade, Sequence[str]] = ("surprisal", SURPRISE)
        if compares:
            shade = "difference", DIFFERENCE
        console.print(legend_of(*shade), soft_wrap=True)
        console.print()
    row = scores.row()
    parts = comparison_of(row) if compares else summary_of(row, alternatives)
    for index, part in enumerate(parts):
        if index:
            console.print()
        console.print(part, soft_wrap=isinstance(part, Text))
    if heading:
        console.print()


def _bits(logprob: float | None) -> float | None:
    return None if logprob is None else bits(logprob)


class _Lines:
    """Lines of shaded text, printed as they are complete."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line = Text()

    @property
    def is_begun(self) -> bool:
        return bool(self._line)

    def add(self, text: str, style: str, sign: str) -> None:
        shown = visible(text)
        if self._console.is_terminal:
            if style not in _PLAIN:
                shown = shown.replace("\n", "⏎\n")
            if sign:
                body = shown.rstrip()
                shown = f"{body}{sign}{shown[len(body) :]}"
        for part in shown.splitlines(keepends=True):
            self._line.append(part.removesuffix("\n"), style)
            if part.endswith("\n"):
                self.flush(newline=True)
            elif len(self._line) > _PART:
                self.flush(newline=False)

    def flush(self, *, newline: bool) -> None:
        if newline or self._line:
            end = "\n" if newline else ""
            self._console.print(self._line, soft_wrap=True, end=end)
            self._line = Text()
