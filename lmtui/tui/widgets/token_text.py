"""The tokens of a text on the screen, and a cursor that walks them.

Shaded by surprisal. The text is laid out once a width; a line is drawn when it is
seen. Knows no engine, no screen, and nothing of what is said about a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lmtui.tui.widgets.cells import clip
from lmtui.tui.widgets.surprise import CLASSES, sheet, step_of
from lmtui.tui.widgets.token_layout import Piece, Run, Token, pieces_of, wrap

EMPTY = "No tokens to show."
SURPRISING = 3
"""The step of surprise from which `n` and `N` stop at a token: three bits."""


class TokenText(ScrollView, can_focus=True):
    """The tokens themselves, and the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "walk(-1)", "Token back", id="tokens.left", show=False,
                tooltip="The token before"),
        Binding("right", "walk(1)", "Token on", id="tokens.right", show=False,
                tooltip="The token after"),
        Binding("up", "line(-1)", "Line up", id="tokens.up", show=False,
                tooltip="The token above"),
        Binding("down", "line(1)", "Line down", id="tokens.down", show=False,
                tooltip="The token below"),
        Binding("home", "to(0)", "First", id="tokens.home", show=False,
                tooltip="The first token"),
        Binding("end", "to(-1)", "Last", id="tokens.end", show=False,
                tooltip="The last token"),
        Binding("n", "surprise(1)", "Next surprise", id="tokens.next-surprise",
                tooltip="The next token of three bits or more"),
        Binding("N", "surprise(-1)", "Previous surprise", show=False,
                id="tokens.previous-surprise",
                tooltip="The previous token of three bits or more"),
    ]  # fmt: skip

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tokens--cursor", *CLASSES}

    DEFAULT_CSS = f"""
    TokenText {{
        height: 1fr;
        color: $foreground;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
    }}
    {sheet("TokenText")}
    TokenText > .tokens--cursor {{
        color: $background;
        background: $accent;
        text-style: bold;
    }}
    """

    @dataclass
    class Moved(Message):
        """The cursor stands on another token."""

        index: int

    def __init__(self) -> None:
        super().__init__()
        self._tokens: Sequence[Token] = ()
        self._pieces: list[Piece] = []
        self._piece_of: list[int] = []
        self._lines: list[list[Run]] = [[]]
        self._line_of: list[int] = []
        self._width = 0
        self.index = 0

    @property
    def piece(self) -> Piece | None:
        """What is drawn for the token under the cursor."""
        return self._pieces[self._piece_of[self.index]] if self._tokens else None

    def show(self, tokens: Sequence[Token], index: int) -> None:
        """Lay out these tokens."""
        self._tokens = tokens
        self._pieces = pieces_of(tokens)
        self._piece_of = [
            number for number, piece in enumerate(self._pieces)
            for _ in range(piece.count)
        ]  # fmt: skip
        self.index = index
        self._width = 0
        self._lay_out(self._text_width())
        self.refresh(layout=True)

    def move(self, index: int) -> None:
        """Put the cursor on a token and tell it; outside, nothing moves."""
        if not 0 <= index < len(self._tokens) or index == self.index:
            return
        self.index = index
        self._reveal()
        self.refresh()
        self.post_message(self.Moved(index))

    def action_walk(self, by: int) -> None:
        """A token on or back."""
        self.move(self.index + by)

    def action_to(self, index: int) -> None:
        """The first token, or the last."""
        self.move(index % len(self._tokens) if self._tokens else 0)

    def action_line(self, by: int) -> None:
        """The token above or below, nearest to where the cursor is."""
        if not self._tokens:
            return
        run = self._run_under_cursor()
        line = self._line_of[self._piece_of[self.index]] + by
        while 0 <= line < len(self._lines):
            if self._lines[line]:
                nearest = min(self._lines[line], key=lambda r: r.distance(run.start))
                self.move(self._pieces[nearest.piece].first)
                return
            line += by

    def action_surprise(self, by: int) -> None:
        """The next token that surprised."""
        index = self.index + by
        while 0 <= index < len(self._tokens):
            if step_of(self._tokens[index].logprob) >= SURPRISING:
                self.move(index)
                return
            index += by

    def on_click(self, event: events.Click) -> None:
        """The token under the mouse."""
        place = event.get_content_offset(self)
        if place is None:
            return
        line = place.y + self.scroll_offset.y
        if not 0 <= line < len(self._lines):
            return
        for run in self._lines[line]:
            if run.start <= place.x < run.start + run.width:
                self.move(self._pieces[run.piece].first)

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

    def _reveal(self) -> None:
        if self._tokens and self._line_of:
            line = self._line_of[self._piece_of[self.index]]
            self.scroll_to_region(Region(0, line, 1, 1), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """One line of the text."""
        line = y + self.scroll_offset.y
        width = self._text_width()
        base = self.rich_style
        if not self._tokens:
            text = clip(EMPTY, width) if y == 0 else ""
            return Strip([Segment(text, base)]).adjust_cell_length(width, base)
        runs = self._lines[line] if line < len(self._lines) else []
        current = self._piece_of[self.index]
        names = ["tokens--cursor" if run.piece == current else
                 f"surprise--{step_of(self._pieces[run.piece].logprob)}"
                 for run in runs]  # fmt: skip
        styles = {name: self.get_component_rich_style(name) for name in set(names)}
        segments = [
            Segment(run.text, styles[name])
            for run, name in zip(runs, names, strict=True)
        ]
        return Strip(segments).adjust_cell_length(width, base)
