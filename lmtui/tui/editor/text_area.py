"""The editor: a text, the ghost that waits in it, and how surprising it is.

Fed with values; posts facts. Owns what the keys do to a ghost, and when a ghost is
seen. Knows no engine, no file and no screen: whoever hears `Edited` or `CursorMoved`
asks for numbers, and gives them back with the revision that they belong to.
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

from lmtui.engine.words import can_cut
from lmtui.tui.editor.document import KINDS, DocumentChange, HeatMap, HeatSpan
from lmtui.tui.editor.exact_area import ExactArea, StyleSpan, bar
from lmtui.tui.editor.layout import GhostRow, GhostRows, room_for
from lmtui.tui.widgets.styled_lines import STALE
from lmtui.tui.widgets.surprisal_styles import CLASSES, sheet

AROUND = 256
"""Characters before and after a cursor that tell it apart from others."""
_KEPT = 64

Asked = tuple[int, int]
"""The revision of a text, and the place in it."""
Around = tuple[str, str]
"""What stands before a cursor and after it."""


class Ghosts:
    """The ghost at a cursor, and the last ones that were elsewhere."""

    def __init__(self) -> None:
        self.text = ""
        """What is suggested at the cursor now."""
        self._asked: Asked | None = None
        self._typed = ""
        """What was typed of it since it was asked for."""
        self._earlier: OrderedDict[Around, str] = OrderedDict()

    def show(self, text: str, *, asked: Asked, here: Asked, around: Around) -> bool:
        """Suggest `text`; False where what it was asked for is no longer true.

        It is still true where nothing but the ghost itself was typed since.
        """
        if asked == here:
            self._typed = ""
        elif asked != self._asked or not text.startswith(self._typed):
            return False
        self._asked = asked
        self.text = text[len(self._typed) :]
        self._keep(around)
        return True

    def edit(self, typed: str, around: Around) -> None:
        """The text was edited: `typed` was put in at the cursor and nothing else
        changed, or it is empty. `around` is what the cursor stands in now."""
        if typed and self.text.startswith(typed):
            self.text = self.text[len(typed) :]
            self._typed += typed
            self._keep(around)
            return
        self.drop()
        if around in self._earlier:
            self._earlier.move_to_end(around)
            self.text = self._earlier[around]

    def drop(self) -> None:
        """Suggest nothing, until it is asked again or the text is as it was."""
        self.text = self._typed = ""
        self._asked = None

    def dismiss(self, around: Around) -> None:
        """Suggest nothing, and not this again."""
        self.drop()
        self._earlier.pop(around, None)

    def forget(self) -> None:
        """Suggest nothing, and nothing of what was suggested before."""
        self.drop()
        self._earlier.clear()

    def _keep(self, around: Around) -> None:
        if not self.text:
            return
        self._earlier[around] = self.text
        self._earlier.move_to_end(around)
        if len(self._earlier) > _KEPT:
            self._earlier.popitem(last=False)


def first_word(text: str) -> str:
    """The beginning of a text up to the end of its first word, or of the signs that
    stand together there."""
    start = len(text) - len(text.lstrip()) + 1
    for place in range(start, len(text)):
        signs = _is_sign(text[place - 1]) and _is_sign(text[place])
        if can_cut(text, place) and not signs:
            return text[:place]
    return text


def first_line(text: str) -> str:
    """The beginning of a text up to the end of its line; of the next one, where it
    begins with a newline."""
    end = text.find("\n", 1)
    return text if end < 0 else text[:end]


def _is_sign(character: str) -> bool:
    return not (character.isalnum() or character.isspace())


_TAKES: dict[str, Callable[[str], str]] = {
    "all": str, "word": first_word, "line": first_line,
}  # fmt: skip


class GhostEditor(ExactArea):
    """A text area with a ghost at the cursor and heat over its characters."""

    HELP = """\
