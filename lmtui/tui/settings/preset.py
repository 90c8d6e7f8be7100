"""A preset to be made or changed: its name, its system prompt, how it draws.

Owns the fields, and that each value is refused by the setting itself while it is
written. Writing the preset down is not its own: what was edited is the answer of the
screen. Nothing that was written is lost without being asked for.
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
from lmtui.text import visible_line
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.settings.rows import shown
from lmtui.tui.widgets.line_prompt import TextBox, TextField

DRAWN = tuple(item.name for item in fields(SamplingSettings))
_KEYS = "Ctrl+S saves · Tab next field · Esc leaves"


@dataclass(frozen=True, slots=True)
class Edited:
    """What became of the preset; None is to be deleted."""

    preset: Preset | None


class PresetForm(ModalScreen[Edited | None]):
    """A field for each thing a preset can say. Answers with what was edited."""

    HELP = """\
Tab and Shift+Tab lead from field to field. What is left empty the preset does not say:
it stays as it is set elsewhere, which stands there in grey. Ctrl+S writes the preset
into config.toml.
"""
    CSS_PATH = "preset.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Before the text field, which would take it.
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
        drawn: SamplingSettings,
    ) -> None:
        super().__init__()
        self._before = preset
        self._others = others
        self._drawn = drawn

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        new = self._before is None
        with Vertical(id="dialog"):
            yield Static(Content("A new preset" if new else "A preset"), id="title")
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
                        now = shown(getattr(self._drawn, name))
                        yield TextField(id=name, placeholder=now)
            yield Static(id="wrong", markup=False)
            foot = _KEYS if new else f"{_KEYS} · F8 deletes"
            yield Static(Content(foot), id="foot")

    def on_mount(self) -> None:
        """Begin with what the preset says."""
        before = self._before or Preset("")
        self._field("name").value = before.name
        self.query_one(TextBox).text = before.system or ""
        for name, value in before.sampling.items():
            self._field(name).value = str(value)
        self._field("name").focus()

    def _field(self, id: str) -> TextField:
        return self.query_one(f"#{id}", TextField)

    @on(Input.Changed)
    @on(TextArea.Changed)
    def tell(self) -> None:
        """Say what is wrong with the values written so far."""
        try:
            self._values()
        except LmtuiError as error:
            self._tell(error)
        else:
            self._tell(None)

    def _tell(self, error: LmtuiError | None) -> None:
        words = f"{error.title}. {error.hint}" if error else ""
        self.query_one("#wrong", Static).update(Content(visible_line(words)))

    def _values(self) -> dict[str, Any]:
        """What is said of the sampling; LmtuiError where a value can't be used."""
        texts = {name: self._field(name).value for name in DRAWN}
        return {
            name: written(name, text) for name, text in texts.items() if text.strip()
        }

    def _written(self) -> Preset:
        """The preset as it stands in the fields; LmtuiError where it can't be one."""
        text = self.query_one(TextBox).text
        system = text if text.strip() else None
        return Preset(self._field("name").value.strip(), system, self._values())

    @on(Input.Submitted)
    def next_field(self) -> None:
        """Enter leads on, as it does in any form."""
        self.focus_next()

    def action_save(self) -> None:
        """Close with the preset, if it is one."""
        try:
            preset = self._written()
            check_preset(preset, self._before, self._others)
        except LmtuiError as error:
            self._tell(error)
        else:
            self.dismiss(Edited(preset) if preset != self._before else None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """One that is not there can't be deleted."""
        if action == "delete":
            return self._before is not None
        return super().check_action(action, parameters)

    def action_delete(self) -> None:
        """Close, and let it be deleted."""
        self.dismiss(Edited(None))

    def action_leave(self) -> None:
        """Close; what was changed is asked about first."""
        if not self._changed:
            self.dismiss(None)
            return
        choices = (
            Choice("g", "Go on", "back to the preset"),
            Choice("d", "Discard", "what was changed is lost"),
        )
        asked = ConfirmDialog("Leave without saving?", [_KEYS], choices, harmless="g")
        self.app.push_screen(asked, self._left)

    @property
    def _changed(self) -> bool:
        try:
            return self._written() != (self._before or Preset(""))
        except LmtuiError:
            return True

    def _left(self, answer: str | None) -> None:
        if answer == "d":
            self.dismiss(None)
