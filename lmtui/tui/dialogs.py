"""Modal dialogs: a question with choices, a failed load of a model, a page of text;
and errors in passing.

A dialog only returns the answer; its caller acts on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Input, OptionList, TextArea
from textual.widgets.option_list import Option

from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.text import visible_line
from lmtui.tui.keys import shown_actions
from lmtui.tui.model_state import full_name, shown_name
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.plain_text import PlainLine, PlainText, plain_line

T = TypeVar("T")

_NAME = 13  # cells for the name of a choice

_AROUND = 7  # lines of a page around its text


def notify_error(app: App[Any], error: LmtuiError) -> None:
    text = "\n".join(part for part in (error.detail, error.hint) if part)
    app.notify(text, title=error.title, severity="error", timeout=12)


def uncover(dialog: ModalScreen[Any], row: int) -> None:
    """Move a dialog at the bottom of the screen to its top, where it would cover this
    row."""
    dialog.set_class(row >= dialog.app.size.height // 2, "-top")


class ActionList(DialogList):
    """List of the screen's bindings, and of further actions under headings."""

    DEFAULT_CSS = """
    ActionList {
        & > .option-list--option-disabled { color: $quiet; }
        & > .option-list--option-highlighted,
        &:focus > .option-list--option-highlighted { text-style: bold; }
    }
    """

    def offer(
        self,
        *,
        details: Mapping[str, str],
        more: Mapping[str, Mapping[str, str]],
    ) -> None:
        """List the actions of the screen's keys, then `more` under its headings.

        `details` replaces the tooltip of an action; `more` has labels by action.
        """
        index = self.highlighted
        self.clear_options()
        for binding, key in shown_actions(self.screen):
            if not binding.show:
                continue
            description = details.get(binding.action, binding.tooltip)
            line = choice_line(key, binding.description, description)
            self.add_option(Option(line, id=binding.action))
        for heading, choices in more.items():
            if choices:
                title = Option(Content(f"      {heading}"), disabled=True)
                self.add_options([None, title])
            for action, text in choices.items():
                label = plain_line(f"      {text}")
                self.add_option(Option(label, id=action))
        self.highlighted = min(index or 0, self.option_count - 1)

    @on(OptionList.OptionSelected)
    async def run_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id:
            await self.screen.run_action(event.option_id)


def choice_line(key: str, name: str, description: str) -> Content:
    label = f"{name:<{_NAME}} " + ("· " if len(name) >= _NAME else "")
    return Content.assemble((f"{key:>4}  ", "$accent"), label, (description, "$quiet"))


@dataclass(frozen=True, slots=True)
class Choice:
    key: str
    """The dialog's answer; in a dialog that was asked for, the letter that takes it."""
    label: str
    what: str
    """Effect of the choice, in a clause."""


class _ChoiceList(ActionList):
    """List of a dialog's choices."""

    def _forward_event(self, event: events.Event) -> None:
        dialog = self.screen
        if not (isinstance(dialog, ConfirmDialog) and dialog.pass_on(event)):
            super()._forward_event(event)


