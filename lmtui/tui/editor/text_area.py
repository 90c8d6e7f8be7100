"""The editor widget: a text with ghost text and a heat map.

A loaded text is never altered: only newlines end lines. Control characters are drawn
as pictures. Posts `Edited` and `CursorMoved`. Suggestions and scores are given back
with the revision of the text they belong to. Handles the keys that accept or dismiss
ghost text. Knows no engine, no file and no screen.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.document._document import Location, Selection
from textual.document._edit import Edit
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import TextArea
from textual.widgets.text_area import EditResult

from lmtui.editing.find import Matches
from lmtui.editing.indent import leading, new_line
from lmtui.editing.scored_text import ScoredText
from lmtui.engine.document.words import can_cut, word_at
from lmtui.notation import bits
from lmtui.surprisal_scale import surprisal_step
from lmtui.tui.editor.document import (
    KINDS,
    SyntaxParts,
    syntax_document,
)
from lmtui.tui.editor.layout import (
    GhostRow,
    GhostRows,
    RowNavigator,
    WrappedLines,
    room_for,
    steps,
)
from lmtui.tui.editor.row_strip import StyleSpan, bar, draw, gutter
from lmtui.tui.editor.word_history import WordHistory
from lmtui.tui.widgets.cells import cells_of, drawn
from lmtui.tui.widgets.drawn_area import pasted_text
from lmtui.tui.widgets.key_input import handle_key
from lmtui.tui.widgets.line_document import DocumentChange, LineDocument
from lmtui.tui.widgets.styled_lines import STALE, rendered

AROUND = 256
"""Characters before and after a cursor by which a suggestion is recognised."""
_MAX_EARLIER = 64
_CLUSTER = 64
"""Characters that are searched for the boundary of the one beside the cursor."""
_SURROGATES = dict.fromkeys(range(55296, 57344), "�")
T = TypeVar("T")

_UNDERLINED, _TINTED = 3, 4  # steps of surprisal: from 3 bits, and from 6
TINT = 18
"""Percentage of colour in a tint: more makes text on it hard to read."""
_CONTINUATION = "↳"
"""Drawn instead of a line number where a row continues the line above."""
_PLAIN = Style(bold=False, dim=False, italic=False, reverse=False, underline=False)

RequestKey = tuple[int, int]
"""The revision of a text, and the offset of the cursor in it."""
Surroundings = tuple[str, str]
"""The text before a cursor, and after it."""


class Ghosts:
    """The suggestion at the cursor, and the latest ones at other places."""

    def __init__(self) -> None:
        self.text = ""
        """The suggestion at the cursor now; "" without one."""
        self._request: RequestKey | None = None
        self._typed = ""
        """The part of the suggestion that was typed since it was requested."""
        self._earlier: OrderedDict[Surroundings, str] = OrderedDict()

    def show(
        self, text: str, *, request: RequestKey, here: RequestKey, around: Surroundings
    ) -> bool:
        """Set the suggestion. Return False if text or cursor has changed since the
        request, except by typing the suggestion itself."""
        if request == here:
            self._typed = ""
        elif request != self._request or not text.startswith(self._typed):
            return False
        self._request = request
        self.text = text[len(self._typed) :]
        self._remember(around)
        return True

    def edit(self, typed: str, around: Surroundings) -> None:
        """Follow an edit. `typed` is the text inserted at the cursor, "" for any other
        edit; `around` is the text around the cursor now. Typing the suggestion shortens
        it; any other edit drops it, or restores an earlier one for the same
        surroundings."""
        if typed and self.text.startswith(typed):
            self.text = self.text[len(typed) :]
            self._typed += typed
            self._remember(around)
            return
        self.drop()
        if around in self._earlier:
            self._earlier.move_to_end(around)
            self.text = self._earlier[around]

    def drop(self) -> None:
        """Drop the suggestion, until a new one is set or an edit restores the
        surroundings."""
        self.text = self._typed = ""
        self._request = None

    def dismiss(self, around: Surroundings) -> None:
        """Drop the suggestion, and do not restore it here."""
        self.drop()
        self._earlier.pop(around, None)

    def forget(self) -> None:
        self.drop()
        self._earlier.clear()

    def _remember(self, around: Surroundings) -> None:
        if not self.text:
            return
        self._earlier[around] = self.text
        self._earlier.move_to_end(around)
        if len(self._earlier) > _MAX_EARLIER:
            self._earlier.popitem(last=False)


def first_word(text: str) -> str:
    start = len(text) - len(text.lstrip()) + 1
    for index in range(start, len(text)):
        both_signs = _is_sign(text[index - 1]) and _is_sign(text[index])
        if can_cut(text, index) and not both_signs:
            return text[:index]
    return text


def first_line(text: str) -> str:
    """Return the beginning of a text up to the end of its first line; of the second
    one, if the text begins with a newline."""
    end = text.find("\n", 1)
    return text if end < 0 else text[:end]


def _is_sign(character: str) -> bool:
    return not (character.isalnum() or character.isspace())


_PARTS: dict[str, Callable[[str], str]] = {
    "all": str, "word": first_word, "line": first_line,
}  # fmt: skip


class GhostEditor(TextArea):
    """A text area for whole files that draws itself, with ghost text at the cursor and
    a heat map over its characters."""

    HELP = """\
