"""The prompt: the field in which the user writes messages.

Handles the keys of writing and sending, and the history of prompts. Long pasted texts
are folded to one line, so that keys stay quick. Knows nothing of what becomes of a
prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.document._document import EditResult, Location
from textual.document._edit import Edit
from textual.message import Message

from lmtui.cache_dir import size
from lmtui.chat.attachments import unnamed
from lmtui.tui.widgets.drawn_area import DrawnArea, pasted_text
from lmtui.tui.widgets.key_input import handle_key

_SLASH, _TWO_SLASHES = re.compile(r"(\s*)/"), re.compile(r"(\s*)//")

_HINT = "Write a message; Enter sends it"
FOLDED = 20_000
"""Length in characters from which a text that is pasted or put back is folded."""


def as_draft(message: str) -> str:
    """Return the draft that says exactly `message`: slashes and @ are escaped."""
    draft = unnamed(message)
    match = _SLASH.match(draft)
    return f"{match[1]}//{draft[match.end() :]}" if match else draft


def as_message(draft: str) -> str:
    """Return the message of a draft that is no command: two slashes at its beginning
    become one. Mentioned files are not resolved yet."""
    match = _TWO_SLASHES.match(draft)
    return f"{match[1]}/{draft[match.end() :]}" if match else draft


class PromptField(DrawnArea):
    """A text field of one to ten lines; Enter sends."""

    HELP_TITLE = "Prompt"
    HELP = """\
