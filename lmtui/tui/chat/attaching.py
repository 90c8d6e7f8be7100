"""Files attached to a chat message: named in the prompt field, read when sent.

Completes file names, counts the tokens of what is attached, and reads the files on
another thread. A message whose files can't be read goes back to the prompt field. Knows
no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from textual import on
from textual.message import Message
from textual.widgets import TextArea

from lmtui.chat.attachments import Attachment, attach, plain
from lmtui.editing import positions
from lmtui.errors import LmtuiError
from lmtui.tui.background import post_from_thread
from lmtui.tui.chat.attachments import Attachments
from lmtui.tui.chat.commands import CommandScreen
from lmtui.tui.chat.prompt import PromptField, as_message
from lmtui.tui.engine import messages as facts


class AttachingScreen(CommandScreen):
    """Has a prompt in which files are named, and `Attachments` above it."""

    _counted: tuple[int, Sequence[Attachment], Sequence[str]] = (0, (), ())
    _on_the_way = 0  # messages that were sent and are not said yet
    _stopped = 0  # so many of them

    @dataclass
    class Attached(Message):
        """The files that a message names, read; or the error."""

        written: str
        whole: str
        error: LmtuiError | None = None

    def on_mount(self) -> None:
        """While there are names to choose from, the keys are theirs."""
        names, prompt = self.query_one(Attachments), self.query_one(PromptField)
        prompt.take_first = lambda key: (
            names.take_key(key) or self.take_key(key) or self.take_last_waiting(key)
        )

    # The draft.

    @on(TextArea.Changed, "#prompt")
    @on(TextArea.SelectionChanged, "#prompt")
    def follow_names(self, event: TextArea.Changed | TextArea.SelectionChanged) -> None:
        area = event.text_area
        if isinstance(area, PromptField) and area.folded != self._counted[2]:
            self._count(self._counted[1], area.folded)
        row, column = area.cursor_location
        cursor = positions.offset_of(area.text, row + 1, column + 1)
        draft = "" if self.is_editing else area.text
        self.query_one(Attachments).follow(draft, min(cursor, len(draft)))

    @on(Attachments.Taken)
    def write_name(self, event: Attachments.Taken) -> None:
        """Write a name that was chosen from the list."""
        area = self.query_one(PromptField)
        start, end = (_location(area.text, at) for at in (event.start, event.end))
        area.replace(event.text, start, end, maintain_selection_offset=False)
        area.focus()

    @on(Attachments.FilesRead)
    def count_files(self, event: Attachments.FilesRead) -> None:
        self._count(event.files, self._counted[2])

    def count_again(self) -> None:
        """Count again: another model has another tokenizer."""
        self._count(*self._counted[1:])

    def _count(self, files: Sequence[Attachment], folded: Sequence[str]) -> None:
        """Ask how many tokens the files and the long texts of the draft are."""
        self._counted = self.client.number(), files, folded
        self.query_one(PromptField).refusal = ""
        if files or folded:
            pasted = [plain(as_message(text)) for text in folded]
            texts = [*(file.quoted for file in files), *pasted]
            self.client.count_tokens(self._counted[0], texts)

    @on(facts.TextsCounted)
    def show_tokens(self, event: facts.TextsCounted) -> None:
        """Show the count, unless the draft has changed since; refuse what can't fit."""
        revision, files, _ = self._counted
        if event.revision != revision:
            return
        self.query_one(Attachments).show_tokens(files, event.tokens[: len(files)])
        tokens = sum(event.tokens)
        if self._info is not None and tokens > self._info.context:
            self.query_one(PromptField).refusal = (
                f"The message has {tokens:,} tokens; "
                f"the context holds {self._info.context:,}."
            )

    @on(PromptField.Refused)
    def tell_refused(self, event: PromptField.Refused) -> None:
        self.notify(event.why, title="This message does not fit", severity="warning")

    # Sending.

    def deliver(self, text: str) -> None:
        """Send a draft, with the files that it names."""
        if self.held_back(partial(self.deliver, text), text):
            return
        said = as_message(text)
        if "@" not in said:
            self.pass_on(said, text)
            return
        folder = self.query_one(Attachments).folder
        self._on_the_way += 1

        def work() -> Message:
            try:
                return self.Attached(text, attach(said, folder).text)
            except LmtuiError as error:
                return self.Attached(text, said, error)

        post_from_thread(work, self.post_message, otherwise=self.Attached(text, said))

    def pass_on(self, whole: str, written: str) -> None:
        """Send a message whose files are read already."""
        self._on_the_way += 1
        self.post_message(self.Attached(written, whole))

    @property
    def busy(self) -> bool:
        """Whether an answer is being made, or a message is on its way to the model."""
        return super().busy or self._on_the_way > 0

    def stop_work(self) -> bool:
        """Stop the answer, and a message on its way to the model."""
        on_the_way = self._on_the_way > self._stopped
        self._stopped = self._on_the_way
        return super().stop_work() or on_the_way

    @on(Attached)
    async def say_attached(self, event: Attached) -> None:
        """Add the message now, or queue it until there is a model and no other
        answer."""
        stopped = self._stopped > 0
        self._on_the_way -= 1
        self._stopped -= stopped
        free = self._info is not None and not self._job
        if event.error is not None:
            self._show_error(event.error)
        if event.error is not None or (stopped and not free):
            self.query_one(PromptField).give_back(event.written)
        elif free:
            await self.say(event.whole, event.written, stopped=stopped)
        else:
            self.wait(event.whole, event.written)
            if self._info is None:
                self._status.state = "your message is sent once the model is loaded"


def _location(text: str, offset: int) -> tuple[int, int]:
    """Return a location in a text as a text field counts it: from 0."""
    line, column = positions.location_of(text, offset)
    return line - 1, column - 1
