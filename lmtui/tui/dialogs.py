"""Modal dialogs: a question with choices, a failed load of a model, a page of text;
and errors in passing.

A dialog only returns the answer; its caller acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.text import visible, visible_line
from lmtui.tui.keys import shown_actions
from lmtui.tui.model_state import full_name, shown_name

_NAME = 13  # cells for the name of a choice

PAUSE = 0.5
"""Seconds before keys count as answers, for a user who is typing."""


def notify_error(app: App[Any], error: LmtuiError) -> None:
    """Show an error, with its hint, in a notification."""
    text = "\n".join(part for part in (error.detail, error.hint) if part)
    app.notify(
        visible(text),
        title=visible_line(error.title),
        severity="error",
        timeout=12,
        markup=False,
    )


@dataclass(frozen=True, slots=True)
class Action:
    """Entry of an `ActionList` that has no key of its own."""

    label: str
    action: str


class ActionList(OptionList):
    """List of the screen's bindings, and of further actions under headings."""

    DEFAULT_CSS = """
    ActionList {
        border: none;
        padding: 0;
        background: transparent;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
        &:focus { border: none; background-tint: transparent; }
        & > .option-list--option { padding: 0 1; }
        & > .option-list--option-disabled { color: $quiet; }
        & > .option-list--option-highlighted,
        &:focus > .option-list--option-highlighted {
            color: $foreground;
            background: $panel;
            text-style: bold;
        }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)

    def offer(
        self,
        *,
        details: Mapping[str, str] | None = None,
        more: Mapping[str, Sequence[Action]] | None = None,
    ) -> None:
        """List the actions of the screen's keys, then `more` under its headings.

        `details` replaces the tooltip of an action.
        """
        place = self.highlighted
        self.clear_options()
        said = details or {}
        for binding, key in shown_actions(self.screen):
            if not binding.show:
                continue
            words = said.get(binding.action, binding.tooltip)
            line = choice_line(key, binding.description, words)
            self.add_option(Option(line, id=binding.action))
        for heading, choices in (more or {}).items():
            if choices:
                title = Option(Content(f"      {heading}"), disabled=True)
                self.add_options([None, title])
            for choice in choices:
                label = Content(f"      {visible_line(choice.label)}")
                self.add_option(Option(label, id=choice.action))
        self.highlighted = min(place or 0, self.option_count - 1)

    @on(OptionList.OptionSelected)
    async def take(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id:
            await self.screen.run_action(event.option_id)


def choice_line(key: str, name: str, words: str) -> Content:
    """Return the line of a choice: its key, name and description."""
    apart = "· " if len(name) >= _NAME else ""
    return Content.assemble(
        (f"{key:>4}  ", "$accent"), f"{name:<{_NAME}} {apart}", (words, "$quiet")
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """Answer that can be chosen."""

    key: str
    """Letter that takes the choice, and the dialog's answer."""
    label: str
    what: str
    """Effect of the choice, in a clause."""