Enter sends; Ctrl+J, or a backslash and then Enter, starts a new line. Up and Down on
the first and last line recall earlier prompts; while messages are queued, Up in the
empty prompt takes the last one back. A text that begins with / is a command: Up and
Down choose one, Tab or Enter completes it, Enter runs it; /help lists them all. With //
it is a message that begins with /. A long pasted text is shown as one line and sent in
full.
"""
    DEFAULT_CSS = """
    PromptField {
        height: auto;
        min-height: 3;
        max-height: 12;
        border: round $border-blurred;
        padding: 0 1;
        background: $background;
        &:focus { border: round $border; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+j,shift+enter,alt+enter",
            "newline",
            "New line",
            id="prompt.newline",
            tooltip="Begin a new line without sending.",
            show=False,
        ),
        Binding(
            "up", "earlier", "Earlier", id="prompt.earlier", show=False,
            tooltip="Up a line; at the first, the prompt sent before.",
        ),
        Binding(
            "down", "later", "Later", id="prompt.later", show=False,
            tooltip="Down a line; at the last, the prompt sent after.",
        ),
        Binding(
            "ctrl+u", "clear", "Clear", id="prompt.clear", show=False,
            tooltip="Clear the whole draft; Ctrl+Z brings it back.",
        ),
    ]  # fmt: skip

    @dataclass
    class Submitted(Message):
        """The user sent a prompt."""

        text: str

    @dataclass
    class SubmitRefused(Message):
        """The user tried to send a prompt that can't be sent."""

        why: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(
            id=id,
            soft_wrap=True,
            show_line_numbers=False,
            highlight_cursor_line=False,
            tab_behavior="focus",
            placeholder=_HINT,
        )
        self._sent: list[str] = []
        self._history_index = 0
        self._unsent = ""
        self._saved_draft = ""  # put aside, while something else is edited
        self.edited: int | None = None
        """Id of the message that is edited in place of the draft."""
        self._may_be_empty = False
        self._folds: dict[str, str] = {}  # folded texts by their placeholders
        self.refusal = ""
        """Why the text can't be sent; "" if it can, or if that is unknown."""
        self.key_hook: Callable[[str], bool] = lambda key: False
        """Called before a key is handled here; returns whether it used the key."""

    async def _on_key(self, event: events.Key) -> None:
        if self.key_hook(event.key):
            event.stop()
            event.prevent_default()
            return
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self._submit_or_break()
            return

        def write(text: str) -> None:
            self._replace_via_keyboard(text, *self.selection)

        await handle_key(self, event, write)

    def _submit_or_break(self) -> None:
        row, column = self.cursor_location
        if column and self.document[row][column - 1] == "\\":
            self.replace("\n", (row, column - 1), (row, column))
        elif self.refusal:
            self.post_message(self.SubmitRefused(self.refusal))
        elif self.can_send:
            self._send()

    def _send(self) -> None:
        text = self.draft
        if self.edited is None:
            self._sent.append(text)
            self._history_index = len(self._sent)
            self.text = ""  # sending can't be undone
        self.post_message(self.Submitted(text))

    def recall(self, prompts: Sequence[str]) -> None:
        self._sent = [*prompts, *self._sent]
        self._history_index += len(prompts)

    @property
    def can_send(self) -> bool:
        return bool(self.text.strip()) or self._may_be_empty

    def begin_edit(
        self, id_: int, text: str, title: str, *, empty: bool = False
    ) -> None:
        """Edit a message's text in the field, which may be empty if `empty`; the draft
        is kept."""
        if self.edited is None:
            self._saved_draft = self.text
        self.edited = id_
        self._may_be_empty = empty
        self.border_title, self.placeholder = title, ""
        self.write(text)

    def end_edit(self) -> bool:
        """Return whether a message was edited."""
        if self.edited is None:
            return False
        self.edited = None
        self.border_title, self.placeholder = None, _HINT
        self._may_be_empty = False
        self.text = self._saved_draft
        self.move_cursor(self.document.end)
        return True

    def give_back(self, text: str) -> None:
        """Put a prompt that could not be answered before the draft, also while that is
        put aside."""
        draft = self.text if self.edited is None else self._saved_draft
        joined = self._fold_again(text) + (f"\n{draft}" if draft else "")
        if self.edited is None:
            self.write(joined)
        else:
            self._saved_draft = joined

    def action_newline(self) -> None:
        self.insert("\n")

    def action_clear(self) -> None:
        self.history.checkpoint()
        self.clear()
        self.history.checkpoint()

    def action_earlier(self) -> None:
        if not self.cursor_at_first_line:
            self.action_cursor_up()
            return
        if self._history_index == 0:
            return
        if self._history_index == len(self._sent):
            self._unsent = self.text
        self._recall(self._history_index - 1)

    def action_later(self) -> None:
        if not self.cursor_at_last_line:
            self.action_cursor_down()
        elif self._history_index < len(self._sent):
            self._recall(self._history_index + 1)

    def _recall(self, index: int) -> None:
        self._history_index = index
        at_end = index == len(self._sent)
        self.write(self._unsent if at_end else self._sent[index])

    # Long texts.

    @property
    def draft(self) -> str:
        """The text with all folded texts in full."""
        return self._in_full(self.text)

    @property
    def own_draft(self) -> str:
        """The user's draft in full, also while it is put aside for an edit."""
        return self._in_full(self.text if self.edited is None else self._saved_draft)

    @property
    def folded(self) -> tuple[str, ...]:
        """The folded texts in the field, in full."""
        return tuple(
            self._folds[placeholder] for placeholder in self._placeholders_in(self.text)
        )

    def write(self, text: str) -> None:
        """Replace the text; a long one is folded."""
        self.text = self._fold_again(text)
        self.move_cursor(self.document.end)

    def _in_full(self, text: str) -> str:
        for placeholder in self._placeholders_in(text):
            text = text.replace(placeholder, self._folds[placeholder])
        return text

    def _placeholders_in(self, text: str) -> list[str]:
        return [placeholder for placeholder in self._folds if placeholder in text]

    def _fold_again(self, text: str) -> str:
        """Return a text with what was folded in it before, and only that, folded; all
        of it where that leaves a long text."""
        for placeholder, full in self._folds.items():
            text = text.replace(full, placeholder)
        return text if len(text) < FOLDED else self._fold(self._in_full(text))

    def _fold(self, text: str) -> str:
        if len(text) < FOLDED:
            return text
        same = (
            placeholder for placeholder, full in self._folds.items() if full == text
        )
        if (placeholder := next(same, None)) is None:
            bytes_, lines = len(text.encode("utf-8", "replace")), text.count("\n") + 1
            number = f" {len(self._folds) + 1}" if self._folds else ""
            placeholder = f"⟦pasted text{number}, {size(bytes_)}, {lines:,} lines⟧"
            self._folds[placeholder] = text
        return placeholder

    async def _on_paste(self, event: events.Paste) -> None:
        """Insert a pasted text, with newlines instead of carriage returns. A long one
        is escaped, so that nothing in it counts as a command or a file name."""
        event.prevent_default()
        event.stop()
        text = pasted_text(event)
        if len(text) >= FOLDED and self.edited is None:
            at_start = min(self.selection) == (0, 0)
            text = as_draft(text) if at_start else unnamed(text)
        if result := self._replace_via_keyboard(self._fold(text), *self.selection):
            self.move_cursor(result.end_location)

    def edit(self, edit: Edit) -> EditResult:
        """Edit the text; the placeholder of a folded text is removed as a whole or not
        at all."""
        low, high = sorted((edit.from_location, edit.to_location))
        end = self._placeholder_span(high)[1]
        start = self._placeholder_span(low)[0] if low != high else end
        expanded = Edit(edit.text, start, end, edit.maintain_selection_offset)
        return super().edit(expanded)

    def _placeholder_span(self, location: Location) -> tuple[Location, Location]:
        """Return the start and end of the placeholder around a location; the location
        twice where there is none."""
        row, column = location
        for placeholder in self._folds:
            start = self.document[row].find(placeholder)
            if 0 <= start < column < start + len(placeholder):
                return (row, start), (row, start + len(placeholder))
        return location, location
