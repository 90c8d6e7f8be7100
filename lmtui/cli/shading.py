"""A scored text on a terminal: shaded by surprisal, then summed up.

Owns how surprise looks. Each step of the ramp has a colour and, for those without
colours, an attribute of its own. All foreign text is made visible first and is
never parsed as markup. Knows no engine.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmtui.cli.inspect import Summary
from lmtui.engine.sums import LN2, bits
from lmtui.engine.types import Candidate, ScoredToken
from lmtui.inspect.summary import Span
from lmtui.reading import Document
from lmtui.text import visible, visible_line, visible_token

RAMP: tuple[tuple[float, str, str], ...] = (
    (1, "under 1 bit", "dim"),
    (3, "1–3", "none"),
    (6, "3–6", "cyan underline"),
    (10, "6–10", "magenta bold underline"),
    (15, "10–15", "red reverse"),
    (float("inf"), "15 and more", "red bold reverse underline"),
)
"""Upper bound in bits, name and style of each step of surprise."""

_NOTICEABLE = {style for _, _, style in RAMP[2:]}
"""Steps at which a newline is drawn too, since its surprise could not be seen."""

_PART = 4096  # characters of one line that are drawn together
_CELLS = 24  # width of a token in the table


class _Console(Console):
    """A console that leaves a closed pipe to the edge of the program."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def terminal_console(*, no_color: bool = False) -> Console:
    """Stdout as Rich writes to it; nothing is parsed or coloured by itself."""
    return _Console(
        file=sys.stdout,
        no_color=no_color or None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def style_of(surprisal: float | None) -> str:
    """The style of a text with this surprisal in bits."""
    if surprisal is None:
        return "none"
    return next(style for bound, _, style in RAMP if surprisal < bound)


class PlainView:
    """The text as it comes, then legend, totals and the most surprising tokens."""

    def __init__(self, console: Console, *, headings: bool = False) -> None:
        self._console = console
        self._headings = headings
        self._source = ""
        self._drawn = 0
        self._open: tuple[int, int] = (0, 0)
        self._surprisal: float | None = None
        self._line = Text()

    def start(self, document: Document) -> None:
        """Begin a text, under its name where there are several."""
        self._source = document.text
        self._drawn = 0
        self._open, self._surprisal = (0, 0), None
        if self._headings:
            self._console.rule(Text(visible_line(document.name)), align="left")

    def token(self, token: ScoredToken, span: Span) -> None:
        """Take one token; those that share a character are drawn together, with the
        surprisal of all of them."""
        start, end = self._open
        surprisal = None if token.logprob is None else bits(token.logprob)
        if span[0] < end:
            self._open = (start, max(end, span[1]))
            self._surprisal = _sum(self._surprisal, surprisal)
            return
        self._close()
        self._open, self._surprisal = span, surprisal

    def end(self, summary: Summary) -> None:
        """Draw what is left, and sum up."""
        self._close()
        self._draw(self._source[self._drawn :], "none")
        self._flush(newline=bool(self._line) or not self._source.endswith("\n"))
        self._console.print()
        if self._console.is_terminal:
            self._console.print(_legend(), soft_wrap=True)
            self._console.print()
        self._console.print(_numbers(summary), soft_wrap=True)
        if summary.totals.scored:
            self._console.print()
            self._console.print(_worst(summary))
        if self._headings:
            self._console.print()

    def _close(self) -> None:
        """Draw the open tokens, and before them what no token covers."""
        start, end = self._open
        self._draw(self._source[self._drawn : start], "none")
        self._draw(self._source[start:end], style_of(self._surprisal))
        self._drawn = end

    def _draw(self, text: str, style: str) -> None:
        shown = visible(text)
        if style in _NOTICEABLE and self._console.is_terminal:
            shown = shown.replace("\n", "⏎\n")
        for part in shown.splitlines(keepends=True):
            self._line.append(part.removesuffix("\n"), style)
            if part.endswith("\n"):
                self._flush(newline=True)
            elif len(self._line) > _PART:
                self._flush(newline=False)

    def _flush(self, *, newline: bool) -> None:
        if newline or self._line:
            end = "\n" if newline else ""
            self._console.print(self._line, soft_wrap=True, end=end)
            self._line = Text()


def _sum(first: float | None, second: float | None) -> float | None:
    """Surprisals add up; an unknown one adds nothing."""
    known = [part for part in (first, second) if part is not None]
    return sum(known) if known else None


def _legend() -> Text:
    legend = Text("surprisal  ")
    for _, name, style in RAMP:
        legend.append(name, style)
        legend.append("  ")
    return legend


def _numbers(summary: Summary) -> Text:
    totals, info, windows = summary.totals, summary.info, summary.windows
    in_bits = None if totals.logprob is None else totals.logprob / LN2
    bos = "with" if summary.bos else "without"
    rows = {
        "tokens": f"{totals.tokens:,}, {totals.scored:,} scored",
        "Σ log P": f"{_shown(totals.logprob)} nats, {_shown(in_bits)} bits",
        "perplexity": _shown(totals.perplexity),
        "bits per byte": _shown(totals.bits_per_byte, ".4f"),
        "model": f"{visible_line(info.label)} ({info.precision}, {info.dtype})",
        "windows": f"{windows.window:,}, stride {windows.stride:,}, {bos} BOS",
    }
    lines = [Text.assemble((f"{name:<15}", "bold"), rows[name]) for name in rows]
    return Text("\n").join(lines)


def _shown(value: float | None, form: str = ",.2f") -> str:
    return "–" if value is None else format(value, form)


def _worst(summary: Summary) -> Table:
    worst = summary.totals.worst()
    expects = any(token.top for token, _ in worst)
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.add_column("line:col", justify="right", no_wrap=True)
    table.add_column("bits", justify="right", no_wrap=True)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("most surprising", no_wrap=True)
    if expects:
        table.add_column("expected", no_wrap=True)
    for token, span in worst:
        surprisal = bits(token.logprob or 0.0)
        cells = [
            Text(position(summary.document.text, span[0])),
            Text(f"{surprisal:.1f}"),
            Text(_shown(token.rank, ",")),
            _clipped(token.text, style_of(surprisal)),
        ]
        table.add_row(*cells, *([_expected(token)] if expects else []))
    return table


def position(text: str, offset: int) -> str:
    """LINE:COL of a code point, both from 1."""
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    return f"{line}:{column}"


def _clipped(token: str, style: str = "none") -> Text:
    # Appended, not the text's own style: that would fill the rest of the cell.
    shown = Text().append(visible_token(token), style)
    shown.truncate(_CELLS, overflow="ellipsis")
    return shown


def _expected(token: ScoredToken) -> Text:
    """The most probable other token, with its probability."""
    other = next((row for row in token.top if row.id != token.id), None)
    return Text("–") if other is None else _with_probability(other)


def _with_probability(row: Candidate) -> Text:
    return _clipped(row.text).append(f"  {row.prob:.0%}")
