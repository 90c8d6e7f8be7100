"""One setting to be changed: a value to write, or one of a few to take.

Owns how it is asked for, and that a value is refused by the setting itself while it is
written. Writing it down is not its own: what is chosen is the answer of the screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from lmtui import settings as fields
from lmtui.config_values import limits, written
from lmtui.errors import LmtuiError
from lmtui.settings import Value
from lmtui.text import visible_line
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.text_field import TextField


@dataclass(frozen=True, slots=True)
class Chosen:
    """The value that the setting is to have; None is none at all."""

    value: Value


class EditSetting(ModalScreen[Chosen | None]):
    """A setting's sentence, and below it a field or a list. Answers with the value."""

    HELP = """\
Enter takes what is written, or what is marked, and writes it into config.toml; Esc
leaves everything as it is.
"""
    CSS_PATH = "setting.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", id="setting.leave",
                tooltip="Change nothing."),
    ]  # fmt: skip

    def __init__(self, name: str, value: Value, *, choices: Sequence[str]) -> None:
        super().__init__()
        self._setting = name
        self._value = value
        self._choices = tuple(choices)

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Vertical(id="dialog"):
            yield Static(Content(fields.key(self._setting)), id="title")
            yield Static(Content(fields.meaning(self._setting)), id="meaning")
            if self._choices:
                yield DialogList(id="choices")
            else:
                yield TextField(id="value", placeholder=self._hint)
                yield Static(id="wrong", markup=False)
            yield Static(Content("Enter takes it · Esc leaves it"), id="foot")

    @property
    def _hint(self) -> str:
        """What stands in the empty field."""
        if fields.item(self._setting).default is None:
            return "empty: unset"
        return limits(self._setting) or "some text"

    def on_mount(self) -> None:
        """Begin with the value there is."""
        if self._choices:
            self._offer()
            return
        field = self.query_one(TextField)
        field.value = "" if self._value is None else str(self._value)
        field.cursor_position = len(field.value)
        field.focus()

    def _offer(self) -> None:
        choices = self.query_one(DialogList)
        choices.add_options(Option(visible_line(choice)) for choice in self._choices)
        known = self._value in self._choices
        choices.highlighted = self._choices.index(str(self._value)) if known else 0
        choices.focus()

    @on(OptionList.OptionSelected)
    def take_choice(self, event: OptionList.OptionSelected) -> None:
        """One of the values was chosen."""
        self.dismiss(Chosen(self._choices[event.option_index]))

    @on(Input.Changed)
    def tell(self) -> None:
        """Say what is wrong with what is written so far."""
        self._check()

    @on(Input.Submitted)
    def take(self) -> None:
        """Take what is written, if it can be."""
        if (chosen := self._check()) is not None:
            self.dismiss(chosen)

    def _check(self) -> Chosen | None:
        words, chosen = "", None
        try:
            chosen = Chosen(written(self._setting, self.query_one(TextField).value))
        except LmtuiError as error:
            words = f"{error.title}. {error.hint}"
        if not words and chosen is not None and chosen.value is not None:
            words = limits(self._setting)
        told = self.query_one("#wrong", Static)
        told.set_class(chosen is None, "-wrong")
        told.update(Content(visible_line(words)))
        return chosen

    def action_leave(self) -> None:
        """Close, and change nothing."""
        self.dismiss(None)
