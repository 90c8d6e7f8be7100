"""The settings screen: settings, presets and keys, each with value, origin and meaning.

The file is read and written outside the event loop. Knows no setting by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from lmtui.config.settings_file import SettingsFile, SettingsSnapshot
from lmtui.errors import LmtuiError
from lmtui.tui.app_messages import SettingsRead
from lmtui.tui.background import run_in_thread
from lmtui.tui.dialogs import Choice, ConfirmDialog, ask, choose, notify_error
from lmtui.tui.model_state import ModelState
from lmtui.tui.picker import Picker, PickerRows
from lmtui.tui.search_screen import SearchScreen
from lmtui.tui.settings.rows import SWITCH, Row, counted, rows_of
from lmtui.tui.widgets.line_prompt import LinePrompt, LineQuestion
from lmtui.tui.widgets.plain_text import plain_text

NOTHING = "No setting has all of these words."
_NOT_THERE = "It is not in config.toml."
_USES = "/preset {0} uses it in the chat; /preset save NAME writes another."
_BUG = "the settings could not be read or written"


class SettingsScreen(SearchScreen):
    HELP = """\
Type to search names and descriptions; Up and Down choose. Enter changes the setting
under the cursor and writes it into config.toml, where your comments and order stay. F8
removes it from the file, so that the default counts. A flag or an environment variable
overrides the file and is named where it does. A preset is a system prompt and sampler
settings under one name; /preset save NAME in the chat writes one. An action can have
several keys, separated by commas; a key that is already used on the same screen is
refused.
"""
    CSS_PATH = ["../search_screen.tcss", "screen.tcss"]  # noqa: RUF012 (as the base's)
    PLACEHOLDER = "Type to search the settings"
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
        self._rows: dict[str, Row] = {}  # by key
        self._writing = False
        self._request = 0

    def on_screen_resume(self) -> None:
        """Read the file again: another program may have changed it."""
        self._read()

    @property
    def _row(self) -> Row | None:
        option = self._list.highlighted_option
        return self._rows.get((option and option.id) or "")

    # Reading and listing.

    def _read(self) -> None:
        if self._writing:
            return  # the result of the write will be shown
        self._request = request = self._request + 1

        def if_latest(show: Callable[[Any], object]) -> Callable[[Any], object]:
            """Ignore a read that began before the last change."""
            return lambda read: show(read) if request == self._request else None

        run_in_thread(
            self._file.read,
            self.call_later,
            if_latest(self._show_read),
            failed=if_latest(self._show_failure),
            bug=_BUG,
        )

    def _show_read(self, snapshot: SettingsSnapshot, *, written: str = "") -> None:
        self._writing, self._snapshot = False, snapshot
        model: ModelState = getattr(self.app, "model", ModelState())
        numbers = model.info.generation_defaults if model.info else ()
        own = snapshot.counting.with_recommended(numbers, "recommended for this model")
        rows = rows_of(replace(snapshot, counting=own), self._choices)
        self._rows = {row.key: row for row in rows}
        self._show()
        self.post_message(SettingsRead(snapshot, written))

    def _show_failure(self, error: LmtuiError) -> None:
        self._writing, self._snapshot, self._rows = False, None, {}
        self._list.clear_options()
        words = f"\n{error.detail}\n\n{error.hint}\n"
        title, again = (error.title, "bold $error"), ("Enter reads it again.", "$quiet")
        self.show_texts(
            about=plain_text(title, words, again),
            foot="Enter reads the file again · F1 help · Esc closes",
        )

    @on(Input.Changed, "#words")
    def _show(self) -> None:
        if self._snapshot is None:
            return
        words, marked, heading = self._field.value.casefold().split(), self._row, ""
        found = [
            row
            for row in self._rows.values()
            if all(word in row.words.casefold() for word in words)
        ]
        self._list.clear_options()
        for row in found:
            if row.heading != heading:
                heading = row.heading
                title = Content.assemble((heading, "bold $primary"))
                self._list.add_option(Option(title, disabled=True))
            self._list.add_option(Option(row.line, id=row.key))
        for row in [row for row in found if row == marked] or found[:1]:
            self._list.highlighted = self._list.get_option_index(row.key)
        self.show_texts(count=counted(found))
        self._preview()

    @on(OptionList.OptionHighlighted)
    def _preview(self) -> None:
        if self._snapshot is None:
            return
        row = self._row
        if self._prompt.is_open:
            foot = "Enter writes it · F1 help · Esc leaves it"
        elif row is not None and row.read is None:
            foot = "F8 deletes · F1 help · Esc closes"
        else:
            foot = "Enter changes · F8 default · F1 help · Esc closes"
        self.show_texts(about=row.about if row else NOTHING, foot=foot)

    # Changing.

    @on(OptionList.OptionSelected)
    @on(Input.Submitted, "#words")
    def change(self) -> None:
        row = self._row
        if self._snapshot is None:
            self._read()
        elif row is None:
            return
        elif row.read is None:
            self.notify(_USES.format(row.path[-1]))
        elif row.choices == SWITCH:
            yes, no = SWITCH
            self._put(row, no if row.value == yes else yes)
        elif row.choices:
            self._choose(row)
        else:
            question = LineQuestion(
                row.key, row.path[-1], row.empty, partial(_why_not, row)
            )
            self._prompt.ask(question, row.value)
            self._prompt.field.select_all()  # what is typed takes its place
            self._preview()

    def _choose(self, row: Row) -> None:
        at = row.choices.index(row.value) if row.value in row.choices else 0
        foot = "Enter takes it · Esc leaves it"
        rows = PickerRows(row.choices, row.choices, foot=foot, at=at)
        choose(self, Picker[str](row.key, rows), partial(self._put, row))

    @on(LinePrompt.Answered)
    def put_answer(self, event: LinePrompt.Answered) -> None:
        self.leave_prompt()
        if (row := self._rows.get(event.question)) is not None:
            self._put(row, event.text)

    @on(LinePrompt.PromptClosed)
    def leave_prompt(self) -> None:
        self._field.focus()
        self._preview()

    def _put(self, row: Row, text: str | None) -> None:
        """Write a valid value into the file, outside the event loop, unless a value is
        being written; None removes what the file has. It fails if the file is no longer
        as it was read."""
        if (snapshot := self._snapshot) is None or self._writing:
            return
        value = row.read(text) if row.read and text is not None else None
        self._writing = True
        self._request += 1  # invalidates reads that are under way
        run_in_thread(
            partial(self._file.put, snapshot, row.path, value),
            self.call_later,
            partial(self._show_read, written=row.key),
            failed=self._warn_not_stored,
            bug=_BUG,
        )

    def _warn_not_stored(self, error: LmtuiError) -> None:
        self._writing = False
        notify_error(self.app, error)
        self._read()

    def action_reset(self) -> None:
        if (row := self._row) is None:
            return
        if not row.is_saved:
            self.notify(_NOT_THERE)
        elif row.read is None:
            self._ask_to_delete(row)
        else:
            self._put(row, None)

    def _ask_to_delete(self, row: Row) -> None:
        choices = (
            Choice("k", "Keep", "nothing changes"),
            Choice("d", "Delete", "it is taken out of config.toml"),
        )
        title = f"Delete the preset {row.path[-1]}?"
        details = str(row.about).splitlines()[1:]
        dialog = ConfirmDialog(title, details, choices, harmless="k", asked=True)
        ask(self, dialog, d=partial(self._put, row, None))


def _why_not(row: Row, text: str) -> str:
    """Return why a row can't have the value that was typed; "" where it can."""
    try:
        if row.read is not None:
            row.read(text)
    except LmtuiError as error:
        return error.title
    return ""
