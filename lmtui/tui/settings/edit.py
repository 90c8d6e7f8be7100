"""A dialog that asks for the value of one setting, typed or chosen from a list.

Invalid values are reported while they are typed. The dialog returns the value and
writes nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
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
from lmtui.config.values import written
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
        empty=unset or setting.declaration.hint or "some text",
        limits_text=setting.declaration.hint,
        choices=tuple(choices),
    )


class EditSetting(ModalScreen[None]):
    """The meaning of a setting, and below it a field or a list."""

    HELP = """\
Enter writes the typed or marked value into config.toml; Esc changes nothing.
"""
    CSS_PATH = "edit.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", id="setting.leave",
                tooltip="Change nothing."),
    ]  # fmt: skip

    def __init__(
        self, question: SettingQuestion, put: Callable[[SettingValue], object]
    ) -> None:
        """`put` is called with the new value, where there is one; None unsets it."""
        super().__init__()
        self._question, self._put = question, put

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
        field.select_all()  # what is typed takes its place
        field.focus()

    def _fill_choices(self) -> None:
        option_list, choices = self.query_one(DialogList), self._question.choices
        option_list.add_options(Option(visible_line(choice)) for choice in choices)
        current = str(self._question.value)
        option_list.highlighted = choices.index(current) if current in choices else 0
        option_list.focus()

    @on(OptionList.OptionSelected)
    def return_choice(self, event: OptionList.OptionSelected) -> None:
        self._put(self._question.choices[event.option_index])
        self.dismiss()

    @on(Input.Changed)
    def update_message(self) -> None:
        try:
            value = self._question.read(self.query_one(TextField).value)
        except LmtuiError as error:
            self._show_message(f"{error.title}. {error.hint}", is_wrong=True)
        else:
            self._show_message("" if value is None else self._question.limits_text)

    def _show_message(self, message: str, *, is_wrong: bool = False) -> None:
        line = self.query_one("#wrong", Static)
        line.set_class(is_wrong, "-wrong")
        line.update(Content(visible_line(message)))

    @on(Input.Submitted)
    def return_value(self) -> None:
        with suppress(LmtuiError):  # which is shown already
            self._put(self._question.read(self.query_one(TextField).value))
            self.dismiss()

    def action_leave(self) -> None:
        self.dismiss()
