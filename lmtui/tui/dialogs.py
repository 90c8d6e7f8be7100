"""Modal dialogs: a question with choices, a failed load of a model, a page of text;
and errors in passing.

A dialog only returns the answer; its caller acts on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
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
from lmtui.tui.one_shot import call_after

_NAME = 13  # cells for the name of a choice

_AROUND = 7  # lines of a page around its text

PAUSE = 0.5
"""Seconds without a further letter, after which a letter is an answer and not text."""
_LONGEST_WAIT = 1.0  # seconds for keys on their way through a dialog that closes
_MOVES = frozenset({"up", "down", "left", "right", "tab", "shift+tab", "home", "end",
                    "pageup", "pagedown"})  # fmt: skip


def notify_error(app: App[Any], error: LmtuiError) -> None:
    text = "\n".join(part for part in (error.detail, error.hint) if part)
    app.notify(
        visible(text),
        title=visible_line(error.title),
        severity="error",
        timeout=12,
        markup=False,
    )


def uncover(dialog: ModalScreen[Any], row: int) -> None:
    """Move a dialog at the bottom of the screen to its top, where it would cover this
    row."""
    dialog.set_class(row >= dialog.app.size.height // 2, "-top")


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
        index = self.highlighted
        self.clear_options()
        descriptions = details or {}
        for binding, key in shown_actions(self.screen):
            if not binding.show:
                continue
            description = descriptions.get(binding.action, binding.tooltip)
            line = choice_line(key, binding.description, description)
            self.add_option(Option(line, id=binding.action))
        for heading, choices in (more or {}).items():
            if choices:
                title = Option(Content(f"      {heading}"), disabled=True)
                self.add_options([None, title])
            for choice in choices:
                label = Content(f"      {visible_line(choice.label)}")
                self.add_option(Option(label, id=choice.action))
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
    """Letter that takes the choice, and the dialog's answer."""
    label: str
    what: str
    """Effect of the choice, in a clause."""