class ConfirmDialog(ModalScreen[str]):
    """Question with details and choices; answers with the key of a choice.

    Esc takes the harmless choice, which is marked first. A dialog that the user `asked`
    for takes the letters of the others. One that the program opens by itself may come
    while the user types: what is typed goes on to the field below.
    """

    HELP = """\
Arrows and Enter choose, Esc changes nothing. A letter that stands before a choice takes
it; where there is none, what you type is written into the text below.
"""
    CSS_PATH = "ask.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high")]  # noqa: RUF012 (as the base's)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", id="ask.leave",
                tooltip="Change nothing."),
    ]  # fmt: skip

    def __init__(
        self,
        title: str,
        details: Sequence[str],
        choices: Sequence[Choice],
        *,
        harmless: str,
        asked: bool = False,
    ) -> None:
        super().__init__()
        self._question = title
        self._details = "\n".join(map(visible_line, details))
        self._choices = {choice.key: choice for choice in choices}
        self._harmless, self._asked = harmless, asked

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield PlainLine(self._question, id="title")
            with VerticalScroll(id="details", can_focus=False):
                yield PlainText(self._details)
            yield _ChoiceList(id="choices")

    def on_mount(self) -> None:
        choices = self.query_one(ActionList)
        for key, choice in self._choices.items():
            letter = "Esc" if key == self._harmless else key if self._asked else ""
            line = choice_line(letter, choice.label, choice.what)
            choices.add_option(Option(line, id=f"answer({key!r})"))
        choices.highlighted = list(self._choices).index(self._harmless)
        choices.focus()

    # What is typed.

    def _forward_event(self, event: events.Event) -> None:
        if not self.pass_on(event):
            super()._forward_event(event)

    def pass_on(self, event: events.Event) -> bool:
        """Pass what is typed to the field below; return whether it is not for the
        dialog. The app asks before an event waits in any queue, so that none overtakes
        another as the dialog closes."""
        is_key = isinstance(event, events.Key) and event.is_printable
        if self._asked or not (is_key or isinstance(event, events.Paste)):
            return False
        if (field := self._field_below()) is not None:
            field._forward_event(event)
        return True

    def _field_below(self) -> Input | TextArea | None:
        stack = self.app.screen_stack
        for screen in reversed(stack[: stack.index(self)]):
            if isinstance(screen.focused, Input | TextArea):
                return screen.focused
            if not screen.is_modal:
                break
        return None

    def on_key(self, event: events.Key) -> None:
        if event.is_printable:
            event.stop()
            if event.character in self._choices and event.character != self._harmless:
                self.action_answer(event.character)

    def action_answer(self, answer: str) -> None:
        if self.is_current:
            self.dismiss(answer)

    def action_leave(self) -> None:
        self.action_answer(self._harmless)


def ask(
    screen: Screen[Any], dialog: ConfirmDialog, **answers: Callable[[], object]
) -> None:
    """Show a question; call what is given for the key of the choice that is taken."""

    def act(key: str | None) -> None:
        if key in answers:
            answers[key]()

    screen.app.push_screen(dialog, act)


def choose(
    screen: Screen[Any], dialog: ModalScreen[T | None], use: Callable[[T], object]
) -> None:
    """Show a dialog; `use`, which may be a coroutine, gets what is chosen in it."""

    def answer(chosen: T | None) -> Any:
        return None if chosen is None else use(chosen)

    screen.app.push_screen(dialog, answer)


class ErrorScreen(ConfirmDialog):
    """Failed load of a model; answers again, before, models or close."""

    HELP = """\
The model could not be loaded. If another model was loaded before, it was released to
make room. Arrows and Enter choose; what you type is written into the text below.
"""

    def __init__(
        self, error: LmtuiError, *, ref: ModelRef, before: ModelRef | None
    ) -> None:
        choices = [Choice("again", "Try again", "load the same model once more")]
        if before is not None:
            back = f"load {shown_name(before)} again"
            choices.append(Choice("before", "Go back", back))
        choices += (
            Choice("models", "Models", "choose another model"),
            Choice("close", "Close", "go on without a model"),
        )
        lines = [*error.detail.splitlines(), *error.hint.splitlines()]
        if (name := full_name(ref)) != error.detail:
            lines.insert(0, name)
        super().__init__(error.title, lines, choices, harmless="close")
        self.add_class("-error")


class PageScreen(ModalScreen[None]):
    """Page with a title and a text, or a widget that draws one."""

    HELP = """\
Arrows, PgUp and PgDn scroll.
"""
    CSS_PATH = "page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="page.close",
                tooltip="Back to where you were."),
    ]  # fmt: skip

    def __init__(self, title: str, text: Content | Widget) -> None:
        super().__init__()
        self._title = title
        self._text = text if isinstance(text, Widget) else PlainText(text)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield PlainLine(self._title, id="title")
            with VerticalScroll(id="page"):
                yield self._text
            yield PlainLine("↑ ↓ scroll · Esc closes", id="foot")

    def on_mount(self) -> None:
        self.query_one("#page").focus()

    def on_resize(self, event: events.Resize) -> None:
        self.query_one("#page").styles.max_height = max(1, event.size.height - _AROUND)

    def show(self, text: Content) -> None:
        assert isinstance(self._text, PlainText)
        self._text.update(text)