The model's suggestion is shown as ghost text at the cursor: Tab takes all of it,
Ctrl+Right a word, Alt+Right a line, Esc dismisses it. Typing the same letters keeps it,
typing others dismisses it. Alt+N shows other suggestions, Ctrl+Space asks for one, then
for a longer one. Enter goes on with the indentation or the list of the line. The heat
map leaves the colours of code alone: it underlines what surprised the model, from 3
bits on, and tints what surprised it most, from 6. A row that continues the line above
shows ↳ instead of a line number; in code and in lists it is indented like its line.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "take('all')", "Take all", id="editor.take-all",
                tooltip="Take the whole suggestion, or insert a tab"),
        Binding("ctrl+right", "take('word')", "Take word", id="editor.take-word",
                show=False,
                tooltip="Take a word of the suggestion, or move a word on"),
        Binding("alt+right", "take('line')", "Take line", id="editor.take-line",
                show=False, tooltip="Take a line of the suggestion"),
        Binding("escape", "dismiss", "Dismiss", id="editor.dismiss", show=False,
                tooltip="Dismiss the suggestion"),
        Binding("alt+n", "ask_alternative", "Next ghost", id="editor.next-ghost",
                show=False, tooltip="Show the next alternative"),
        Binding("ctrl+@", "ask", "Suggest", id="editor.suggest", show=False,
                tooltip="Ask for a suggestion here, or for a longer one"),
        Binding("ctrl+home", "text_edge('start')", "Text start", show=False,
                id="editor.text-start", tooltip="To the beginning of the text"),
        Binding("ctrl+end", "text_edge('end')", "Text end", show=False,
                id="editor.text-end", tooltip="To the end of the text"),
        Binding("ctrl+shift+home", "text_edge('start', True)", "Select to start",
                show=False, id="editor.select-start",
                tooltip="Select up to the beginning of the text"),
        Binding("ctrl+shift+end", "text_edge('end', True)", "Select to end",
                show=False, id="editor.select-end",
                tooltip="Select up to the end of the text"),
        Binding("alt+a", "select_all", "Select all", show=False,
                id="editor.select-all", tooltip="Select the whole text"),
    ]  # fmt: skip

    PASSED_ON: ClassVar[frozenset[str]] = frozenset({"editor.dismiss"})
    """Esc is left to the screen where there is no ghost text."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "editor--ghost", "editor--bar", *(f"editor--{kind}" for kind in KINDS),
        "editor--ghost-cursor", "editor--tint", "text-area--match",
    }  # fmt: skip

    DEFAULT_CSS = f"""
    GhostEditor {{
        border: none;
        padding: 0;
        color: $foreground;
        background: $background;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size: 1 1;
        &:focus {{ border: none; }}
        & .text-area--gutter {{ color: $quiet; }}
        & .text-area--match {{ background: $panel; text-style: bold underline; }}
        & .text-area--cursor-gutter {{ color: $foreground; background: $background; }}
    }}
    GhostEditor > .editor--ghost {{ color: $ghost; text-style: italic; }}
    .editor--ghost-cursor {{ background: $ghost; text-style: italic underline; }}
    GhostEditor > .editor--bar {{ color: $quiet; }}
    GhostEditor > .editor--keyword {{ color: $accent; text-style: bold; }}
    GhostEditor > .editor--string {{ color: $success; }}
    GhostEditor > .editor--number {{ color: $warning; }}
    GhostEditor > .editor--comment {{ color: $secondary; }}
    GhostEditor > .editor--name {{ color: $primary; }}
    GhostEditor > .editor--tint {{ background: $surprise-4 {TINT}%; }}
    """

    matches: reactive[Matches] = reactive(Matches(), init=False)
    heat: reactive[bool] = reactive(False, init=False)
    """Whether characters are shaded by surprisal."""

    @dataclass
    class Edited(Message):
        ghost_stays: bool
        """Whether a suggestion remains at the cursor, so that none need be
        requested."""

    @dataclass
    class CursorMoved(Message):
        """The cursor or the selection has changed, but not the text."""

    @dataclass
    class GhostDismissed(Message):
        pass

    @dataclass
    class AlternativeRequested(Message):
        """The next alternative is requested."""

    @dataclass
    class SuggestionRequested(Message):
        """A suggestion is requested by key, even where none would be made
        automatically."""

    def __init__(self, *, id: str | None = None) -> None:
        self.revision = 0
        """Incremented with each change of the text."""
        self._lines = LineDocument("")
        self._rows = WrappedLines(self._lines)
        self._syntax: SyntaxParts | None = None
        self._change_depth = 0
        self._ghosts = Ghosts()
        self._ghost_at: Location = (0, 0)
        self._ghost_layout: tuple[object, str, GhostRows] | None = None
        self.scored = ScoredText(self._lines.lines)
        """The tokens of the text, with the scores that are known of them."""
        self._max_bits = 0.0
        super().__init__(
            id=id,
            show_line_numbers=True,
            tab_behavior="focus",
            highlight_cursor_line=False,
        )
        self.cursor_blink = False
        self.history = WordHistory()

    # Text.

    def while_same(self, take: Callable[[T], object]) -> Callable[[T], object]:
        """Return what takes an answer about the text as it is now, and nothing once the
        text has changed."""
        revision = self.revision
        return lambda answer: take(answer) if revision == self.revision else None

    @property
    def words(self) -> int:
        return self._lines.words

    @property
    def characters(self) -> int:
        return self._lines.characters

    @property
    def cursor_index(self) -> int:
        return self._lines.get_index_from_location(self.cursor_location)

    @property
    def selection_indexes(self) -> tuple[int, int]:
        """The offsets of the selection's ends; both are the cursor's without a
        selection."""
        low, high = sorted(self.selection)
        index = self._lines.get_index_from_location
        return index(low), index(high)

    def load(self, text: str, language: str | None = None) -> None:
        """Replace the document and clear the undo history."""
        self.revision += 1
        self.history.clear()
        self.set_reactive(TextArea.language, language)
        with self._changing():
            self._set_document(text, language)
        self.refresh()

    def load_text(self, text: str) -> None:
        self.load(text, self.language)

    def go_to(self, index: int, select_to: int | None = None) -> None:
        """Move the cursor to offset `index`; or to `select_to`, selecting the text
        between."""
        location = self._lines.get_location_from_index
        end = location(index if select_to is None else select_to)
        self.selection = Selection(location(index), end)
        self.record_cursor_width()
        self.history.checkpoint()

    def replace_span(self, start: int, end: int, text: str) -> None:
        location = self._lines.get_location_from_index
        self.history.checkpoint()
        self.replace(text, location(start), location(end))
        self.history.checkpoint()

    def end_last_line(self) -> None:
        """End the last line with a newline, if it has none; the cursor stays."""
        if self.characters and self._lines.get_line(self._lines.line_count - 1):
            selection, end = self.selection, self.characters
            self.replace_span(end, end, "\n")
            self.selection = selection

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Defer the layout while text and cursor do not match; nested calls are
        allowed."""
        self._change_depth += 1
        try:
            yield
        finally:
            self._change_depth -= 1
        if not self._change_depth:
            self._refresh_size()

    def _build_highlight_map(self) -> None:
        """Do nothing: syntax parts are looked up for the lines that are drawn."""

    # Keys and mouse.

    async def _on_key(self, event: events.Key) -> None:
        def write(text: str) -> None:
            self._replace_via_keyboard(text, *self.selection)

        if event.key == "enter":
            self._begin_line()
            event.stop()
            event.prevent_default()
            return
        await handle_key(self, event, write)

    def _begin_line(self) -> None:
        low, high = sorted(self.selection)
        before = self._lines[low[0]][: low[1]]
        after = self._lines[high[0]][high[1] :]
        text = new_line(before, after, self.language)
        if not text or leading(before) == before:
            low = low[0], 0  # a mark without an item, or blanks, don't stay behind
        self.history.checkpoint()
        self._replace_via_keyboard(text, low, high)
        self.history.checkpoint()

    def action_text_edge(self, edge: str, select: bool = False) -> None:
        location = (0, 0) if edge == "start" else self.document.end
        anchor = self.selection.start if select else location
        self.selection = Selection(anchor, location)
        self.record_cursor_width()
        self.history.checkpoint()

    async def _on_paste(self, event: events.Paste) -> None:
        """The text is one undo step, with newlines instead of carriage returns."""
        event.prevent_default()
        event.stop()
        self.history.checkpoint()
        text = pasted_text(event).translate(_SURROGATES)
        self._replace_via_keyboard(text, *self.selection)
        self.history.checkpoint()

    def get_cursor_left_location(self) -> Location:
        row, column = self.cursor_location
        near = self._lines[row][max(0, column - _CLUSTER) : column]
        last = deque(steps(near), maxlen=1)
        if not last:
            return super().get_cursor_left_location()
        return row, column - len(last[0])

    def get_cursor_right_location(self) -> Location:
        row, column = self.cursor_location
        near = self._lines[row][column : column + _CLUSTER]
        first = next(steps(near), None)
        if first is None:
            return super().get_cursor_right_location()
        return row, column + len(first)

    def get_target_document_location(self, event: events.MouseEvent) -> Location:
        x = event.x - self.gutter_width + self.scroll_offset.x - self.gutter.left
        y = event.y + self.scroll_offset.y - self.gutter.top
        return self._layout().offset_to_location(Offset(x, y))

    def on_click(self, event: events.Click) -> None:
        """Select the word at a double click, and the line at a triple one."""
        if event.chain > 1:
            row, column = self.get_target_document_location(event)
            line = self._lines[row]
            start, end = (0, len(line)) if event.chain > 2 else word_at(line, column)
            self.selection = Selection((row, start), (row, end))

    def find_matching_bracket(self, bracket: str, search_from: Location) -> None:
        """Do nothing: the bracket could be at the other end of a large text."""

    def get_column_width(self, row: int, column: int) -> int:
        return cells_of(drawn(self._lines[row])[:column], self._rows.tab)

    # Ghost text.

    @property
    def ghost(self) -> str:
        """The part of the suggestion that is visible; "" where none is."""
        return self._with_ghost()[0]

    @property
    def here(self) -> RequestKey:
        return self.revision, self.cursor_index

    def show_ghost(self, text: str, *, revision: int, cursor: int) -> bool:
        """Show a suggestion at the cursor. Return False, and change nothing, if text or
        cursor has changed since the request; what was typed of the suggestion is cut
        off."""
        is_shown = self.selection.is_empty and self._ghosts.show(
            text, request=(revision, cursor), here=self.here, around=self._around()
        )
        if is_shown:
            self._ghost_at = self.cursor_location
            self._show_change()
        return is_shown

    def forget_ghosts(self) -> None:
        """Remove all suggestions, also earlier ones: the model or the prompt has
        changed."""
        self._ghosts.forget()
        self._show_change()

    def action_take(self, part: str) -> None:
        text = _PARTS[part](self.ghost)
        if text and not self.read_only:
            self.history.checkpoint()
            self.insert(text)
            self.history.checkpoint()
        elif part == "all":
            self._insert_tab()
        elif part == "word":
            self.action_cursor_word_right()

    def _insert_tab(self) -> None:
        """Insert a tab if lines of the text begin with one, else spaces up to the next
        stop."""
        has_tabs = "\n\t" in self.text
        tab = "\t" if has_tabs else " " * self._find_columns_to_next_tab_stop()
        self._replace_via_keyboard(tab, *self.selection)

    def action_dismiss(self) -> None:
        self._ghosts.dismiss(self._around())
        self._show_change()
        self.post_message(self.GhostDismissed())

    def action_ask(self) -> None:
        self.post_message(self.SuggestionRequested())

    def action_ask_alternative(self) -> None:
        self.post_message(self.AlternativeRequested())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "dismiss":
            return bool(self.ghost)
        return super().check_action(action, parameters)

    def on_focus(self) -> None:
        self._show_change()

    def on_blur(self) -> None:
        self._show_change()

    def _around(self) -> tuple[str, str]:
        return self._lines.around(self.cursor_location, AROUND)

    # Changes.

    def edit(self, edit: Edit) -> EditResult:
        """Edit the text. All edits but undo and redo come through here."""
        here = self.cursor_location
        at_cursor = edit.from_location == edit.to_location == here
        typed = edit.text if at_cursor and self.selection.is_empty else ""
        revision = self.revision
        with self._changing():
            result = super().edit(edit)
        if self.cursor_location != result.end_location:
            typed = ""  # the ghost text would follow what is behind the cursor
        self._edited(revision, typed)
        return result

    def _undo_batch(self, edits: Sequence[Edit]) -> None:
        revision = self.revision
        with self._changing():
            super()._undo_batch(edits)
        self.history.checkpoint()
        self._edited(revision)

    def _redo_batch(self, edits: Sequence[Edit]) -> None:
        revision = self.revision
        with self._changing():
            super()._redo_batch(edits)
        self._edited(revision)

    def _edited(self, revision: int, typed: str = "") -> None:
        if revision == self.revision:
            return
        self._ghosts.edit(typed, self._around())
        self._ghost_at = self.cursor_location
        self._show_change()
        ghost_stays = bool(self._ghosts.text) and self.selection.is_empty
        self.post_message(self.Edited(ghost_stays))

    def _follow(self, change: DocumentChange) -> None:
        """Update layout and syntax after a change. The cursor has not moved yet."""
        self.revision += 1
        self._rows.follow(change)
        if self._syntax is not None:
            self._syntax.clear()
        self.scored.follow(change.top, change.bottom, change.end)

    def _set_document(self, text: str, language: str | None) -> None:
        self._ghosts.forget()
        document = syntax_document(text, language)
        self._syntax = SyntaxParts(document, language or "") if document else None
        self._lines = document or LineDocument(text)
        self._lines.on_change = self._follow
        self.scored = ScoredText(self._lines.lines)
        self._rows = WrappedLines(
            self._lines, tab_width=self.indent_width, language=language
        )
        self.document = self._lines
        self.wrapped_document = self._rows
        self.navigator = RowNavigator(self._rows)
        self.selection = Selection()
        self._rewrap_and_refresh_virtual_size()

    def watch_selection(self, before: Selection, after: Selection) -> None:
        if self._change_depth or before == after or not self.is_mounted:
            return
        self._ghosts.drop()
        self._refresh_size()
        self.post_message(self.CursorMoved())

    def _show_change(self) -> None:
        if not self.is_mounted or self._change_depth:
            return
        self._refresh_size()
        self.scroll_cursor_visible()
        if self.ghost:
            first, last = self._layout().ghost_rows
            ghost = Region(self._cursor_offset[0], first, 1, last - first + 1)
            self.scroll_to_region(ghost, animate=False, force=True)
        self.refresh()

    # Layout.

    def watch_soft_wrap(self, wrap: bool) -> None:
        """Fix the horizontal scrollbar: if it came and went, the room would change."""
        self.styles.overflow_x = "hidden" if wrap else "scroll"

    def _recompute_cursor_offset(self) -> None:
        self._cursor_offset = self._layout().location_to_offset(self.cursor_location)

    def _refresh_size(self) -> None:
        if self._change_depth:
            return
        layout = self._layout()
        wide = 0 if self.soft_wrap else layout.widest + self.gutter_width + 1
        self.virtual_size = Size(wide, layout.height)
        self._refresh_scrollbars()

    def _layout(self) -> GhostRows:
        return self._with_ghost()[1]

    def _with_ghost(self) -> tuple[str, GhostRows]:
        at, text = self._ghost_at, self._ghosts.text
        is_visible = (
            self.has_focus and self.selection.is_empty and not self._change_depth
        )
        if not text or not is_visible or at != self.cursor_location:
            return "", GhostRows(self._rows)
        height = self.scrollable_content_region.height
        key = (self.revision, at, text, self._rows.width, self._rows.tab, height)
        if self._ghost_layout is None or self._ghost_layout[0] != key:
            ghost = room_for(self._rows, at, text, height)
            self._ghost_layout = (key, ghost, GhostRows(self._rows, at, ghost))
        return self._ghost_layout[1:]

    @property
    def gutter_width(self) -> int:
        digits = len(str(self._lines.line_count)) if self.show_line_numbers else 0
        return digits + 2 if digits or self.heat else 0

    # Heat map.

    def show_scores(self) -> None:
        """Draw what has become known of the text."""
        if self.heat:
            self.refresh()

    def watch_heat(self) -> None:
        """Lay out again: the width of the gutter may change."""
        self._rewrap_and_refresh_virtual_size()
        self.refresh()

    @property
    def visible_lines(self) -> tuple[int, int]:
        """The first and the last line that are at least partly visible."""
        layout = self._layout()
        bottom = layout.height - 1
        # Behind a dialog, a wider editor is drawn before it is scrolled back.
        first = min(self.scroll_offset.y, bottom)
        last = max(first, min(self.scroll_offset.y + self.size.height - 1, bottom))
        return layout.row(first).line, layout.row(last).line

    # Drawing.

    def render_lines(self, crop: Region) -> list[Strip]:
        if self.heat:
            first, last = self.visible_lines
            lines = range(first, last + 1)
            self._max_bits = max(self._bits(line) or 0.0 for line in lines)
        if any(self.styles.gutter):
            return ScrollView.render_lines(self, crop)
        return rendered(self, crop)

    def _bits(self, line: int) -> float | None:
        """Return the surprisal of all that begins in a line; None if nothing is
        scored."""
        total = self.scored.line_sum(line)
        return bits(total.logprob) if total.tokens else None

    def _bar(self, line: int) -> str:
        return bar(self._bits(line), self._max_bits) if self.heat else ""

    def _layers(self, row: GhostRow) -> Iterator[StyleSpan]:
        for part in row.parts:
            if part.column is None:
                yield part.start, part.end, self._style("editor--ghost")
                continue
            if self._syntax is not None:
                for start, end, kind in self._syntax.of(row.line):
                    yield part.layer(start, end, self._style(f"editor--{kind}"))
            if self.heat:
                columns = part.column, part.last_column
                for span in self.scored.spans(row.line, *columns):
                    style = self._heat_style(surprisal_step(span.logprob))
                    style = style + STALE if span.stale else style
                    yield part.layer(span.start, span.end, style)

    def _heat_style(self, level: int) -> Style:
        """Return what a step of surprisal adds to the style of the text; bold type is
        that of the highest steps, and of no keyword."""
        is_tinted = level >= _TINTED
        tint = self.get_component_rich_style("editor--tint").bgcolor
        return Style(
            bgcolor=tint if is_tinted else None,
            bold=is_tinted,
            underline=level >= _UNDERLINED,
        )

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)

    def render_line(self, y: int) -> Strip:
        number = y + self.scroll_offset.y
        layout, base, width = self._layout(), self.rich_style, self.size.width
        if number >= layout.height:
            return Strip.blank(width, base)
        row = layout.row(number)
        layers = [
            *self._layers(row),
            *self._match_styles(row),
            *self._selection_styles(row),
        ]
        if self._draw_cursor:
            cursor_row, index = layout.location_of(self.cursor_location)
            if cursor_row == number:
                cursor_style = self.get_component_rich_style("text-area--cursor")
                if row.is_ghost(index):
                    name = "editor--ghost-cursor"
                    cursor_style += self.get_component_rich_style(name, partial=True)
                layers.append((index, index + 1, _PLAIN + cursor_style))
        strip = draw(
            row.text + (" " if row.ends else ""),
            layers,
            base,
            tab=self._rows.tab,
            left=self.scroll_offset.x,
            width=max(0, width - self.gutter_width - row.indent),
        )
        prefix = [self._gutter_of(row)] if self.gutter_width else []
        prefix += [Strip.blank(row.indent, base)] if row.indent else []
        return Strip.join([*prefix, strip])

    def _match_styles(self, row: GhostRow) -> Iterator[StyleSpan]:
        style = self.get_component_rich_style("text-area--match", partial=True)
        first = self._lines.get_index_from_location((row.line, 0))
        for part in row.parts:
            if part.column is not None:
                columns = first + part.column, first + part.last_column
                for start, end in self.matches.within(*columns):
                    yield part.layer(start - first, end - first, style)

    def _selection_styles(self, row: GhostRow) -> Iterator[StyleSpan]:
        if self.selection.is_empty:
            return
        low, high = sorted(self.selection)
        style = self.get_component_rich_style("text-area--selection")
        if not low[0] <= row.line <= high[0]:
            return
        first = low[1] if row.line == low[0] else 0
        last = high[1] if row.line == high[0] else sys.maxsize
        for part in row.parts:
            yield part.layer(first, last, _PLAIN + style)

    def _gutter_of(self, row: GhostRow) -> Strip:
        has_cursor = row.line == self.cursor_location[0]
        name = "text-area--cursor-gutter" if has_cursor else "text-area--gutter"
        number = str(row.line + 1) if row.first else _CONTINUATION * row.continues
        return gutter(
            number if self.show_line_numbers else "",
            self.gutter_width - 2,
            self._bar(row.line) if row.first else "",
            quiet=self.get_component_rich_style(name),
            hot=self.get_component_rich_style("editor--bar"),
        )
