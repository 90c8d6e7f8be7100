"""A cursor on the tokens of a text: moves by token, word, line, page or surprise.

Handles keys and mouse; layout and drawing are in `token_lines`. Knows no engine and no
screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from lmtui.surprisal_scale import MEASURES, Shade, surprisal_step
from lmtui.tui.widgets.token_lines import TokenLines

SURPRISING = 3
"""The step of surprisal from which `n` and `N` stop at a token: three bits."""


class TokenText(TokenLines, can_focus=True):
    FOCUS_NAME = "tokens"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "walk(-1)", "Previous token", id="tokens.left", show=False,
                tooltip="To the previous token"),
        Binding("right", "walk(1)", "Next token", id="tokens.right", show=False,
                tooltip="To the next token"),
        Binding("up", "line(-1)", "Previous line", id="tokens.up", show=False,
                tooltip="To the token above"),
        Binding("down", "line(1)", "Next line", id="tokens.down", show=False,
                tooltip="To the token below"),
        Binding("ctrl+left", "word(-1)", "Previous word", id="tokens.word-left",
                show=False, tooltip="To the beginning of the previous word"),
        Binding("ctrl+right", "word(1)", "Next word", id="tokens.word-right",
                show=False, tooltip="To the beginning of the next word"),
        Binding("pageup", "page(-1)", "Page up", id="tokens.page-up", show=False,
                tooltip="One page up"),
        Binding("pagedown", "page(1)", "Page down", id="tokens.page-down", show=False,
                tooltip="One page down"),
        Binding("home", "edge(0)", "Line start", id="tokens.line-start", show=False,
                tooltip="To the first token of the line"),
        Binding("end", "edge(-1)", "Line end", id="tokens.line-end", show=False,
                tooltip="To the last token of the line"),
        Binding("ctrl+home", "to(0)", "First", id="tokens.home", show=False,
                tooltip="The first token"),
        Binding("ctrl+end", "to(-1)", "Last", id="tokens.end", show=False,
                tooltip="The last token"),
        Binding("shift+left", "walk(-1, True)", "Select previous", show=False,
                id="tokens.select-left", tooltip="Select the token before"),
        Binding("shift+right", "walk(1, True)", "Select next", show=False,
                id="tokens.select-right", tooltip="Select the token after"),
        Binding("shift+up", "line(-1, True)", "Select up", show=False,
                id="tokens.select-up", tooltip="Select up to the line above"),
        Binding("shift+down", "line(1, True)", "Select down", show=False,
                id="tokens.select-down", tooltip="Select down to the line below"),
        Binding("n", "surprise(1)", "Next surprise", id="tokens.next-surprise",
                tooltip="The next token of three bits or more"),
        Binding("N", "surprise(-1)", "Previous surprise", show=False,
                id="tokens.previous-surprise",
                tooltip="The previous token of three bits or more"),
        Binding("m", "measure", "Measure", id="tokens.measure", show=False,
                tooltip="Shade by surprisal, rank, entropy, probability or typicality"),
        Binding("full_stop", "spaces", "White space", id="tokens.spaces", show=False,
                tooltip="Draw spaces as signs, or not"),
    ]  # fmt: skip

    @dataclass
    class CursorMoved(Message):
        index: int

    @dataclass
    class Selected(Message):
        """The selection has changed; None without one."""

        selection: tuple[int, int] | None

    @dataclass
    class Remeasured(Message):
        """The text is shaded by another measure."""

        measure: Shade

    def move(self, index: int, *, extend: bool = False) -> None:
        """Move the cursor to a token and post `CursorMoved`; an index out of range is
        ignored. With `extend` the tokens between are selected, otherwise the selection
        is cleared."""
        if not 0 <= index < self.position_count or index == self.index:
            return
        old_selection = self.selection
        anchor = self.index if self._anchor is None else self._anchor
        self._anchor = anchor if extend else None
        self._refresh_token(self.index)
        self.index = index
        self._refresh_token(index)
        self._scroll_to_cursor()
        self.post_message(self.CursorMoved(index))
        if self.selection != old_selection:
            self.refresh()
            self.post_message(self.Selected(self.selection))

    def compare(self, differences: Sequence[float | None]) -> None:
        super().compare(differences)
        self.post_message(self.Remeasured(self._measure))

    def select(self, first: int, end: int) -> None:
        self.move(end - 1)
        self._anchor = end - 1
        if first < end - 1:
            self.move(first, extend=True)
        else:
            self.post_message(self.Selected(self.selection))
            self.refresh()

    def action_walk(self, by: int, extend: bool = False) -> None:
        self.move(self.index + by, extend=extend)

    def action_to(self, index: int) -> None:
        self.move(index % self.position_count if self.position_count else 0)

    def action_edge(self, edge: int) -> None:
        if self.position_count:
            line = self._line_at(self.index)
            groups = [part.piece for part in self._lines[line]]
            beginning = [piece for piece in groups if self._line_of[piece] == line]
            group = self._groups[beginning[edge]]
            self.move(group.first if edge == 0 else group.first + group.count - 1)

    def action_word(self, by: int) -> None:
        index = self.index + by
        while 0 < index < len(self._tokens) and not self._begins_word(index):
            index += by
        self.move(max(0, min(index, self.position_count - 1)))

    def _begins_word(self, index: int) -> bool:
        text, previous = self._tokens[index].text, self._tokens[index - 1].text
        return bool(text.strip()) and (text[0].isspace() or previous[-1:].isspace())

    def action_line(self, by: int, extend: bool = False) -> None:
        if self.position_count:
            self._to_line(self._line_at(self.index) + by, by, extend=extend)

    def action_page(self, by: int) -> None:
        if self.position_count:
            line = self._line_at(self.index) + by * max(1, self.size.height - 1)
            self._line(line)
            self._to_line(min(max(line, 0), len(self._lines) - 1), -by, extend=False)

    def _to_line(self, line: int, by: int, *, extend: bool) -> None:
        run = self._run_under_cursor()
        while line >= 0 and (runs := self._line(line)) is not None:
            if runs:
                nearest = min(runs, key=lambda r: r.distance(run.start))
                self.move(self._groups[nearest.piece].first, extend=extend)
                return
            line += by

    def action_surprise(self, by: int) -> None:
        index = self.index + by
        while 0 <= index < len(self._tokens):
            if surprisal_step(self._tokens[index].logprob) >= SURPRISING:
                self.move(index)
                return
            index += by

    def action_measure(self) -> None:
        measures: tuple[Shade, ...] = MEASURES
        if self._differences:
            measures = ("difference", *MEASURES)
        self._measure = measures[(measures.index(self._measure) + 1) % len(measures)]
        self._relayout()
        self.post_message(self.Remeasured(self._measure))

    def action_spaces(self) -> None:
        self._spaces = not self._spaces
        self._relayout()

    # Mouse.

    def on_mouse_down(self, event: events.MouseDown) -> None:
        index = self._token_at(event)
        if index is not None:
            self.capture_mouse()
            self.move(index)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            index = self._token_at(event)
            if index is not None:
                self.move(index, extend=True)

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def _token_at(self, event: events.MouseEvent) -> int | None:
        offset = event.get_content_offset(self)
        if offset is None:
            return None
        line = offset.y + self.scroll_offset.y
        if not 0 <= line < len(self._lines):
            return None
        for run in self._lines[line]:
            if run.start <= offset.x < run.start + run.width:
                return self._groups[run.piece].first
        return None
