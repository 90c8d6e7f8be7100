"""A dialog that asks for the value of one setting, typed or chosen from a list.

Invalid values are reported while they are typed. The dialog returns the value and
writes nothing itself.
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

from lmtui.config.settings import item
from lmtui.config.values import limits, written
from lmtui.errors import LmtuiError
from lmtui.setting_field import SettingValue, value_text
from lmtui.text import visible_line
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.line_prompt import TextField


@dataclass(frozen=True, slots=True)
class SettingQuestion:
    title: str
    meaning: str
    value: SettingValue
    read: Callable[[str], SettingValue]
    """Parse a text to a value; raises LmtuiError where it is invalid."""
    empty: str
    """Placeholder of the empty field."""
    limits_text: str = ""
    """Note shown below a valid value."""
    choices: tuple[str, ...] = ()
    """The values to choose from; if there are any, there is no text field."""


def about_setting(
    name: str, value: SettingValue, *, choices: Sequence[str]
) -> SettingQuestion:
    setting = item(name)
    unset = "empty: unset" if setting.field.default is None else ""
    return SettingQuestion(
        setting.key,
        setting.declaration.meaning,
        value,
        partial(written, name),
        empty=unset or limits(name) or "some text",
        limits_text=limits(name),
        choices=tuple(choices),
    )


@dataclass(frozen=True, slots=True)
class NewValue:
    """The answer: the new value; None unsets the setting."""

    value: SettingValue


class EditSetting(ModalScreen[NewValue | None]):
    """The meaning of a setting, and below it a field or a list. Returns `NewValue`, or
    None where nothing is to change."""

    HELP = """\
Enter writes the typed or marked value into config.toml; Esc changes nothing.
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
        if self._question.choices:
            self._fill_choices()
            return
        field, value = self.query_one(TextField), self._question.value
        field.value = "" if value is None else value_text(value)
        field.cursor_position = len(field.value)
        field.focus()

    def _fill_choices(self) -> None:
        option_list, choices = self.query_one(DialogList), self._question.choices
        option_list.add_options(Option(visible_line(choice)) for choice in choices)
        current = str(self._question.value)
        option_list.highlighted = choices.index(current) if current in choices else 0
        option_list.focus()

    @on(OptionList.OptionSelected)
    def return_choice(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(NewValue(self._question.choices[event.option_index]))

    @on(Input.Changed)
    def update_message(self) -> None:
        self._check()

    @on(Input.Submitted)
    def return_value(self) -> None:
        if (value := self._check()) is not None:
            self.dismiss(value)

    def _check(self) -> NewValue | None:
        message, value = "", None
        try:
            value = NewValue(self._question.read(self.query_one(TextField).value))
        except LmtuiError as error:
            message = f"{error.title}. {error.hint}"
        if not message and value is not None and value.value is not None:
            message = self._question.limits_text
        message_line = self.query_one("#wrong", Static)
        message_line.set_class(value is None, "-wrong")
        message_line.update(Content(visible_line(message)))
        return value

    def action_leave(self) -> None:
        self.dismiss(None)
