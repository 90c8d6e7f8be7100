"""The settings screen: settings, presets and keys, each with value, origin and meaning.

The file is read and written outside the event loop. Knows no setting by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from lmtui.config.settings import Preset, item
from lmtui.config.settings_file import SettingsFile, SettingsSnapshot
from lmtui.errors import LmtuiError
from lmtui.setting_field import SettingValue
from lmtui.text import visible, visible_line
from lmtui.tui.background import run_in_thread
from lmtui.tui.dialogs import Choice, ConfirmDialog, notify_error
from lmtui.tui.model_state import ModelState
from lmtui.tui.settings import events as facts
from lmtui.tui.settings.edit import EditSetting, about_setting
from lmtui.tui.settings.rows import (
    KeyRow,
    PresetRow,
    SettingRow,
    SettingsRow,
    about,
    about_changing,
    counted,
    line_of,
    rows_of,
    shown,
)
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.line_prompt import SearchField
from lmtui.tui.widgets.status import MainPart

NOTHING = "No setting has all of these words."
_NOT_THERE = "It is not in config.toml."
_USES = "/preset {0} uses it in the chat; /preset save NAME writes another."
_BUG = LmtuiError("the settings could not be read or written", "", "See the log.")


class SettingsScreen(Screen[None]):
    HELP = """\
