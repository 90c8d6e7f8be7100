"""A scored text on a terminal: shaded, then summed up.

Owns how the text is drawn as it comes. All foreign text is made visible first and is
never parsed as markup. Knows no engine.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from lmtui.cli.plain_summary import comparison_of, summary_of
from lmtui.cli.scales import Gain, Scale, Surprise, stands_out
from lmtui.cli.scoring import Scored
from lmtui.inspect.difference import Piece
from lmtui.reading import Document
from lmtui.text import visible, visible_line

_PART = 4096  # characters of one line that are drawn together


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


class PlainView:
    """The text as it comes, then legend, totals and the places that stand out most."""

    grows = True

    def __init__(
        self,
        console: Console,
        *,
        headings: bool = False,
        expected: bool = False,
        compares: bool = False,
    ) -> None:
        self._console = console
        self._headings = headings
        self._expected = expected
        self._scale: Scale = Gain() if compares else Surprise()
        self._source = ""
        self._drawn = 0
        self._open: tuple[int, int] = (0, 0)
        self._value: float | None = None
        self._line = Text()

    def start(self, document: Document) -> None:
        """Begin a text, under its name where there are several."""
        self._source = document.text
        self._drawn = 0
        self._open, self._value = (0, 0), None
        if self._headings:
            self._console.rule(Text(visible_line(document.name)), align="left")

    def piece(self, piece: Piece) -> None:
        """Take one part; those that share a character are drawn together, with the
        value of all of them."""
        start, end = self._open
        span, value = piece.span, self._scale.value(piece)
        if span[0] < end:
            self._open = (start, max(end, span[1]))
            self._value = _sum(self._value, value)
            return
        self._close()
        self._open, self._value = span, value

    def end(self, scored: Scored) -> None:
        """Draw what is left, and sum up."""
        self._close()
        self._draw(self._source[self._drawn :], "none")
        self._flush(newline=bool(self._line) or not self._source.endswith("\n"))
        self._console.print()
        if self._console.is_terminal:
            self._console.print(self._scale.legend(), soft_wrap=True)
            self._console.print()
        if scored.other:
            parts = comparison_of(scored)
        else:
            parts = summary_of(scored, expected=self._expected)
        for place, part in enumerate(parts):
            if place:
                self._console.print()
            self._console.print(part, soft_wrap=isinstance(part, Text))
        if self._headings:
            self._console.print()

    def _close(self) -> None:
        """Draw the open parts, and before them what no token covers."""
        start, end = self._open
        self._draw(self._source[self._drawn : start], "none")
        style = self._scale.style(self._value)
        sign = self._scale.sign(self._value) if self._console.is_terminal else ""
        self._draw(self._source[start:end], style, sign)
        self._drawn = end

    def _draw(self, text: str, style: str, sign: str = "") -> None:
        shown = visible(text)
        if stands_out(style) and self._console.is_terminal:
            shown = shown.replace("\n", "⏎\n")
        if sign:
            body = shown.rstrip()
            shown = f"{body}{sign}{shown[len(body) :]}"
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
    """Bits add up; an unknown one adds nothing."""
    known = [part for part in (first, second) if part is not None]
    return sum(known) if known else None
