"""A form to create or change a preset: name, system prompt, sampling settings.

Invalid values are reported while they are typed. The form returns the preset and writes
nothing itself. Leaving it with unsaved changes asks first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea

from lmtui.config.settings import Preset
from lmtui.config.settings_file import check_preset
from lmtui.config.values import written
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.setting_field import value_text
from lmtui.text import visible_line
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.settings.rows import shown
from lmtui.tui.widgets.line_prompt import TextBox, TextField

DRAWN = tuple(item.name for item in fields(SamplingSettings))
_KEYS = "Ctrl+S saves · Tab next field · Esc leaves"


@dataclass(frozen=True, slots=True)
class EditedPreset:
    """The answer: the preset to write; None where it is to be deleted."""

    preset: Preset | None


class PresetForm(ModalScreen[EditedPreset | None]):
    """A field for each setting of a preset. Returns `EditedPreset`, or None where
    nothing is to change."""

    HELP = """\
Tab and Shift+Tab move from field to field. An empty field is not part of the preset:
the value from elsewhere, shown in grey, stays. Ctrl+S writes the preset into
config.toml.
"""
    CSS_PATH = "preset.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Priority: the text area would take the key otherwise
        Binding("ctrl+s", "save", "Save", id="preset.save", priority=True,
                tooltip="Write the preset into config.toml."),
        Binding("f8", "delete", "Delete", id="preset.delete",
                tooltip="Take the preset out of config.toml."),
        Binding("escape", "leave", "Leave", id="preset.leave",
                tooltip="Close; what was changed is asked about first."),
    ]  # fmt: skip

    def __init__(
        self,
        preset: Preset | None,
        *,
        others: Mapping[str, Preset],
        sampling: SamplingSettings,
    ) -> None:
        super().__init__()
        self._original = preset
        self._others = others
        self._sampling = sampling

    def compose(self) -> ComposeResult:
        is_new = self._original is None
        with Vertical(id="dialog"):
            yield Static(Content("A new preset" if is_new else "A preset"), id="title")
            with VerticalScroll(id="fields", can_focus=False):
                with Horizontal(classes="row"):
                    yield Static(Content("name"), classes="label")
                    yield TextField(id="name", placeholder="pirate")
                with Horizontal(id="prompt-row"):
                    yield Static(Content("system"), classes="label")
                    yield TextBox(id="system", placeholder="You speak like a pirate.")
                for name in DRAWN:
                    with Horizontal(classes="row"):
                        yield Static(Content(name), classes="label")
                        current = shown(getattr(self._sampling, name))
                        yield TextField(id=name, placeholder=current)
            yield Static(id="wrong", markup=False)
            foot = _KEYS if is_new else f"{_KEYS} · F8 deletes"
            yield Static(Content(foot), id="foot")

    def on_mount(self) -> None:
        original = self._original or Preset("")
        self._field("name").value = original.name
        self.query_one(TextBox).text = original.system or ""
        for name, value in original.sampling.items():
            self._field(name).value = value_text(value)
        self._field("name").focus()

    def _field(self, id: str) -> TextField:
        return self.query_one(f"#{id}", TextField)

    @on(Input.Changed)
    @on(TextArea.Changed)
    def update_message(self) -> None:
        try:
            self._values()
        except LmtuiError as error:
            self._show_fault(error)
        else:
            self._show_fault(None)

    def _show_fault(self, error: LmtuiError | None) -> None:
        message = f"{error.title}. {error.hint}" if error else ""
        self.query_one("#wrong", Static).update(Content(visible_line(message)))

    def _values(self) -> dict[str, Any]:
        """Return the sampling settings that are not empty; raises LmtuiError for an
        invalid value."""
        texts = {name: self._field(name).value for name in DRAWN}
        return {
            name: written(name, text) for name, text in texts.items() if text.strip()
        }

    def _parsed_preset(self) -> Preset:
        text = self.query_one(TextBox).text
        system = text if text.strip() else None
        return Preset(self._field("name").value.strip(), system, self._values())

    @on(Input.Submitted)
    def next_field(self) -> None:
        self.focus_next()

    def action_save(self) -> None:
        try:
            preset = self._parsed_preset()
            check_preset(preset, self._original, self._others)
        except LmtuiError as error:
            self._show_fault(error)
        else:
            self.dismiss(EditedPreset(preset) if preset != self._original else None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "delete":
            return self._original is not None
        return super().check_action(action, parameters)

    def action_delete(self) -> None:
        self.dismiss(EditedPreset(None))

    def action_leave(self) -> None:
        if not self._changed:
            self.dismiss(None)
            return
        choices = (
            Choice("g", "Go on", "back to the preset"),
            Choice("d", "Discard", "what was changed is lost"),
        )
        title = "Leave without saving?"
        dialog = ConfirmDialog(title, [_KEYS], choices, harmless="g", expected=True)
        self.app.push_screen(dialog, self._close_if_discarded)

    @property
    def _changed(self) -> bool:
        try:
            return self._parsed_preset() != (self._original or Preset(""))
        except LmtuiError:
            return True

    def _close_if_discarded(self, answer: str | None) -> None:
        if answer == "d":
            self.dismiss(None)
