"""The prompt: where the user writes.

Owns the keys of writing and sending, and the prompts sent before. Knows nothing of
what becomes of a prompt; it posts facts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from lmtui.text import visible_in_place
from lmtui.tui.widgets.typed import take_key

_HINT = "Write a message; Enter sends it"


class Prompt(TextArea):
    """A text field of one to ten lines that sends on Enter."""

    HELP = """\
Enter sends; Ctrl+J, or a backslash and then Enter, makes a new line. Up and Down at
the first and last line go through what you sent before; while messages wait for their
turn, Up in the empty prompt takes the last one back. A line that begins with / is
a command: Up and Down walk the list, Tab or Enter writes one out, Enter then does it.
/help shows them all.
"""
    DEFAULT_CSS = """
    Prompt {
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

    class Submitted(Message):
        """The user sent a prompt."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

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
        self._place = 0
        self._unsent = ""
        self._draft: str | None = None  # while something else is edited
        self._may_be_empty = False
        self.take_first: Callable[[str], bool] = lambda key: False
        """Asked before a key does anything here; whether it took the key."""

    async def _on_key(self, event: events.Key) -> None:
        if self.take_first(event.key):
            event.stop()
            event.prevent_default()
            return
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self._enter()
            return

        def write(text: str) -> None:
            self._replace_via_keyboard(text, *self.selection)

        await take_key(self, event, write)

    def _enter(self) -> None:
        row, column = self.cursor_location
        if column and self.document[row][column - 1] == "\\":
            self.replace("\n", (row, column - 1), (row, column))
        elif self.can_send:
            self._send()

    def _send(self) -> None:
        text = self.text
        if self._draft is None:
            self._sent.append(text)
            self._place = len(self._sent)
            self.text = ""  # with nothing to undo: what is sent does not come back
        self.post_message(self.Submitted(text))

    def recall(self, prompts: Sequence[str]) -> None:
        """Put prompts of earlier runs before those of this one."""
        self._sent = [*prompts, *self._sent]
        self._place += len(prompts)

    @property
    def can_send(self) -> bool:
        """Whether there is anything to send, or nothing can be meant."""
        return bool(self.text.strip()) or self._may_be_empty

    def begin_edit(self, text: str, title: str, *, empty: bool = False) -> None:
        """Let something else be edited here, which may be `empty`; the draft waits."""
        if self._draft is None:
            self._draft = self.text
        self._may_be_empty = empty
        self.border_title, self.placeholder = title, ""
        self.text = text
        self.move_cursor(self.document.end)

    def end_edit(self) -> None:
        """Go on with the draft."""
        self.border_title, self.placeholder = None, _HINT
        self._may_be_empty = False
        self.text = self._draft or ""
        self._draft = None
        self.move_cursor(self.document.end)

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn: what was pasted may hold control characters."""
        line = self.document.get_line(line_index)
        return Text(visible_in_place(line), end="", no_wrap=True)

    def give_back(self, text: str) -> None:
        """Put a prompt that could not be answered back, before what was written."""
        after = f"\n{self.text}" if self.text else ""
        self.text = text + after
        self.move_cursor(self.document.end)

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_clear(self) -> None:
        """Clear the draft, in one step that can be undone."""
        self.history.checkpoint()
        self.clear()
        self.history.checkpoint()

    def action_earlier(self) -> None:
        """Go up, or to the prompt sent before."""
        if not self.cursor_at_first_line:
            self.action_cursor_up()
            return
        if self._place == 0:
            return
        if self._place == len(self._sent):
            self._unsent = self.text
        self._show(self._place - 1)

    def action_later(self) -> None:
        """Go down, or to the prompt sent after."""
        if not self.cursor_at_last_line:
            self.action_cursor_down()
        elif self._place < len(self._sent):
            self._show(self._place + 1)

    def _show(self, place: int) -> None:
        self._place = place
        at_end = place == len(self._sent)
        self.text = self._unsent if at_end else self._sent[place]
        self.move_cursor(self.document.end)