Type to search names and descriptions; Up and Down choose. Enter changes the setting
under the cursor and writes it into config.toml, where your comments and order stay. F8
removes it from the file, so that the default counts. A flag or an environment variable
overrides the file and is named where it does. A preset is a system prompt and sampler
settings under one name; /preset save NAME in the chat writes one. An action can have
several keys, separated by commas; a key that is already used on the same screen is
refused.
"""
    CSS_PATH = "screen.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (the base class declares it so)
        (0, "-narrow"),
        (100, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="settings.close",
                tooltip="Empty the field; else back to where you were."),
        Binding("f8", "reset", "Default", id="settings.reset",
                tooltip="Take it out of the file, so that the default counts; a "
                "preset is deleted."),
    ]  # fmt: skip

    def __init__(
        self, file: SettingsFile, *, choices: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__()
        self._file = file
        self._choices = choices
        self._snapshot: SettingsSnapshot | None = None
        self._rows: dict[str, SettingsRow] = {}
        self._writing = False
        self._request = 0

    def compose(self) -> ComposeResult:
        with Horizontal(id="search"):
            yield SearchField(id="words", placeholder="Type to search the settings")
            yield Static(id="count", markup=False)
        with MainPart(id="main"):
            yield DialogList(id="list")
            with VerticalScroll(id="preview", can_focus=False):
                yield Static(id="about", markup=False)
        yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        self._list.can_focus = False
        self._field.focus()

    def on_screen_resume(self) -> None:
        """Read the file again: another program may have changed it."""
        self._read()

    def _with_model(self, snapshot: SettingsSnapshot) -> SettingsSnapshot:
        model: ModelState = getattr(self.app, "model", ModelState())
        numbers = model.info.generation_defaults if model.info else ()
        where = "recommended for this model"
        return replace(
            snapshot, counting=snapshot.counting.with_recommended(numbers, where)
        )

    @property
    def _list(self) -> DialogList:
        return self.query_one(DialogList)

    @property
    def _field(self) -> SearchField:
        return self.query_one(SearchField)

    @property
    def _row(self) -> SettingsRow | None:
        index = self._list.highlighted
        if index is None or not self._rows:
            return None
        return self._rows.get(self._list.get_option_at_index(index).id or "")

    # Reading and listing.

    def _read(self) -> None:
        if self._writing:
            return  # the result of the write will be shown
        self._request = request = self._request + 1

        # A read that began before the last change is ignored.
        def show(snapshot: SettingsSnapshot) -> None:
            if request == self._request:
                self._show_read(facts.SettingsRead(snapshot))

        def fail(error: LmtuiError) -> None:
            if request == self._request:
                self._show_failure(error)

        run_in_thread(
            self._file.read, self.call_later, then=show, failed=fail, bug=_BUG
        )

    def _show_read(self, event: facts.SettingsRead) -> None:
        self._writing = False
        self._snapshot = self._with_model(event.snapshot)
        self._show()
        self.post_message(event)

    def _show_failure(self, error: LmtuiError) -> None:
        self._writing, self._snapshot, self._rows = False, None, {}
        self._list.clear_options()
        words = (f"\n{visible(error.detail)}\n\n", f"{visible(error.hint)}\n")
        title = (visible_line(error.title), "bold $error")
        self._show_about(
            Content.assemble(title, *words, ("Enter reads it again.", "$quiet"))
        )
        self._show_foot("Enter reads the file again · F1 help · Esc closes")

    @on(Input.Changed, "#words")
    def _show(self) -> None:
        if self._snapshot is None:
            return
        old_row = self._row
        self._list.clear_options()
        self._rows = {}
        for heading, rows in rows_of(self._snapshot, self._field.value).items():
            title = Content.assemble((heading, "bold $primary"))
            self._list.add_option(Option(title, disabled=True))
            for row in rows:
                id_ = f"row-{len(self._rows)}"
                self._rows[id_] = row
                self._list.add_option(Option(line_of(row, self._snapshot), id=id_))
        self._highlight(old_row)
        self._preview()

    def _highlight(self, row: SettingsRow | None) -> None:
        ids = [id_ for id_, other in self._rows.items() if other == row]
        for id_ in ids or list(self._rows)[:1]:
            self._list.highlighted = self._list.get_option_index(id_)

    @on(OptionList.OptionHighlighted)
    def _preview(self) -> None:
        if self._snapshot is None:
            return
        row = self._row
        text = about(row, self._snapshot, self._choices) if row else Content(NOTHING)
        self._show_about(text)
        keys = "Enter changes · F8 default"
        if isinstance(row, PresetRow):
            keys = "F8 deletes"
        self.query_one("#count", Static).update(counted(self._rows.values()))
        self._show_foot(f"{keys} · F1 help · Esc closes")

    def _show_about(self, text: Content) -> None:
        self.query_one("#about", Static).update(text)

    def _show_foot(self, text: str) -> None:
        self.query_one("#foot", Static).update(Content(text))

    # Changing.

    @on(OptionList.OptionSelected)
    @on(Input.Submitted, "#words")
    def change(self) -> None:
        if self._snapshot is None:
            self._read()
            return
        match self._row:
            case SettingRow(name):
                self._change_setting(name, self._snapshot)
            case KeyRow(bound):
                question = about_changing(bound, self._snapshot.saved.keys)
                put = partial(self._put_keys, bound.id)
                self.app.push_screen(EditSetting(question, put))
            case PresetRow(preset):
                self.notify(_USES.format(visible_line(preset.name)), markup=False)

    def _change_setting(self, name: str, snapshot: SettingsSnapshot) -> None:
        value = snapshot.saved.value(name)
        if isinstance(value, bool):
            self._put(name, not value)
            return
        choices = tuple(self._choices.get(name, ())) or item(name).declaration.choices
        question = about_setting(name, value, choices=choices)
        self.app.push_screen(EditSetting(question, partial(self._put, name)))

    def _put_keys(self, id: str, keys: SettingValue) -> None:
        wanted = None if keys is None else str(keys)
        self._write(
            lambda snapshot: facts.KeysSaved(self._file.put_keys(snapshot, id, wanted))
        )

    def _put(self, name: str, value: SettingValue) -> None:
        self._write(
            lambda snapshot: facts.SettingSaved(
                self._file.put(snapshot, name, value), name
            )
        )

    def action_reset(self) -> None:
        match self._row:
            case SettingRow(name) if self._snapshot is not None:
                if self._snapshot.saved.origin(name).source == "file":
                    self._put(name, None)
                else:
                    self.notify(_NOT_THERE)
            case KeyRow(item) if self._snapshot is not None:
                if item.id in self._snapshot.saved.keys:
                    self._put_keys(item.id, None)
                else:
                    self.notify(_NOT_THERE)
            case PresetRow(preset):
                self._ask_to_delete(preset)

    def _ask_to_delete(self, preset: Preset) -> None:
        choices = (
            Choice("k", "Keep", "nothing changes"),
            Choice("d", "Delete", "it is taken out of config.toml"),
        )
        title = f"Delete the preset {preset.name}?"
        facts = [shown(preset.system)] if preset.system else []
        dialog = ConfirmDialog(title, facts, choices, harmless="k", asked=True)
        self.app.push_screen(dialog, partial(self._delete, preset.name))

    def _delete(self, name: str, answer: str | None) -> None:
        if answer == "d":
            self._write(
                lambda snapshot: facts.PresetsSaved(
                    self._file.drop_preset(snapshot, name)
                )
            )

    def _write(self, write: Callable[[SettingsSnapshot], facts.SettingsRead]) -> None:
        """Write a change outside the event loop, unless one is being written. It fails
        if the file is no longer as it was read."""
        if (snapshot := self._snapshot) is None or self._writing:
            return
        self._writing = True
        self._request += 1  # invalidates reads that are under way
        run_in_thread(
            partial(write, snapshot),
            self.call_later,
            then=self._show_read,
            failed=self._warn_not_stored,
            bug=_BUG,
        )

    def _warn_not_stored(self, error: LmtuiError) -> None:
        self._writing = False
        notify_error(self.app, error)
        self._read()

    # Keys.

    @on(SearchField.ListMoved)
    def move_in_list(self, event: SearchField.ListMoved) -> None:
        getattr(self._list, f"action_{event.action}")()

    def action_close(self) -> None:
        if self._field.value:
            self._field.value = ""
        else:
            self.app.pop_screen()
