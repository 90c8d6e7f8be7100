"""A text area with an editor's keys: for indentation, for whole lines, for movement.

Each edit is one undo step. The edits themselves are values of `lmtui.editing`. Knows
neither layout nor drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.document._document import EditResult, Location, Selection
from textual.document._edit import Edit
from textual.widgets import TextArea

from lmtui.editing import brackets, comments, indent, line_edits
from lmtui.editing.indent import DEFAULT_STEP, Insertion, is_prose
from lmtui.editing.line_edits import LineEdit


@dataclass
class SelectingEdit(Edit):
    """An edit with the selection that it leaves, also when it is redone."""

    selected: Selection

    def do(self, text_area: TextArea, record_selection: bool = True) -> EditResult:
        """Replace the text; the selection follows once the text is laid out."""
        result = super().do(text_area, record_selection)
        self._updated_selection = self.selected
        return result


class LineArea(TextArea):
    BINDINGS: ClassVar[list[BindingType]] = [
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
        Binding("shift+tab", "dedent", "Dedent", show=False, id="editor.dedent",
                tooltip="Dedent the line, or the selected lines"),
        Binding("ctrl+slash,ctrl+underscore", "comment", "Comment", show=False,
                id="editor.comment", tooltip="Comment lines out, or in again"),
        Binding("alt+up", "move_lines(-1)", "Line up", show=False, id="editor.line-up",
                tooltip="Move the line, or the lines, up"),
        Binding("alt+down", "move_lines(1)", "Line down", show=False,
                id="editor.line-down", tooltip="Move the line, or the lines, down"),
        Binding("alt+d", "duplicate", "Duplicate", show=False, id="editor.duplicate",
                tooltip="Repeat the line, or the selection"),
        Binding("alt+j", "join", "Join lines", show=False, id="editor.join",
                tooltip="Join the line with the next, or several"),
        Binding("alt+m", "bracket", "Other bracket", show=False, id="editor.bracket",
                tooltip="From a bracket to its partner"),
    ]  # fmt: skip

    indent_step = DEFAULT_STEP
    """The white space of one step of indentation."""

    def code_of(self, line: int, start: int, end: int) -> str:
        """Return a line between two columns. Subclasses that know what is in strings
        and comments overwrite it."""
        return self.document[line][start:end]

    # Edits.

    def apply(self, edit: LineEdit | None) -> None:
        if edit is None:
            return
        text = "\n".join(edit.lines)
        end = (edit.last, len(self.document[edit.last]))
        self._change(text, (edit.first, 0), end, Selection(*edit.selection))

    def insert_at_selection(self, new: Insertion) -> None:
        """Insert a text instead of the selection, as one undo step."""
        low, high = sorted(self.selection)
        top, bottom = (low[0], low[1] - new.before), (high[0], high[1] + new.after)
        lines = new.text[: new.cursor].split("\n")
        column = len(lines[-1]) + (top[1] if len(lines) == 1 else 0)
        cursor = (top[0] + len(lines) - 1, column)
        self._change(new.text, top, bottom, Selection.cursor(cursor))

    def _change(
        self, text: str, top: Location, bottom: Location, after: Selection
    ) -> None:
        if self.read_only:
            return
        self.history.checkpoint()
        self.edit(SelectingEdit(text, top, bottom, False, after))
        self.history.checkpoint()
        self.record_cursor_width()

    # Indentation.

    def indent(self) -> None:
        low, high = sorted(self.selection)
        if low[0] == high[0]:
            whitespace = indent.to_next_stop(
                self.get_column_width(*low), self.indent_step
            )
            self._replace_via_keyboard(whitespace, low, high)
            return
        self.apply(
            line_edits.indented(self.document.lines, self.selection, self.indent_step)
        )

    def action_dedent(self) -> None:
        self.apply(
            line_edits.dedented(self.document.lines, self.selection, self.indent_step)
        )

    def new_line(self) -> None:
        low, high = sorted(self.selection)
        new = indent.new_line(
            self.document[low[0]][: low[1]],
            self.document[high[0]][high[1] :],
            step=self.indent_step,
            language=self.language,
            code=self.code_of(low[0], 0, low[1]),
        )
        self.insert_at_selection(new)

    def close_block(self, bracket: str) -> bool:
        """Write a closing bracket, the first character of its line, as deep as the line
        of its partner. Return False, and write nothing, where it is not the first, or
        is that deep already."""
        line, column = self.cursor_location
        prefix = self.document[line][:column]
        first = not prefix.strip(" \t") and self.code_of(line, 0, column) == prefix
        if not first or not self.selection.is_empty or is_prose(self.language):
            return False
        partner = brackets.closed_by(
            self.document.lines, (line, column), bracket, self.code_of
        )
        if partner is None:
            return False
        whitespace = indent.leading(self.document[partner[0]])
        if whitespace == prefix:
            return False
        text = whitespace + bracket
        self.insert_at_selection(Insertion(text, len(text), before=column))
        return True

    async def _on_key(self, event: events.Key) -> None:
        if self.read_only:
            return
        if event.key == "enter":
            self.new_line()
        elif not (
            event.character
            and event.character in brackets.CLOSERS
            and self.close_block(event.character)
        ):
            return
        event.stop()
        event.prevent_default()

    def action_delete_left(self) -> None:
        line, column = self.cursor_location
        prefix = self.document[line][:column]
        if not self.selection.is_empty or prefix.strip(" \t") or not prefix:
            super().action_delete_left()
            return
        stop = len(indent.to_previous_stop(prefix, self.indent_step))
        self._delete_via_keyboard((line, column), (line, stop))

    # Whole lines.

    def action_comment(self) -> None:
        if signs := comments.signs_of(self.language):
            lines = self.document.lines
            self.apply(comments.toggled(lines, self.selection, signs))
        else:
            self.notify("There are no comments in this kind of file.")

    def action_move_lines(self, by: int) -> None:
        self.apply(line_edits.moved(self.document.lines, self.selection, by))

    def action_duplicate(self) -> None:
        self.apply(line_edits.duplicated(self.document.lines, self.selection))

    def action_join(self) -> None:
        self.apply(line_edits.joined(self.document.lines, self.selection))

    # Movement.

    def action_text_edge(self, edge: str, select: bool = False) -> None:
        location = (0, 0) if edge == "start" else self.document.end
        self.selection = Selection(
            self.selection.start if select else location, location
        )
        self.record_cursor_width()
        self.history.checkpoint()

    def bracket_pair(self) -> tuple[Location, Location] | None:
        """Return the bracket at the cursor and its partner; None where there is no
        pair, or the partner is too far away."""
        return brackets.pair_at(self.document.lines, self.cursor_location, self.code_of)

    def action_bracket(self) -> None:
        if pair := self.bracket_pair():
            self.move_cursor(pair[1])
        else:
            self.notify("There is no pair of brackets at the cursor.")
