"""A screen whose prompt can bring files along.

Owns the way of a draft through the widget that completes names, the count of what is
attached, and the reading of the files when a message is sent: aside, with the message
handed back where one can't be read. Knows no conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import on
from textual.message import Message
from textual.screen import Screen
from textual.widgets import TextArea

from lmtui.chat.attachments import Attached, Attachment, attach
from lmtui.edit import positions
from lmtui.errors import LmtuiError
from lmtui.text import visible, visible_line
from lmtui.tui import messages as facts
from lmtui.tui.aside import aside
from lmtui.tui.runner import Runner
from lmtui.tui.widgets.attachments import Attachments


class AttachingScreen(Screen[None]):
    """Has `Attachments` above a text field `#prompt`."""

    runner: Runner
    folder = Path()
    """Where relative names begin."""
    _counted: tuple[int, Sequence[Attachment]] = (0, ())

    @dataclass
    class FilesAttached(Message):
        """The files that a message names are in it."""

        draft: str
        """As it was written."""
        message: Attached

    @dataclass
    class AttachingFailed(Message):
        """A file can't be attached; nothing is sent."""

        draft: str
        error: LmtuiError

    def begin_attaching(self, draft: str) -> bool:
        """Read the files that a message names: `FilesAttached` or `AttachingFailed`;
        False, and nothing, where it can name none."""
        if "@" not in draft:
            return False

        def work() -> Message:
            try:
                return self.FilesAttached(draft, attach(draft, self.folder))
            except LmtuiError as error:
                return self.AttachingFailed(draft, error)

        plain = self.FilesAttached(draft, Attached(draft))
        aside(work, self.post_message, otherwise=plain)
        return True

    @on(AttachingFailed)
    def tell_not_attached(self, event: AttachingFailed) -> None:
        """Say why."""
        error = event.error
        self.notify(
            visible("\n".join(part for part in (error.detail, error.hint) if part)),
            title=f"Not sent: {visible_line(error.title)}",
            severity="error",
            markup=False,
            timeout=12,
        )

    # The draft.

    @on(TextArea.Changed, "#prompt")
    @on(TextArea.SelectionChanged, "#prompt")
    def follow_names(self, event: TextArea.Changed | TextArea.SelectionChanged) -> None:
        """Something else is written, or the cursor stands elsewhere."""
        area = event.text_area
        row, column = area.cursor_location
        cursor = positions.offset_of(area.text, row + 1, column + 1)
        self.query_one(Attachments).follow(area.text, cursor)

    @on(Attachments.Taken)
    def write_name(self, event: Attachments.Taken) -> None:
        """Write a name that was chosen from the list."""
        area = self.query_one("#prompt", TextArea)
        start, end = (_location(area.text, at) for at in (event.start, event.end))
        area.replace(event.text, start, end, maintain_selection_offset=False)
        area.focus()

    @on(Attachments.FilesRead)
    def count_tokens(self, event: Attachments.FilesRead) -> None:
        """Ask how many tokens the files are."""
        self._counted = self.runner.number(), event.files
        if event.files:
            texts = [file.quoted for file in event.files]
            self.runner.count(self._counted[0], texts)

    @on(facts.TextsCounted)
    def show_tokens(self, event: facts.TextsCounted) -> None:
        """Say it, unless other files are named by now."""
        revision, files = self._counted
        if event.revision == revision:
            self.query_one(Attachments).show_tokens(files, event.tokens)


def _location(text: str, offset: int) -> tuple[int, int]:
    """A place of a text as a text field counts, from 0."""
    line, column = positions.place_of(text, offset)
    return line - 1, column - 1
