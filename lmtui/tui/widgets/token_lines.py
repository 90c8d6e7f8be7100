"""The tokens of a text on lines, shaded, and where the cursor and a selection are.

The text is laid out once a width; a line is drawn when it is seen. Owns what stands
where; what keys and mouse do is `token_text`'s. Knows no engine, no screen, and nothing
of what is said about a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lmtui.tui.widgets.cells import clip
from lmtui.tui.widgets.surprise import (
    CLASSES,
    DIFFERENCE_CLASSES,
    SIGNED,
    Shade,
    difference_of,
    difference_sheet,
    level_of,
    sheet,
    step_of,
)
from lmtui.tui.widgets.token_layout import Piece, Run, Token, pieces_of, wrap

EMPTY = "No tokens to show."
END = "⌷"
"""What is drawn for the place behind the last token."""


class TokenLines(ScrollView):
    """The tokens, drawn."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tokens--cursor",
        "tokens--selected",
        "tokens--end",
        *CLASSES,
        *DIFFERENCE_CLASSES,
    }
    ALLOW_SELECT = False  # tokens are selected, not characters

    DEFAULT_CSS = f"""
    TokenLines {{
        height: 1fr;
        color: $foreground;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
    }}
    {sheet("TokenLines")}
    {difference_sheet("TokenLines")}
    TokenLines > .tokens--cursor {{
        color: $background;
        background: $accent;
        text-style: bold;
    }}
    TokenLines > .tokens--selected {{ background: $panel; }}
    TokenLines > .tokens--end {{ color: $quiet; }}
    """

    def __init__(self) -> None:
        super().__init__()
        self._tokens: Sequence[Token] = ()
        self._own = 0
        self._open = self._spaces = False
        self._measure: Shade = "surprisal"
        self._differences: Sequence[float | None] = ()
        self._anchor: int | None = None
        self._pieces: list[Piece] = []
        self._levels: list[int] = []
        self._piece_of: list[int] = []
        self._lines: list[list[Run]] = [[]]
        self._line_of: list[int] = []
        self._width = 0
        self.index = 0

    @property
    def piece(self) -> Piece | None:
        """What is drawn for the token under the cursor; None where there is none."""
        at_token = self.index < len(self._tokens)
        return self._pieces[self._piece_of[self.index]] if at_token else None

    @property
    def selection(self) -> tuple[int, int] | None:
        """The first token that is selected, and the one behind the last."""
        if self._anchor is None:
            return None
        first, last = sorted((self._anchor, self.index))
        end = min(last + 1, len(self._tokens))
        return (first, end) if first < end else None

    @property
    def places(self) -> int:
        """Where the cursor can stand."""
        return len(self._tokens) + self._open

    def show(
        self,
        tokens: Sequence[Token],
        index: int,
        *,
        open_end: bool = False,
        own: int | None = None,
    ) -> None:
        """Lay out these tokens. With an open end the cursor can stand behind the last
        of them, too; those from `own` on are marked as not of the text itself."""
        self._tokens, self._open = tokens, open_end
        self._own = len(tokens) if own is None else own
        self._anchor = None
        self.index = index
        self._cut()

    def compare(self, differences: Sequence[float | None]) -> None:
        """Show how many bits more another model expected each of the first tokens; none
        where nothing is compared."""
        before, self._differences = bool(self._differences), differences
        if bool(differences) != before:
            self._measure = "difference" if differences else "surprisal"
        self._cut()

    def _difference(self, piece: Piece) -> float | None:
        known = self._differences[piece.first : piece.first + piece.count]
        parts = [each for each in known if each is not None]
        return sum(parts) if parts else None

    def _signed(self, piece: Piece) -> Piece:
        bits = self._difference(piece) or 0.0
        sign = "" if abs(bits) < SIGNED else "+" if bits > 0 else "−"
        space = " " if sign and piece.text.startswith(" ") else ""
        return replace(piece, text=space + sign + piece.text.removeprefix(space))

    def _cut(self) -> None:
        """Make the pieces, and lay them out."""
        self._pieces = pieces_of(self._tokens, spaces=self._spaces)
        if self._measure == "difference":
            self._pieces = [self._signed(piece) for piece in self._pieces]
        if self._open:
            self._pieces.append(Piece(len(self._tokens), 1, END, None))
        self._piece_of = [
            number for number, piece in enumerate(self._pieces)
            for _ in range(piece.count)
        ]  # fmt: skip
        self._shade()
        self._width = 0
        self._lay_out(self._text_width())
        self.refresh(layout=True)

    def _shade(self) -> None:
        """Find the step of every piece."""
        self._levels = [self._level(piece) for piece in self._pieces]
        self.refresh()

    def _level(self, piece: Piece) -> int:
        if self._measure == "surprisal":
            return step_of(piece.logprob)
        if self._measure == "difference":
            return difference_of(self._difference(piece)) + 3
        parts = self._tokens[piece.first : piece.first + piece.count]
        measure = self._measure
        return max((level_of(part, measure) for part in parts), default=0)

    def on_resize(self) -> None:
        """Another width, another layout."""
        self._lay_out(self._text_width())

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The lines at this width, for sheets with an automatic height."""
        return len(wrap(self._pieces, max(1, width)))

    def _text_width(self) -> int:
        return self.scrollable_content_region.width

    def _lay_out(self, width: int) -> None:
        if width <= 0 or width == self._width:
            return
        self._width = width
        self._lines = wrap(self._pieces, width)
        self._line_of = [0] * len(self._pieces)
        for line, runs in reversed(list(enumerate(self._lines))):
            for run in runs:
                self._line_of[run.piece] = line
        self.virtual_size = Size(width, len(self._lines))
        self._reveal()
        self.refresh()

    def _run_under_cursor(self) -> Run:
        piece = self._piece_of[self.index]
        runs = self._lines[self._line_of[piece]] if self._line_of else []
        empty = Run(0, 0, "", piece)
        return next((run for run in runs if run.piece == piece), empty)

    def _refresh_place(self, index: int) -> None:
        """Draw the lines anew that a token is on."""
        if not self._line_of:
            return
        piece = self._piece_of[index]
        first, last = self._line_of[piece], len(self._lines) - 1
        if piece + 1 < len(self._pieces):
            last = self._line_of[piece + 1]
        self.refresh_lines(first, last - first + 1)

    def _reveal(self) -> None:
        if self._pieces and self._line_of:
            line = self._line_of[self._piece_of[self.index]]
            self.scroll_to_region(Region(0, line, 1, 1), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """One line of the text."""
        line = y + self.scroll_offset.y
        width, base = self._text_width(), self.rich_style
        if not self._pieces:
            text = clip(EMPTY, width) if y == 0 else ""
            return Strip([Segment(text, base)]).adjust_cell_length(width, base)
        runs = self._lines[line] if line < len(self._lines) else []
        looks = [self._look(run.piece) for run in runs]
        styles = {look: self._style(*look) for look in set(looks)}
        segments = [
            Segment(run.text, styles[look])
            for run, look in zip(runs, looks, strict=True)
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _look(self, number: int) -> tuple[str, bool, bool]:
        """The class of a piece, whether it is selected, and whether it is not of the
        text itself."""
        piece = self._pieces[number]
        first, end = self.selection or (0, 0)
        selected = first <= piece.first < end
        if number == self._piece_of[self.index]:
            return "tokens--cursor", False, piece.first >= self._own
        if piece.first >= len(self._tokens):
            return "tokens--end", False, False
        kind = "difference" if self._measure == "difference" else "surprise"
        return f"{kind}--{self._levels[number]}", selected, piece.first >= self._own

    def _style(self, name: str, selected: bool, own: bool) -> Style:
        style = self.get_component_rich_style(name)
        if selected:
            behind = self.get_component_rich_style("tokens--selected").bgcolor
            style += Style(bgcolor=behind, reverse=False)
        return style + Style(italic=True) if own else style