What the model would write stands behind the cursor as a ghost: Tab takes all of it,
Ctrl+Right a word, Alt+Right a line, Esc sends it away. Writing what it says keeps it;
writing anything else drops it. Alt+N and Alt+P show other ghosts, Ctrl+Space asks for
one. Heat, where it is on, takes the place of the colours of a language. A row that
goes on with the line above has ↳ in the place of a number.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "take('all')", "Take all", id="editor.take-all",
                tooltip="Take the whole ghost; indent where there is none"),
        Binding("ctrl+right", "take('word')", "Take word", id="editor.take-word",
                show=False,
                tooltip="Take a word of the ghost; a word on where there is none"),
        Binding("alt+right", "take('line')", "Take line", id="editor.take-line",
                show=False, tooltip="Take a line of the ghost"),
        Binding("escape", "dismiss", "Dismiss", id="editor.dismiss", show=False,
                tooltip="Send the ghost away"),
        Binding("alt+n", "ask(1)", "Next ghost", id="editor.next-ghost",
                show=False, tooltip="Show the next alternative"),
        Binding("alt+p", "ask(-1)", "Previous ghost",
                id="editor.previous-ghost", show=False,
                tooltip="Show the previous alternative"),
        Binding("ctrl+@", "ask", "Suggest", id="editor.suggest", show=False,
                tooltip="Ask for a ghost here"),
    ]  # fmt: skip

    PASSED_ON: ClassVar[frozenset[str]] = frozenset({"editor.dismiss"})
    """Esc is the screen's where there is no ghost to send away."""

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
    """

    heat: reactive[bool] = reactive(False, init=False)
    """Whether characters are shaded by their surprise, instead of by the syntax."""

    @dataclass
    class Edited(Message):
        """The text has changed, and the cursor with it."""

        revision: int
        cursor: int
        ghost_kept: bool
        """A ghost stands at the cursor already: nobody needs to be asked for one."""

    @dataclass
    class CursorMoved(Message):
        """The cursor is elsewhere, or what is selected up to it; the text is not."""

        index: int
        revision: int

    @dataclass
    class GhostTaken(Message):
        """A part of the ghost, or all of it, is text now."""

        text: str
        rest: str

    @dataclass
    class GhostDismissed(Message):
        """The user does not want the ghost."""

    @dataclass
    class AlternativeRequested(Message):
        """Another ghost is wanted: the next one, or the previous."""

        by: int

    @dataclass
    class SuggestionRequested(Message):
        """A ghost is wanted here, whatever speaks against it."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        self._ghosts = Ghosts()
        self._ghost_at: Location = (0, 0)
        self._laid: tuple[object, str, GhostRows] | None = None
        self._marks = HeatMap()
        self._hottest = 0.0
        super().__init__(id=id, classes=classes)

    # The ghost.

    @property
    def ghost(self) -> str:
        """What is seen of the ghost; empty where none is seen."""
        return self._with_ghost()[0]

    def show_ghost(self, text: str, *, revision: int, cursor: int) -> bool:
        """Suggest `text` at the cursor. False, and nothing happens, where the text or
        the cursor is no longer what it was asked for: but what was typed of the ghost
        itself is taken off."""
        here = (self.revision, self.cursor_index)
        shown = self.selection.is_empty and self._ghosts.show(
            text, asked=(revision, cursor), here=here, around=self._around()
        )
        if shown:
            self._ghost_at = self.cursor_location
            self._show_change()
        return shown

    def clear_ghost(self) -> None:
        """Suggest nothing here."""
        self._ghosts.drop()
        self._show_change()

    def forget_ghosts(self) -> None:
        """Suggest nothing of what was: the model, or what it is asked, is another."""
        self._ghosts.forget()
        self._show_change()

    def action_take(self, what: str) -> None:
        """Take a part of the ghost; without one, do what the key does elsewhere."""
        text = _TAKES[what](self.ghost)
        if text and not self.read_only:
            self.history.checkpoint()
            self.insert(text)
            self.history.checkpoint()
            self.post_message(self.GhostTaken(text, self.ghost))
        elif what == "all":
            self.indent()
        elif what == "word":
            self.action_cursor_word_right()

    def action_dismiss(self) -> None:
        """Send the ghost away."""
        self._ghosts.dismiss(self._around())
        self._show_change()
        self.post_message(self.GhostDismissed())

    def action_ask(self, by: int = 0) -> None:
        """Ask for another ghost, or for one at all."""
        asked = self.AlternativeRequested(by) if by else self.SuggestionRequested()
        self.post_message(asked)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys are passed on where there is no ghost."""
        if action == "dismiss":
            return bool(self.ghost)
        return super().check_action(action, parameters)

    def on_focus(self) -> None:
        """A ghost is seen again."""
        self._show_change()

    def on_blur(self) -> None:
        """A ghost is seen only where one writes."""
        self._show_change()

    def _around(self) -> tuple[str, str]:
        return self._lines.around(self.cursor_location, AROUND)

    # What changes.

    def edit(self, edit: Edit) -> EditResult:
        """Edit, and see what becomes of the ghost."""
        here = self.cursor_location
        at_cursor = edit.from_location == edit.to_location == here
        typed = edit.text if at_cursor and self.selection.is_empty else ""
        revision = self.revision
        result = super().edit(edit)
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
        kept = bool(self._ghosts.text) and self.selection.is_empty
        self.post_message(self.Edited(self.revision, self.cursor_index, kept))

    def _follow(self, change: DocumentChange) -> None:
        super()._follow(change)
        self._marks.follow(change)

    def _set_document(self, text: str, language: str | None) -> None:
        self._ghosts.forget()
        self._marks = HeatMap(text.count("\n") + 1)
        super()._set_document(text, language)

    def watch_selection(self, before: Selection, after: Selection) -> None:
        """A ghost does not follow the cursor."""
        if self._busy or before == after or not self.is_mounted:
            return
        self._ghosts.drop()
        self._refresh_size()
        self.post_message(self.CursorMoved(self.cursor_index, self.revision))

    def _show_change(self) -> None:
        """The ghost is another one: make room for it, and let it be seen."""
        if not self.is_mounted or self._busy:
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
        """What is seen of the ghost, and where everything stands with it."""
        at, text = self._ghost_at, self._ghosts.text
        seen = self.has_focus and self.selection.is_empty and not self._busy
        if not text or not seen or at != self.cursor_location:
            return "", GhostRows(self._rows)
        height = self.scrollable_content_region.height
        key = (self.revision, at, text, self._rows.width, self._rows.tab, height)
        if self._laid is None or self._laid[0] != key:
            ghost = room_for(self._rows, at, text, height)
            self._laid = (key, ghost, GhostRows(self._rows, at, ghost))
        return self._laid[1:]

    @property
    def gutter_width(self) -> int:
        """The number of a line and its bar."""
        digits = len(str(self._lines.line_count)) if self.show_line_numbers else 0
        return digits + 2 if digits or self.heat else 0

    # Heat.

    def set_heat(
        self, spans: Sequence[HeatSpan], *, start: int = 0, end: int | None = None
    ) -> None:
        """Shade these spans, in order, instead of all from `start` to `end`."""
        end = self.characters if end is None else end
        self._marks.put(spans, self._lines, start, end)
        if self.heat:
            self.refresh()

    def make_heat_stale(self, start: int, end: int | None = None) -> None:
        """Draw what begins from `start` to `end` dim, until it is set again."""
        end = self.characters if end is None else end
        self._marks.make_stale(self._lines, start, end)
        if self.heat:
            self.refresh()

    def watch_heat(self) -> None:
        """The gutter is wider or narrower, perhaps."""
        self._rewrap_and_refresh_virtual_size()
        self.refresh()

    @property
    def visible_lines(self) -> tuple[int, int]:
        """The first line and the last that are seen, at least in part."""
        layout, top = self._layout(), self.scroll_offset.y
        last = max(top, min(top + self.size.height, layout.height) - 1)
        return layout.row(top).line, layout.row(last).line

    # Drawing.

    def render_lines(self, crop: Region) -> list[Strip]:
        """Find out how long the longest bar is, and draw."""
        if self.heat:
            first, last = self.visible_lines
            lines = range(first, last + 1)
            self._hottest = max(self._marks.bits(line) or 0.0 for line in lines)
        return super().render_lines(crop)

    def _bar(self, line: int) -> str:
        return bar(self._marks.bits(line), self._hottest) if self.heat else ""

    def _layers(self, row: GhostRow) -> Iterator[StyleSpan]:
        for part in row.parts:
            if part.column is None:
                yield part.start, part.end, self._style("editor--ghost")
            elif self.heat:
                marks = self._marks.between(row.line, part.column, part.last_column)
                for mark in marks:
                    style = self._style(f"surprise--{mark.level}")
                    style = style + STALE if mark.stale else style
                    yield part.layer(mark.start, mark.end, style)
            elif self._syntax is not None:
                for start, end, kind in self._syntax.of(row.line):
                    yield part.layer(start, end, self._style(f"editor--{kind}"))

    def _style(self, name: str) -> Style:
        """What a component adds to the looks of the text."""
        return self.get_component_rich_style(name, partial=True)
