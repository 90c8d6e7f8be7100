"""A question that has to be answered before anything is done.

Owns how it is asked: every choice has a letter and can be walked to, and Esc takes the
one that changes nothing, which is marked first unless another one is. What is chosen is
the answer of the screen; doing it is not its own. It can come while somebody writes:
what is written without a pause goes on into the text below, and is not taken for a
choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea
from textual.widgets.option_list import Option

from lmtui.text import visible_line
from lmtui.tui.widgets.choices import Choices, choice_line

PAUSE = 0.5
"""Seconds without a letter after which one is meant for the question."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to answer."""

    key: str
    """The letter that takes it, which is the answer too."""
    label: str
    what: str
    """What it does, in a clause."""


class Ask(ModalScreen[str]):
    """A question, the facts, and the ways out. Answers with the key of a choice."""

    HELP = """\
The letter before a choice takes it, as Enter does on the one that is marked.
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
    ) -> None:
        super().__init__()
        self._asked = visible_line(title)
        self._details = "\n".join(map(visible_line, details))
        self._choices = {choice.key: choice for choice in choices}
        self._harmless, self._first = harmless, first or harmless
        self._offered = False

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Vertical(id="dialog"):
            yield Static(Content(self._asked), id="title")
            with VerticalScroll(id="details", can_focus=False):
                yield Static(Content(self._details))
            yield Choices(id="choices")

    def on_mount(self) -> None:
        """The choices can be walked at once, from the one that is marked first on."""
        self._pause = self.set_timer(PAUSE, self._offer)
        choices = self.query_one(Choices)
        for key, choice in self._choices.items():
            shown = "Esc" if key == self._harmless else key
            line = choice_line(shown, choice.label, choice.what)
            choices.add_option(Option(line, id=f"answer({key!r})"))
        choices.highlighted = list(self._choices).index(self._first)
        choices.focus()

    def _offer(self) -> None:
        self._offered = True

    def on_key(self, event: events.Key) -> None:
        """A letter takes its choice, or goes where those before it went."""
        if not self._offered and event.is_printable:
            event.stop()
            self._write_below(event)
        elif event.character in self._choices:
            event.stop()
            self.dismiss(event.character)

    def _write_below(self, event: events.Key) -> None:
        below = self.app.screen_stack[-2].focused
        if isinstance(below, Input | TextArea):
            self._pause.reset()  # the writing goes on
            below.post_message(events.Key(event.key, event.character))

    def action_answer(self, answer: str) -> None:
        """Close, and say what was chosen. At first Enter can be meant for the text: it
        takes what is harmless, or what was walked to."""
        if self._offered or answer == self._harmless or answer != self._first:
            self.dismiss(answer)

    def action_leave(self) -> None:
        """Close, and say that nothing is to be done."""
        self.dismiss(self._harmless)
