"""A bar that asks for one line: a place to go to, a name to save under.

Owns the field, and what stands beside it when an answer can't be used. What can be
used, and how an answer goes on, is told by functions that are given; they may wait for
a disk and are called aside. Knows no screen and no file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from lmtui.editing import file_names, positions
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.background import aside
from lmtui.tui.editor.exact_area import DrawnArea
from lmtui.tui.editor.layout import drawn
from lmtui.tui.widgets.key_input import take_key

_ONE_LINE = {0x09: "→", 0x0A: "⏎"}


class TextField(Input):
    """An input without a border."""

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
        super().__init__(
            id=id, placeholder=placeholder, compact=True, select_on_focus=False
        )

    @property
    def _value(self) -> Text:
        """The value as it is drawn, a character for each of its own."""
        return Text(self._shown(), no_wrap=True, overflow="ignore", end="")

    def _shown(self, end: int | None = None) -> str:
        return drawn(self.value).translate(_ONE_LINE)[:end]

    def _position_to_cell(self, position: int) -> int:
        return cell_len(self._shown(position))

    async def _on_key(self, event: events.Key) -> None:
        def write(text: str) -> None:
            self.replace(text, *self.selection)

        await take_key(self, event, write)


class TextBox(DrawnArea):
    """A text field of several lines without a border."""

    DEFAULT_CSS = """
    TextBox {
        border: none;
        padding: 0;
        background: $surface;
        scrollbar-size-vertical: 1;
        &:focus { border: none; background: $panel; background-tint: transparent; }
    }
    """

    def __init__(self, *, id: str, placeholder: str = "") -> None:
        super().__init__(
            id=id,
            soft_wrap=True,
            show_line_numbers=False,
            highlight_cursor_line=False,
            tab_behavior="focus",
            placeholder=placeholder,
        )

    async def _on_key(self, event: events.Key) -> None:
        def write(text: str) -> None:
            self._replace_via_keyboard(text, *self.selection)

        await take_key(self, event, write)


Where = Literal["cursor_up", "cursor_down", "page_up", "page_down"]


class SearchField(TextField):
    """A line to write in; Up and Down are for the list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "walk('cursor_up')", "Up", id="search.up", show=False,
                tooltip="To the line above."),
        Binding("down", "walk('cursor_down')", "Down", id="search.down", show=False,
                tooltip="To the line below."),
        Binding("pageup", "walk('page_up')", "Page up", id="search.page-up",
                show=False, tooltip="A page up."),
        Binding("pagedown", "walk('page_down')", "Page down", id="search.page-down",
                show=False, tooltip="A page down."),
    ]  # fmt: skip

    class Walked(Message):
        """The list is to be walked."""

        def __init__(self, where: Where) -> None:
            self.where = where
            """The action of an `OptionList`."""
            super().__init__()

    def action_walk(self, where: Where) -> None:
        """Say where to."""
        self.post_message(self.Walked(where))


Complete = Callable[[str], str]
"""From what is written to other words."""


@dataclass(frozen=True, slots=True)
class LineQuestion:
    """Something that is asked for in one line."""

    id: str
    label: str
    hint: str
    """What can be written; stands in the empty field."""
    why_not: Complete
    """Why an answer can't be used; nothing where it can."""
    completed: Complete | None = None
    """An answer with more of what can only follow."""


def _place_in(text: str) -> LineQuestion:
    def why_not(place: str) -> str:
        try:
            positions.offset_named(text, place)
        except LmtuiError as error:
            return error.title
        return ""

    lines = text.count("\n") + 1
    return LineQuestion(
        "place", "Go to line", f"LINE or LINE:COL, 1 to {lines:,}", why_not
    )


_PATH = LineQuestion(
    "path", "Save as", "a file; Tab completes", file_names.why_not, file_names.completed
)


