"""A bar that asks for one line of text, such as a location or a file name.

Functions given with the question check and complete an answer. They may read the disk,
so they run outside the event loop. Knows no screen and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, OptionList

from lmtui.editing import file_names, positions
from lmtui.errors import LmtuiError
from lmtui.tui.background import run_in_thread
from lmtui.tui.widgets.cells import drawn
from lmtui.tui.widgets.entry_history import EntryHistory
from lmtui.tui.widgets.key_input import handle_key
from lmtui.tui.widgets.plain_text import PlainLine

_ONE_LINE = {0x09: "→", 0x0A: "⏎"}


class TextField(Input):
    """An input with undo, whose key goes on to the screen where nothing is to undo."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+z", "undo", "Undo", id="field.undo", show=False,
                tooltip="Undo what was typed in this field."),
    ]  # fmt: skip
    PASSED_ON: ClassVar[frozenset[str]] = frozenset({"field.undo"})
    DEFAULT_CSS = """
    TextField {
        width: 1fr;
        height: 1;
        padding: 0;
        border: none;
        background: $background;
        &:focus { border: none; background: $background; background-tint: transparent; }
        & > .input--placeholder { color: $quiet; }
    }
    """

    def __init__(self, *, id: str, placeholder: str = "") -> None:
        self._earlier: list[str] = []  # values, the latest last
        super().__init__(
            id=id, placeholder=placeholder, compact=True, select_on_focus=False
        )

    def watch_value(self, before: str, after: str) -> None:
        if before != after:
            self._earlier.append(before)
            self.refresh_bindings()

    def forget_edits(self) -> None:
        """Undo nothing more here: what the field has was used, or was put there."""
        self._earlier.clear()
        self.refresh_bindings()

    def action_undo(self) -> None:
        self.value = self._earlier.pop()
        del self._earlier[-1:]  # the value that was undone
        self.cursor_position = len(self.value)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "undo":
            return bool(self._earlier)
        return super().check_action(action, parameters)

    @property
    def _value(self) -> Text:
        """The value as it is drawn: as many characters as the value has."""
        return Text(self._shown(), no_wrap=True, overflow="ignore", end="")

    def _shown(self, end: int | None = None) -> str:
        return drawn(self.value).translate(_ONE_LINE)[:end]

    def _position_to_cell(self, position: int) -> int:
        return cell_len(self._shown(position))

    async def _on_key(self, event: events.Key) -> None:
        def write(text: str) -> None:
            self.replace(text, *self.selection)

        await handle_key(self, event, write)


class SearchField(TextField):
    """An input whose Up, Down, Page Up and Page Down move in the list of its screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move_list('cursor_up')", "Up", id="search.up", show=False,
                tooltip="To the line above."),
        Binding("down", "move_list('cursor_down')", "Down", id="search.down",
                show=False, tooltip="To the line below."),
        Binding("pageup", "move_list('page_up')", "Page up", id="search.page-up",
                show=False, tooltip="A page up."),
        Binding("pagedown", "move_list('page_down')", "Page down",
                id="search.page-down", show=False, tooltip="A page down."),
    ]  # fmt: skip

    def action_move_list(self, action: str) -> None:
        """Run an action of the screen's list."""
        getattr(self.screen.query_one(OptionList), f"action_{action}")()


Complete = Callable[[str], str]
"""Map what is written so far to other text."""


@dataclass(frozen=True, slots=True)
class LineQuestion:
    id: str
    label: str
    hint: str
    """Placeholder of the empty field: what can be written."""
    why_not: Complete
    """Return why an answer is invalid; "" where it is valid."""
    completed: Complete | None = None
    """Return the answer extended as far as only one completion is possible."""
    earlier: Callable[[], Sequence[str]] = tuple
    """Return earlier answers, the latest first, which Up and Down recall; may wait for
    the disk."""