class Question(ModalScreen[str]):
    """Dialog that may open while the user types into a field below it.

    A letter is an answer only if it stands alone: the user has typed nothing for a
    second, or has moved in the list, and types nothing for half a second after it. All
    other letters go on to the field, in order. Without such a field a letter answers at
    once, but for the first half second.
    """

    def __init__(self, *, expected: bool = False) -> None:
        """`expected`: the user opened it; letters count from the beginning."""
        super().__init__()
        self.accepts_keys = expected
        """Whether a letter may be an answer."""
        self._accepts_at_once = expected
        self._pending_key: events.Key | None = None  # a letter that may be an answer
        self._old_highlight: int | None = None  # the choice marked before that letter
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False

    def close(self, answer: str) -> None:
        """Close with an answer, once all that was typed before is in the field."""
        if not self._is_closing:
            self._is_closing = True
            self.app.call_later(self._dismiss_in_order, answer)

    async def _dismiss_in_order(self, answer: str) -> None:
        # This runs in the app, which meanwhile passes nothing on: keys on their way
        # through this dialog reach the field before any that the app gives to it.
        flushed = asyncio.Event()
        self.query_one(ActionList).call_later(self.call_later, flushed.set)
        with suppress(TimeoutError):  # a queue that ends loses its calls
            await asyncio.wait_for(flushed.wait(), _LONGEST_WAIT)
        self._is_closing = False
        if self.is_current:
            self.dismiss(answer)

    def on_mount(self) -> None:
        if not self._accepts_at_once:
            pause = 2 * PAUSE if self._field_below() else PAUSE
            self._start_timer(pause, self.accept_keys)

    def accept_keys(self) -> None:
        self.accepts_keys = True

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            self._pending_key = None  # its choice is marked, which Enter takes
        elif not event.is_printable:
            self._flush_pending()
            if event.key in _MOVES:
                self.accept_keys()
        else:
            event.stop()
            is_free = self._pending_key is None and not self._is_closing
            may_answer = is_free and self.accepts_keys and self.is_current
            if may_answer and self._action_of(event):
                self._answer_after_pause(event)
            else:
                self._forward(event)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self._forward(event)

    def _action_of(self, event: events.Key) -> str:
        """Return the action of a letter; "" where it has none."""
        raise NotImplementedError

    def _answer_after_pause(self, event: events.Key) -> None:
        choices, action = self.query_one(ActionList), self._action_of(event)
        if self._field_below() is None:
            self.call_later(self.run_action, action)
            return

        async def answer() -> None:
            if self._pending_key is event and self.is_current:
                self._pending_key = None
                await self.run_action(action)

        self._pending_key, self._old_highlight = event, choices.highlighted
        choices.highlighted = choices.get_option_index(action)
        # The way of a key through the queues, so that no earlier one is overtaken.
        queue = partial(choices.call_later, self.call_later, answer)
        self._start_timer(PAUSE, partial(self.app.call_later, queue))

    def _flush_pending(self) -> None:
        key, self._pending_key = self._pending_key, None
        if key is not None:
            self.query_one(ActionList).highlighted = self._old_highlight
            self._forward(key)

    def _forward(self, event: events.Key | events.Paste) -> None:
        """Pass what was typed to the field, after the letter that is held."""
        self._flush_pending()
        field = self._field_below()
        if field is None:
            return
        self.accepts_keys = False
        self._start_timer(2 * PAUSE, self.accept_keys)
        if isinstance(event, events.Key):
            field.post_message(events.Key(event.key, event.character))
        else:
            field.post_message(events.Paste(event.text))

    def _start_timer(self, seconds: float, then: Callable[[], object]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = call_after(self, seconds, then)

    def _field_below(self) -> Input | TextArea | None:
        stack = self.app.screen_stack
        index = stack.index(self) if self in stack else len(stack)
        for screen in reversed(stack[:index]):
            if isinstance(screen.focused, Input | TextArea):
                return screen.focused
            if not screen.is_modal:
                break
        return None


class ConfirmDialog(Question):
    """Question with details and choices; answers with the key of a choice.

    Esc takes the harmless choice, which is also marked first unless `first` names
    another; each other choice has a letter.
    """

    HELP = """\
Press the letter of a choice, or Enter for the marked one. What you type in one go is
written into the text below.
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
        first: str = "",
        expected: bool = False,
    ) -> None:
        super().__init__(expected=expected)
        self._question = visible_line(title)
        self._details = "\n".join(map(visible_line, details))
        self._choices = {choice.key: choice for choice in choices}
        self._harmless, self._first = harmless, first or harmless

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content(self._question), id="title")
            with VerticalScroll(id="details", can_focus=False):
                yield Static(Content(self._details))
            yield ActionList(id="choices")

    def on_mount(self) -> None:
        choices = self.query_one(ActionList)
        for key, choice in self._choices.items():
            key_text = "Esc" if key == self._harmless else key
            line = choice_line(key_text, choice.label, choice.what)
            choices.add_option(Option(line, id=f"answer({key!r})"))
        choices.highlighted = list(self._choices).index(self._first)
        choices.focus()

    def _action_of(self, event: events.Key) -> str:
        key = event.character
        is_answer = key in self._choices and key != self._harmless
        return f"answer({key!r})" if is_answer else ""

    def action_answer(self, answer: str) -> None:
        """Close with an answer.

        While the user types, Enter may be meant for the text: the choice marked first
        is then taken only if it is harmless.
        """
        if self.accepts_keys or answer == self._harmless or answer != self._first:
            self.close(answer)

    def action_leave(self) -> None:
        self.close(self._harmless)


class ErrorScreen(Question):
    """Failed load of a model; answers again, before, models or close."""

    HELP = """\
The model could not be loaded. If another model was loaded before, it was released to
make room. What you type in one go is written into the text below.
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
        self._model_name, self._before = visible_line(full_name(ref)), before

    def compose(self) -> ComposeResult:
        error = self._error
        with Vertical(id="dialog"):
            title = Content.styled(visible_line(error.title), "bold $error")
            yield Static(title, id="title")
            with VerticalScroll(id="facts", can_focus=False):
                if self._model_name != error.detail:
                    yield Static(Content(self._model_name), classes="quiet")
                for part in (error.detail, error.hint):
                    if part:
                        yield Static(Content(visible(part)))
            yield ActionList(id="choices")

    def accept_keys(self) -> None:
        super().accept_keys()
        back = shown_name(self._before) if self._before else ""
        choices = self.query_one(ActionList)
        choices.offer(details={"answer('before')": f"Load {back} again."})
        choices.focus()

    def _action_of(self, event: events.Key) -> str:
        active = self.active_bindings.get(event.key)
        return active.binding.action if active and active.node is self else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "answer":
            return super().check_action(action, parameters)
        return self.accepts_keys and (
            self._before is not None or parameters != ("before",)
        )

    def action_answer(self, answer: str) -> None:
        self.close(answer)


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

    def __init__(self, title: str, text: Content) -> None:
        super().__init__()
        self._title, self._text = title, Static(text)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content(self._title), id="title")
            with VerticalScroll(id="page"):
                yield self._text
            yield Static(Content("↑ ↓ scroll · Esc closes"), id="foot")

    def on_mount(self) -> None:
        self.query_one("#page").focus()

    def on_resize(self, event: events.Resize) -> None:
        self.query_one("#page").styles.max_height = max(1, event.size.height - _AROUND)

    def show(self, text: Content) -> None:
        self._text.update(text)

    def action_leave(self) -> None:
        self.dismiss(None)
