"""The tokens of a text laid out in lines and shaded, with a cursor and a selection.

Layout is done once for each width: at once up to the cursor and the visible lines, in
small steps for the rest of a long text. Keys and mouse are handled in `token_cursor`.
Knows no engine and no screen.
"""

from __future__ import annotations

import codecs
import re
from asyncio import TimerHandle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, islice
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lmtui.engine.types import ScoredToken, Step
from lmtui.surprisal_scale import SIGNED, Shade, difference_step, surprisal_step
from lmtui.text import bytes_text, visible_codes
from lmtui.tui.one_shot import call_after
from lmtui.tui.widgets.cells import clip, clusters, limit_combining
from lmtui.tui.widgets.surprisal_styles import (
    CLASSES,
    DIFFERENCE_CLASSES,
    difference_sheet,
    level_of,
    sheet,
)

Token = ScoredToken | Step
_WORDS = re.compile(r"\s?\S{1,64}|\s")
_NEWLINE = "⏎"
_LONGEST = 4096  # characters of one token that are drawn at most

EMPTY = "No tokens to show."
END = "⌷"
"""Drawn for the place behind the last token."""
_AT_ONCE = 400  # lines laid out in one step: about 20 ms
_PAUSE = 1 / 30  # seconds between two steps, for other events


def is_forced(token: Token) -> bool:
    return isinstance(token, Step) and token.forced


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """Tokens that are drawn together: those that share a character."""

    first: int
    """Index of the first token."""
    count: int
    text: str
    """The text as it is drawn: control characters made visible, at least one cell
    wide."""


@dataclass(frozen=True, slots=True)
class GroupPart:
    """The part of a token group that is on one line."""

    start: int
    """First cell."""
    width: int
    text: str
    piece: int
    """Index of the group."""

    def distance(self, cell: int) -> int:
        return max(self.start - cell, cell - self.start - self.width + 1, 0)


def pieces_of(tokens: Sequence[Token], *, spaces: bool = False) -> Iterator[TokenGroup]:
    """Yield the token groups; tokens that share a UTF-8 character form one group. With
    `spaces`, spaces are drawn as signs."""
    first = 0
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for index, token in enumerate(tokens):
        if first < index or not token.bytes.isascii():
            decoder.decode(token.bytes)
            if decoder.getstate()[0] and index + 1 < len(tokens):
                continue  # a character is incomplete
        yield _piece(tokens[first : index + 1], first, spaces)
        first = index + 1


def _piece(parts: Sequence[Token], first: int, spaces: bool) -> TokenGroup:
    text = parts[0].text
    if len(parts) > 1:
        text = bytes_text(b"".join(part.bytes for part in parts))
    return TokenGroup(first, len(parts), picture(text, spaces=spaces))


@lru_cache(1 << 14)  # the same tokens recur
def picture(text: str, *, spaces: bool = False) -> str:
    """Return the text of a token as it is drawn. Spaces stay, unless `spaces` is
    set."""
    cut = text[:_LONGEST] + ("…" if len(text) > _LONGEST else "")
    cut = cut.replace(" ", "·") if spaces else cut
    visible = limit_combining(
        visible_codes(cut).replace("\t", "→").replace("\n", f"{_NEWLINE}\n")
    )
    return visible if any(cell_len(line) for line in visible.split("\n")) else "∅"


def words_of(text: str) -> Iterator[TokenGroup]:
    """Split a text without tokens into groups that can be laid out like tokens."""
    return (TokenGroup(0, 1, picture(word)) for word in _WORDS.findall(text))


def wrap(pieces: Iterable[TokenGroup], width: int) -> Iterator[list[GroupPart]]:
    """Yield lines of at most `width` cells, at least one; a wide character is never
    split, a piece of several words between them. On a wrapped line, a space at the
    beginning is drawn as a sign, to tell it from an indent."""
    line: list[GroupPart] = []
    used, is_wrapped = 0, False
    for index, piece in enumerate(pieces):
        fits = len(piece.text) <= width - used or " " not in piece.text.strip(" ")
        for text in (piece.text,) if fits else _WORDS.findall(piece.text):
            for part in _parts(text, width, used):
                if part == "\n":
                    yield line
                    is_wrapped = bool(line) and not line[-1].text.endswith(_NEWLINE)
                    line, used = [], 0
                    continue
                if is_wrapped and not line and part.startswith(" "):
                    part = "·" + part[1:]
                cells = cell_len(part)
                line.append(GroupPart(used, cells, part, index))
                used += cells
    yield line


def _parts(text: str, width: int, used: int) -> Iterator[str]:
    """Yield the parts of a text between line breaks, and a newline for each break."""
    part, room = "", max(0, width - used)
    if text.isprintable() and (cells := cell_len(text)) <= width:
        if cells > room:  # rather on the next line than in two parts
            yield "\n"
        yield text
        return
    for cluster in clusters(text):
        if cluster == "\n":
            if part:
                yield part
            yield "\n"
            part, room = "", width
            continue
        cells = cell_len(cluster)
        if cells > room:
            if part:
                yield part
            yield "\n"
            part, room = "", width
        part += cluster
        room -= cells
    if part:
        yield part


