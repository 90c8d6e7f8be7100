"""One setting to be changed: a value to write, or one of a few to take.

Owns how it is asked for, and that a value which can't be used is refused while it is
written. Writing it down is not its own: what is chosen is the answer of the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from lmtui.config import settings as fields
from lmtui.config.settings import SettingValue
from lmtui.config.values import limits, written
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.line_prompt import TextField


@dataclass(frozen=True, slots=True)
class SettingQuestion:
    """What is asked for."""

    title: str
    meaning: str
    value: SettingValue
    """What there is now."""
    read: Callable[[str], SettingValue]
    """The value in a text; an LmtuiError where it can't be used."""
    empty: str
    """What stands in the empty field."""
    told: str = ""
    """Said below a value that can be used."""
    choices: tuple[str, ...] = ()
    """The values to take one of, instead of writing it."""


def about_setting(
    name: str, value: SettingValue, *, choices: Sequence[str]
) -> SettingQuestion:
    """A setting, asked for."""
    unset = "empty: unset" if fields.item(name).default is None else ""
    return SettingQuestion(
        fields.key(name),
        fields.meaning(name),
        value,
        partial(written, name),
        empty=unset or limits(name) or "some text",
        told=limits(name),
        choices=tuple(choices),
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """The value that the setting is to have; None is none at all."""

    value: SettingValue


class EditSetting(ModalScreen[Chosen | None]):
    """A setting's sentence, and below it a field or a list. Answers with the value."""

    HELP = """\
Enter takes what is written, or what is marked, and writes it into config.toml; Esc
leaves everything as it is.
"""
    CSS_PATH = "edit.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", id="setting.leave",
                tooltip="Change nothing."),
    ]  # fmt: skip

    def __init__(self, question: SettingQuestion) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Vertical(id="dialog"):
            yield Static(Content(self._question.title), id="title")
            yield Static(Content(self._question.meaning), id="meaning")
            if self._question.choices:
                yield DialogList(id="choices")
            else:
                yield TextField(id="value", placeholder=self._question.empty)
                yield Static(id="wrong", markup=False)
            yield Static(Content("Enter takes it · Esc leaves it"), id="foot")

    def on_mount(self) -> None:
        """Begin with the value there is."""
        if self._question.choices:
            self._offer()
            return
        field, value = self.query_one(TextField), self._question.value
        field.value = "" if value is None else str(value)
        field.cursor_position = len(field.value)
        field.focus()

    def _offer(self) -> None:
        listed, choices = self.query_one(DialogList), self._question.choices
        listed.add_options(Option(visible_line(choice)) for choice in choices)
        now = str(self._question.value)
        listed.highlighted = choices.index(now) if now in choices else 0
        listed.focus()

    @on(OptionList.OptionSelected)
    def take_choice(self, event: OptionList.OptionSelected) -> None:
        """One of the values was chosen."""
        self.dismiss(Chosen(self._question.choices[event.option_index]))

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
            chosen = Chosen(self._question.read(self.query_one(TextField).value))
        except LmtuiError as error:
            words = f"{error.title}. {error.hint}"
        if not words and chosen is not None and chosen.value is not None:
            words = self._question.told
        told = self.query_one("#wrong", Static)
        told.set_class(chosen is None, "-wrong")
        told.update(Content(visible_line(words)))
        return chosen

    def action_leave(self) -> None:
        """Close, and change nothing."""
        self.dismiss(None)