class ConfirmDialog(ModalScreen[str]):
    """Question with details and choices; answers with the key of a choice.

    Each choice has a letter. Esc takes the harmless one, which is also marked first
    unless `first` names another. The dialog may open while the user types: letters
    typed without a pause go on to the text field below and answer nothing.
    """

    HELP = "Press the letter of a choice, or Enter for the marked one."
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
        first: str = "",
    ) -> None:
        super().__init__()
        self._asked = visible_line(title)
        self._details = "\n".join(map(visible_line, details))
        self._choices = {choice.key: choice for choice in choices}
        self._harmless, self._first = harmless, first or harmless
        self.accepts_keys = False

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content(self._asked), id="title")
            with VerticalScroll(id="details", can_focus=False):
                yield Static(Content(self._details))
            yield ActionList(id="choices")

    def on_mount(self) -> None:
        self._pause = self.set_timer(PAUSE, self.accept_keys)
        choices = self.query_one(ActionList)
        for key, choice in self._choices.items():
            shown = "Esc" if key == self._harmless else key
            line = choice_line(shown, choice.label, choice.what)
            choices.add_option(Option(line, id=f"answer({key!r})"))
        choices.highlighted = list(self._choices).index(self._first)
        choices.focus()

    def accept_keys(self) -> None:
        self.accepts_keys = True

    def on_key(self, event: events.Key) -> None:
        """Take a letter's choice; before the pause, pass it to the field below."""
        if not self.accepts_keys and event.is_printable:
            event.stop()
            self._write_below(event)
        elif event.character in self._choices:
            event.stop()
            self.dismiss(event.character)

    def _write_below(self, event: events.Key) -> None:
        below = self.app.screen_stack[-2].focused
        if isinstance(below, Input | TextArea):
            self._pause.reset()
            below.post_message(events.Key(event.key, event.character))

    def action_answer(self, answer: str) -> None:
        """Close with an answer.

        Before the pause, Enter may be meant for the text: the choice marked first is
        then taken only if it is harmless.
        """
        if self.accepts_keys or answer == self._harmless or answer != self._first:
            self.dismiss(answer)

    def action_leave(self) -> None:
        self.dismiss(self._harmless)


class ErrorScreen(ModalScreen[str]):
    """Failed load of a model; answers again, before, models or close."""

    HELP = """\
The model could not be loaded. If another model was loaded before, it was released to
make room.
"""
    CSS_PATH = "error.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "answer('again')", "Try again", id="error.again",
                tooltip="Load the same model once more."),
        Binding("b", "answer('before')", "Go back", id="error.before",
                tooltip="Load the model before it again."),
        Binding("m", "answer('models')", "Models", id="error.models",
                tooltip="Choose another model."),
        Binding("escape", "answer('close')", "Close", id="error.close",
                tooltip="Go on without a model."),
    ]  # fmt: skip

    def __init__(
        self, error: LmtuiError, *, ref: ModelRef, before: ModelRef | None
    ) -> None:
        super().__init__()
        self._error = error
        self._wanted, self._before = visible_line(full_name(ref)), before
        self.accepts_keys = False

    def compose(self) -> ComposeResult:
        error = self._error
        with Vertical(id="dialog"):
            title = Content.styled(visible_line(error.title), "bold $error")
            yield Static(title, id="title")
            with VerticalScroll(id="facts", can_focus=False):
                if self._wanted != error.detail:
                    yield Static(Content(self._wanted), classes="quiet")
                for part in (error.detail, error.hint):
                    if part:
                        yield Static(Content(visible(part)))
            yield ActionList(id="choices")

    def on_mount(self) -> None:
        """Offer the choices after a pause."""
        self.set_timer(PAUSE, self.accept_keys)

    def accept_keys(self) -> None:
        self.accepts_keys = True
        back = shown_name(self._before) if self._before else ""
        choices = self.query_one(ActionList)
        choices.offer(details={"answer('before')": f"Load {back} again."})
        choices.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable answers before the pause, and going back without an earlier model."""
        if action != "answer":
            return super().check_action(action, parameters)
        return self.accepts_keys and (
            self._before is not None or parameters != ("before",)
        )

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)


class PageScreen(ModalScreen[None]):
    """Page with a title and a text, in which control characters are already visible."""

    HELP = """\
Arrows, PgUp and PgDn scroll.
"""
    CSS_PATH = "page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="page.close",
                tooltip="Back to where you were."),
    ]  # fmt: skip

    def __init__(self, title: str, words: Content) -> None:
        super().__init__()
        self._title, self._words = title, Static(words)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content(self._title), id="title")
            with VerticalScroll(id="page"):
                yield self._words
            yield Static(Content("↑ ↓ scroll · Esc closes"), id="foot")

    def on_mount(self) -> None:
        self.query_one("#page").focus()

    def show(self, words: Content) -> None:
        """Show another text."""
        self._words.update(words)

    def action_leave(self) -> None:
        self.dismiss(None)