class TokenLines(ScrollView):
    """The lines of tokens, shaded by a measure."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tokens--cursor",
        "tokens--selected",
        "tokens--end",
        "tokens--unread",
        *CLASSES,
        *DIFFERENCE_CLASSES,
    }
    ALLOW_SELECT = False  # tokens are selected, not characters

    DEFAULT_CSS = f"""
    TokenLines {{
        color: $foreground;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
    }}
    {sheet("TokenLines")}
    {difference_sheet("TokenLines")}
    TokenLines > .tokens--cursor {{
        color: $background;
        background: $accent;
        text-style: bold;
    }}
    TokenLines > .tokens--selected {{ background: $panel; }}
    TokenLines > .tokens--end, TokenLines > .tokens--unread {{ color: $quiet; }}
    """

    def __init__(self) -> None:
        super().__init__()
        self._tokens: Sequence[Token] = ()
        self.own = 0
        """Index of the first token that is not part of the text itself, such as a
        branch's."""
        self._untokenized = ""
        self.empty = EMPTY
        """The message shown while there are no tokens."""
        self._has_end = self._spaces = False
        self._measure: Shade = "surprisal"
        self._differences: Sequence[float | None] = ()
        self._anchor: int | None = None
        self._groups: list[TokenGroup] = []
        self._group_of: list[int] = []
        self._lines: list[list[GroupPart]] = []
        self._line_of: list[int] = []
        self._pending_lines: Iterator[list[GroupPart]] = iter(())
        self._layout_timer: TimerHandle | None = None
        self._width = -1
        self.index = 0

    @property
    def piece(self) -> TokenGroup | None:
        """The token group under the cursor; None behind the last token."""
        at_token = self.index < len(self._tokens)
        return self._groups[self._group_at(self.index)] if at_token else None

    @property
    def first_seen(self) -> int:
        top = self.scroll_offset.y
        visible = self._lines[top : top + self.size.height]
        runs = (run for line in visible for run in line)
        return next((self._groups[run.piece].first for run in runs), self.index)

    @property
    def selection(self) -> tuple[int, int] | None:
        """The index of the first selected token and of the one behind the last, or
        None."""
        if self._anchor is None:
            return None
        first, last = sorted((self._anchor, self.index))
        end = min(last + 1, len(self._tokens))
        return (first, end) if first < end else None

    @property
    def position_count(self) -> int:
        """The number of cursor positions."""
        return len(self._tokens) + self._has_end

    def show(
        self,
        tokens: Sequence[Token],
        index: int,
        *,
        open_end: bool = False,
        own: int | None = None,
    ) -> None:
        self._tokens, self._has_end = tokens, open_end
        self.own = len(tokens) if own is None else own
        self._anchor = None
        self.index, self.empty = index, EMPTY
        self._relayout()

    def show_text(self, text: str) -> None:
        self._untokenized = text
        self.refresh()

    def rescore(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self.refresh()

    def compare(self, differences: Sequence[float | None]) -> None:
        was_comparing, self._differences = bool(self._differences), differences
        if bool(differences) != was_comparing:
            self._measure = "difference" if differences else "surprisal"
        self._relayout()

    def _difference(self, piece: TokenGroup) -> float | None:
        # Not known for tokens of a branch.
        end = min(piece.first + piece.count, self.own)
        differences = self._differences[piece.first : end]
        parts = [value for value in differences if value is not None]
        return sum(parts) if parts else None

    def _with_sign(self, piece: TokenGroup) -> TokenGroup:
        bits = self._difference(piece) or 0.0
        sign = "" if abs(bits) < SIGNED else "⁺" if bits > 0 else "⁻"
        space = " " if sign and piece.text.startswith(" ") else ""
        return replace(piece, text=space + sign + piece.text.removeprefix(space))

    def _relayout(self) -> None:
        self._width = -1
        self._lay_out(self._text_width())
        self.refresh(layout=True)

    def _groups_to_draw(self) -> Iterator[TokenGroup]:
        pieces = pieces_of(self._tokens, spaces=self._spaces)
        if self._measure == "difference" and self.app.no_color:
            pieces = map(self._with_sign, pieces)
        end = [TokenGroup(len(self._tokens), 1, END)] if self._has_end else []
        return chain(pieces, end)

    def _level(self, piece: TokenGroup) -> int:
        parts = self._tokens[piece.first : piece.first + piece.count]
        if self._measure == "surprisal":
            logprobs = [part.logprob for part in parts if part.logprob is not None]
            return surprisal_step(sum(logprobs) if logprobs else None)
        if self._measure == "difference":
            return difference_step(self._difference(piece)) + 3
        measure = self._measure
        return max((level_of(part, measure) for part in parts), default=0)

    def on_resize(self) -> None:
        self._lay_out(self._text_width())

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return sum(1 for _ in wrap(self._groups_to_draw(), max(1, width)))

    def _text_width(self) -> int:
        return self.scrollable_content_region.width

    def _lay_out(self, width: int) -> None:
        """Begin a layout, up to the cursor. Before the widget has a width, it is laid
        out at a width of 1."""
        if width == self._width:
            return
        self._width = width
        self._groups, self._group_of, self._line_of, self._lines = [], [], [], []
        groups = self._record_groups(self._groups_to_draw())
        self._pending_lines = wrap(groups, max(1, width))
        self._lay_out_more()
        if self._groups:
            self._line_at(self.index)
        if width > 0:
            self._measure_height()
            self._scroll_to_cursor()

    def _record_groups(self, pieces: Iterator[TokenGroup]) -> Iterator[TokenGroup]:
        for number, piece in enumerate(pieces):
            self._groups.append(piece)
            self._group_of += [number] * piece.count
            yield piece

    def _lay_out_more(self) -> bool:
        old_count = len(self._lines)
        for line in islice(self._pending_lines, _AT_ONCE):
            for run in line:
                if run.piece == len(self._line_of):
                    self._line_of.append(len(self._lines))
            self._lines.append(line)
        return len(self._lines) > old_count

    def _measure_height(self) -> None:
        self.virtual_size = Size(self._width, len(self._lines))
        self.refresh()
        if self._layout_timer is not None:
            self._layout_timer.cancel()
        self._layout_timer = None
        if self.is_attached:
            self._layout_timer = call_after(self, _PAUSE, self._continue_layout)

    def _continue_layout(self) -> None:
        if self._lay_out_more():
            self._measure_height()

    def _group_at(self, index: int) -> int:
        """Return the group of a token; lays out that far."""
        while len(self._group_of) <= index and self._lay_out_more():
            pass
        return self._group_of[index]

    def _line_at(self, index: int) -> int:
        """Return the line on which a token begins; lays out that far."""
        piece = self._group_at(index)
        while len(self._line_of) <= piece and self._lay_out_more():
            pass
        return self._line_of[piece]

    def _line(self, number: int) -> list[GroupPart] | None:
        """Return a line, laid out if need be; None beyond the text."""
        while len(self._lines) <= number and self._lay_out_more():
            pass
        return self._lines[number] if 0 <= number < len(self._lines) else None

    def _run_under_cursor(self) -> GroupPart:
        runs = self._lines[self._line_at(self.index)]
        piece = self._group_of[self.index]
        return next(run for run in runs if run.piece == piece)

    def _refresh_token(self, index: int) -> None:
        if not self._groups:
            return
        first, piece = self._line_at(index), self._group_of[index]
        last = len(self._lines) - 1
        if piece + 1 < len(self._line_of):
            last = self._line_of[piece + 1]
        self.refresh_lines(first, last - first + 1)

    def _scroll_to_cursor(self) -> None:
        if self._groups:
            line = self._line_at(self.index)
            if line >= self.virtual_size.height:
                self._measure_height()
            self.scroll_to_region(Region(0, line, 1, 1), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        line = y + self.scroll_offset.y
        width, base = self._text_width(), self.rich_style
        if width != self._width:  # drawn before the resize event
            self.call_later(self._lay_out, width)
            return Strip.blank(width, base)
        if not self._groups:
            text = self._untokenized_line(y, width)
            quiet = self.get_component_rich_style("tokens--unread")
            return Strip([Segment(text, quiet)]).adjust_cell_length(width, base)
        runs = self._lines[line] if line < len(self._lines) else []
        keys = [self._style_key(run.piece) for run in runs]
        styles = {key: self._style(*key) for key in set(keys)}
        segments = [
            Segment(run.text, styles[key]) for run, key in zip(runs, keys, strict=True)
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _untokenized_line(self, y: int, width: int) -> str:
        if not self._untokenized:
            return clip(self.empty, width) if y == 0 else ""
        visible = self._untokenized[: width * self.size.height]
        line = next(islice(wrap(words_of(visible), max(1, width)), y, None), [])
        return "".join(run.text for run in line)

    def _style_key(self, number: int) -> tuple[str, bool, bool]:
        """Return the component class of a group, whether it is selected, and whether it
        is slanted: not part of the text itself, or forced by the grammar."""
        piece = self._groups[number]
        first, end = self.selection or (0, 0)
        is_selected = first <= piece.first < end
        if number == self._group_of[self.index]:
            return "tokens--cursor", False, piece.first >= self.own
        if piece.first >= len(self._tokens):
            return "tokens--end", False, False
        is_slanted = piece.first >= self.own
        if self._measure == "difference":
            return f"difference--{self._level(piece)}", is_selected, is_slanted
        is_slanted = is_slanted or is_forced(self._tokens[piece.first])
        if piece.first and self._tokens[piece.first].logprob is None:
            return "tokens--unread", is_selected, is_slanted
        return f"surprise--{self._level(piece)}", is_selected, is_slanted

    def _style(self, name: str, selected: bool, slanted: bool) -> Style:
        style = self.get_component_rich_style(name)
        if selected:
            background = self.get_component_rich_style("tokens--selected").bgcolor
            style += Style(bgcolor=background, reverse=False)
        return style + Style(italic=True) if slanted else style