class LinePrompt(Horizontal):
    """A bar with one question at a time; hidden while there is none."""

    DEFAULT_CSS = """
    LinePrompt {
        height: 1;
        padding: 0 1;
        background: $panel;
        display: none;
        &.-open { display: block; }
        #label { width: auto; padding: 0 2 0 0; color: $quiet; }
        #wrong { width: auto; max-width: 60%; color: $error; text-style: bold; }
        #wrong.-told { padding: 0 0 0 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", id="ask-line.complete", show=False,
                tooltip="Complete the name, as far as only one fits."),
        Binding("up", "recall(-1)", "Earlier", id="ask-line.earlier", show=False,
                tooltip="The answer before, such as a recent file."),
        Binding("down", "recall(1)", "Later", id="ask-line.later", show=False,
                tooltip="The answer after it."),
        Binding("escape", "close", "Close", id="ask-line.close",
                tooltip="Close the bar without a change."),
    ]  # fmt: skip

    @dataclass
    class Answered(Message):
        question: str
        """The id of the question: `place`, `path` or `open` for those asked here."""
        text: str

    class PromptClosed(Message):
        """The user closed the bar without an answer."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._question: LineQuestion | None = None
        self._earlier = EntryHistory()  # empty until it is read

    def compose(self) -> ComposeResult:
        yield PlainLine(id="label")
        yield TextField(id="answer")
        yield PlainLine(id="wrong")

    @property
    def is_open(self) -> bool:
        return self._question is not None

    def ask_location(self, text: str) -> None:
        def why_not(line_col: str) -> str:
            try:
                positions.offset_named(text, line_col)
            except LmtuiError as error:
                return error.title
            return ""

        lines = text.count("\n") + 1
        hint = f"LINE or LINE:COL, 1 to {lines:,}"
        self.ask(LineQuestion("place", "Go to line", hint, why_not))

    def ask_path(self, path: str) -> None:
        hint, completed = "a file; Tab completes", file_names.completed
        why_not = file_names.why_not
        self.ask(LineQuestion("path", "Save as", hint, why_not, completed), path)

    def ask_open(self, recent: Callable[[], Sequence[str]]) -> None:
        hint, completed = "a file; Tab completes, ↑ recent files", file_names.completed
        why_not = file_names.why_not
        self.ask(LineQuestion("open", "Open", hint, why_not, completed, recent))

    def ask(self, question: LineQuestion, value: str = "") -> None:
        self._question = question
        self.add_class("-open")
        self.query_one("#label", PlainLine).update(question.label)
        field = self.field
        field.placeholder, field.value = question.hint, value
        field.cursor_position = len(value)
        field.forget_edits()
        self.screen.set_focus(field)  # at once: what is typed next is for the field
        self._show_reason("")
        self._earlier = earlier = EntryHistory()

        def add(answers: Sequence[str]) -> None:
            for answer in reversed(answers):
                earlier.add(answer)

        run_in_thread(question.earlier, self.call_later, add)

    @property
    def field(self) -> TextField:
        return self.query_one("#answer", TextField)

    def _show_reason(self, reason: str) -> None:
        wrong = self.query_one("#wrong", PlainLine)
        wrong.update(reason)
        wrong.set_class(bool(reason), "-told")

    @on(Input.Changed)
    def forget_reason(self, event: Input.Changed) -> None:
        event.stop()
        self._show_reason("")

    @on(Input.Submitted)
    def check(self, event: Input.Submitted) -> None:
        event.stop()
        question, text = self._question, event.value
        if question is None:
            return

        def end(reason: str) -> None:
            if reason:
                self._show_reason(reason)
            else:
                self._hide()
                self.post_message(self.Answered(question.id, text))

        self._run(question.why_not, end)

    def action_complete(self) -> None:
        def end(completed: str) -> None:
            self.field.value = completed
            self.field.cursor_position = len(completed)

        if self._question is not None and self._question.completed is not None:
            self._run(self._question.completed, end)

    def _run(self, call: Complete, then: Callable[[str], None]) -> None:
        """Call a function of the question with what is written so far; `then` gets its
        result, unless something else is asked or written by then."""
        question, text = self._question, self.field.value

        def if_current(use: Callable[[Any], None], result: object) -> None:
            if question is self._question and text == self.field.value:
                use(result)

        run_in_thread(
            lambda: call(text),
            self.call_later,
            partial(if_current, then),
            failed=partial(if_current, lambda error: self._show_reason(error.title)),
            bug="this can't be used",
        )

    def action_recall(self, by: int) -> None:
        self.field.value = self._earlier.recall(by, self.field.value)
        self.field.cursor_position = len(self.field.value)

    def _hide(self) -> None:
        self._question = None
        self.remove_class("-open")

    def action_close(self) -> None:
        self._hide()
        self.post_message(self.PromptClosed())
