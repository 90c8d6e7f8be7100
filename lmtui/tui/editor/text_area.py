"""The editor widget: a text with ghost text and a heat map.

Posts `Edited` and `CursorMoved`. Suggestions and scores are given back with the
revision of the text they belong to. Handles the keys that accept or dismiss ghost text.
Knows no engine, no file and no screen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.document._document import Location, Selection
from textual.document._edit import Edit
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widgets.text_area import EditResult

from lmtui.engine.document.words import can_cut
from lmtui.tui.editor.document import KINDS, HeatMap, HeatSpan
from lmtui.tui.editor.exact_area import ExactArea, StyleSpan, bar
from lmtui.tui.editor.layout import GhostRow, GhostRows, room_for
from lmtui.tui.widgets.line_document import DocumentChange
from lmtui.tui.widgets.styled_lines import STALE
from lmtui.tui.widgets.surprisal_styles import CLASSES, TINTED, sheet, tinted_sheet

AROUND = 256
"""Characters before and after a cursor by which a suggestion is recognised."""
_MAX_EARLIER = 64

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


class GhostEditor(ExactArea):
    """A text area with ghost text at the cursor and a heat map over its characters."""

    HELP = """\
The model's suggestion is shown as ghost text at the cursor: Tab takes all of it,
Ctrl+Right a word, Alt+Right a line, Esc dismisses it. Typing the same letters keeps it,
typing others dismisses it. Alt+N and Alt+P show other suggestions, Ctrl+Space asks for
one. Enter goes on with the indentation or the list of the line; in code a block begins
one step deeper. The bracket at the cursor and its partner are marked. In code, the heat
map leaves the colours alone: it underlines what surprised the model, and tints what
surprised it most. A row that continues the line above shows ↳ instead of a line number;
in code and in lists it is indented like its line.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "take('all')", "Take all", id="editor.take-all",
                tooltip="Take the whole suggestion, or indent"),
        Binding("ctrl+right", "take('word')", "Take word", id="editor.take-word",
                show=False,
                tooltip="Take a word of the suggestion, or move a word on"),
        Binding("alt+right", "take('line')", "Take line", id="editor.take-line",
                show=False, tooltip="Take a line of the suggestion"),
        Binding("escape", "dismiss", "Dismiss", id="editor.dismiss", show=False,
                tooltip="Dismiss the suggestion"),
        Binding("alt+n", "ask(1)", "Next ghost", id="editor.next-ghost",
                show=False, tooltip="Show the next alternative"),
        Binding("alt+p", "ask(-1)", "Previous ghost",
                id="editor.previous-ghost", show=False,
                tooltip="Show the previous alternative"),
        Binding("ctrl+@", "ask", "Suggest", id="editor.suggest", show=False,
                tooltip="Ask for a suggestion here"),
    ]  # fmt: skip

    PASSED_ON: ClassVar[frozenset[str]] = frozenset({"editor.dismiss"})
    """Esc is left to the screen where there is no ghost text."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "editor--ghost", "editor--bar", *(f"editor--{kind}" for kind in KINDS),
        "editor--ghost-cursor", *CLASSES,
    }  # fmt: skip

    DEFAULT_CSS = f"""
    GhostEditor > .editor--ghost {{ color: $ghost; text-style: italic; }}
    .editor--ghost-cursor {{ background: $ghost; text-style: italic underline; }}
    GhostEditor > .editor--bar {{ color: $quiet; }}
    GhostEditor > .editor--keyword {{ color: $accent; text-style: bold; }}
    GhostEditor > .editor--string {{ color: $success; }}
    GhostEditor > .editor--number {{ color: $warning; }}
    GhostEditor > .editor--comment {{ color: $secondary; }}
    GhostEditor > .editor--name {{ color: $primary; }}
    {sheet("GhostEditor")}
    {tinted_sheet("GhostEditor")}
    """

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
        """The next or previous alternative is requested (`by` 1 or -1)."""

        by: int

    @dataclass
    class SuggestionRequested(Message):
        """A suggestion is requested by key, even where none would be made
        automatically."""

    def __init__(self, *, id: str | None = None) -> None:
        self._ghosts = Ghosts()
        self._ghost_at: Location = (0, 0)
        self._ghost_layout: tuple[object, str, GhostRows] | None = None
        self._heat_map = HeatMap()
        self._max_bits = 0.0
        super().__init__(id=id)

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
            self.indent()
        elif part == "word":
            self.action_cursor_word_right()

    def action_dismiss(self) -> None:
        self._ghosts.dismiss(self._around())
        self._show_change()
        self.post_message(self.GhostDismissed())

    def action_ask(self, by: int = 0) -> None:
        request = self.AlternativeRequested(by) if by else self.SuggestionRequested()
        self.post_message(request)

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
        here = self.cursor_location
        at_cursor = edit.from_location == edit.to_location == here
        typed = edit.text if at_cursor and self.selection.is_empty else ""
        revision = self.revision
        result = super().edit(edit)
        if self.cursor_location != result.end_location:
            typed = ""  # the ghost text would follow what is behind the cursor
        self._edited(revision, typed)
        return result

    def _undo_batch(self, edits: Sequence[Edit]) -> None:
        revision = self.revision
        super()._undo_batch(edits)
        self._edited(revision)

    def _redo_batch(self, edits: Sequence[Edit]) -> None:
        revision = self.revision
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
        super()._follow(change)
        self._heat_map.follow(change)

    def _set_document(self, text: str, language: str | None) -> None:
        self._ghosts.forget()
        self._heat_map = HeatMap(text.count("\n") + 1)
        super()._set_document(text, language)
        self.set_class(self._syntax is not None, TINTED)

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

    def set_heat(
        self, spans: Sequence[HeatSpan], *, start: int = 0, end: int | None = None
    ) -> None:
        """Replace the heat spans from offset `start` to `end`; `spans` are in order."""
        end = self.characters if end is None else end
        self._heat_map.put(spans, self._lines, start, end)
        if self.heat:
            self.refresh()

    def make_heat_stale(self, start: int, end: int | None = None) -> None:
        """Draw the spans that begin from offset `start` to `end` dim, until they are
        set again."""
        end = self.characters if end is None else end
        self._heat_map.make_stale(self._lines, start, end)
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
            self._max_bits = max(self._heat_map.bits(line) or 0.0 for line in lines)
        return super().render_lines(crop)

    def _bar(self, line: int) -> str:
        return bar(self._heat_map.bits(line), self._max_bits) if self.heat else ""

    def _layers(self, row: GhostRow) -> Iterator[StyleSpan]:
        for part in row.parts:
            if part.column is None:
                yield part.start, part.end, self._style("editor--ghost")
                continue
            if self._syntax is not None:
                for start, end, kind in self._syntax.of(row.line):
                    yield part.layer(start, end, self._style(f"editor--{kind}"))
            if self.heat:
                spans = self._heat_map.between(row.line, part.column, part.last_column)
                for span in spans:
                    style = self._heat_style(span.level)
                    style = style + STALE if span.stale else style
                    yield part.layer(span.start, span.end, style)

    def _heat_style(self, level: int) -> Style:
        """Return what a step of surprisal adds to the style of the text; over syntax
        all but its colour, and without the bold type of keywords."""
        name = f"surprise--{level}"
        if not self.has_class(TINTED):
            return self._style(name)
        full = self.get_component_rich_style(name)
        return Style(
            bgcolor=full.bgcolor, bold=bool(full.bold), underline=bool(full.underline)
        )

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)
