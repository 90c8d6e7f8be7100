"""Files that go along with a message: read beside the screen, named with Tab.

Owns the way of a message from the prompt to where it is said. Knows no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.message import Message

from lmtui.chat import attaching
from lmtui.edit import naming
from lmtui.errors import LmtuiError
from lmtui.tui.aside import aside
from lmtui.tui.screens.commands import CommandScreen
from lmtui.tui.widgets.prompt import Prompt as PromptField


class AttachingScreen(CommandScreen):
    """Has a prompt in which files are named."""

    @dataclass
    class Attached(Message):
        """The files that a message names were read, or why one can't be."""

        written: str
        whole: str
        error: LmtuiError | None = None

    @dataclass
    class Named(Message):
        """It was found out how the name of a file goes on."""

        text: str
        whole: str

    def deliver(self, text: str) -> None:
        """Say a message, with the files that it names."""
        if not attaching.names_files(text):
            self.post_message(self.Attached(text, text))
            return

        def work() -> Message:
            try:
                return self.Attached(text, attaching.attached(text))
            except LmtuiError as error:
                return self.Attached(text, text, error)

        aside(work, self.post_message, otherwise=self.Attached(text, text))

    @on(Attached)
    async def say_attached(self, event: Attached) -> None:
        """Say it now, or when there is a model and room."""
        if event.error is not None:
            self._show_error(event.error)
            self.query_one(PromptField).give_back(event.written)
        elif self._info is not None and not self._job:
            await self.say(event.whole)
        else:
            self._waiting.append(event.whole)
            if self._info is None:
                self._status.state = "your message is sent once the model is there"

    @on(PromptField.NameAsked)
    def find_name(self, event: PromptField.NameAsked) -> None:
        """How does the name of this file go on?"""

        def work() -> Message:
            before, at, name = event.text.rpartition("@")
            return self.Named(event.text, before + at + naming.completed(name))

        same = self.Named(event.text, event.text)
        aside(work, self.post_message, otherwise=same)

    @on(Named)
    def write_name(self, event: Named) -> None:
        """Write it, unless something else was written meanwhile."""
        prompt = self.query_one(PromptField)
        if prompt.text == event.text != event.whole:
            prompt.text = event.whole
            prompt.move_cursor(prompt.document.end)