class LinePrompt(Horizontal):
    """One question at a time; hidden without one."""

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
                tooltip="Write the rest of a name, as far as there is only one."),
        Binding("escape", "close", "Close", id="ask-line.close",
                tooltip="Close the bar; nothing is done."),
    ]  # fmt: skip

    class Answered(Message):
        """The user gave an answer that can be used."""

        def __init__(self, question: str, text: str) -> None:
            self.question = question
            """The id of what was asked: `place` or `path`."""
            self.text = text
            super().__init__()

    class Closed(Message):
        """The user gave no answer."""

    class Checked(Message):
        """It was found out whether an answer can be used."""

        def __init__(self, question: LineQuestion, text: str, reason: str) -> None:
            self.question, self.text, self.reason = question, text, reason
            super().__init__()

    class Completed(Message):
        """It was found out how an answer goes on."""

        def __init__(self, question: LineQuestion, text: str, whole: str) -> None:
            self.question, self.text, self.whole = question, text, whole
            super().__init__()

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._question: LineQuestion | None = None

    def compose(self) -> ComposeResult:
        """The question, the field, and what is wrong."""
        yield Static(id="label", markup=False)
        yield TextField(id="answer")
        yield Static(id="wrong", markup=False)

    @property
    def is_open(self) -> bool:
        """Whether something is asked for."""
        return self._question is not None

    def ask_place(self, text: str) -> None:
        """Ask for a place of a text; the answer names it for `positions`."""
        self.ask(_place_in(text))

    def ask_path(self, path: str) -> None:
        """Ask for a file, beginning with one; the answer names it for `naming`."""
        self.ask(_PATH, path)

    def ask(self, question: LineQuestion, value: str = "") -> None:
        """Ask for a line; `value` is there to be changed."""
        self._question = question
        self.add_class("-open")
        self.query_one("#label", Static).update(Content(question.label))
        field = self._field
        field.placeholder, field.value = question.hint, value
        field.cursor_position = len(value)
        self.screen.set_focus(field)  # at once: what is typed next is meant for it
        self._tell("")

    @property
    def _field(self) -> Input:
        return self.query_one("#answer", Input)

    def _tell(self, reason: str) -> None:
        wrong = self.query_one("#wrong", Static)
        wrong.update(Content(visible_line(reason)))
        wrong.set_class(bool(reason), "-told")

    @on(Input.Changed)
    def forget_reason(self, event: Input.Changed) -> None:
        """Another answer is written."""
        event.stop()
        self._tell("")

    @on(Input.Submitted)
    def check(self, event: Input.Submitted) -> None:
        """Find out whether the answer can be used."""
        event.stop()
        question, text = self._question, event.value
        if question is None:
            return

        def work() -> Message:
            return self.Checked(question, text, question.why_not(text))

        bug = self.Checked(question, text, "this can't be used")
        aside(work, self.post_message, otherwise=bug)

    @on(Checked)
    def answer(self, event: Checked) -> None:
        """Say what is wrong with it, or pass it on."""
        event.stop()
        if event.question is not self._question or event.text != self._field.value:
            return
        if event.reason:
            self._tell(event.reason)
        else:
            self._hide()
            self.post_message(self.Answered(event.question.id, event.text))

    def action_complete(self) -> None:
        """Find out how the answer goes on."""
        question, text = self._question, self._field.value
        if question is None or question.completed is None:
            return
        completed = question.completed

        def work() -> Message:
            return self.Completed(question, text, completed(text))

        same = self.Completed(question, text, text)
        aside(work, self.post_message, otherwise=same)

    @on(Completed)
    def write_rest(self, event: Completed) -> None:
        """Write it, unless something else was written meanwhile."""
        event.stop()
        field = self._field
        if event.question is self._question and event.text == field.value:
            field.value = event.whole
            field.cursor_position = len(event.whole)

    def _hide(self) -> None:
        self._question = None
        self.remove_class("-open")

    def action_close(self) -> None:
        """Hide it and say so."""
        self._hide()
        self.post_message(self.Closed())
