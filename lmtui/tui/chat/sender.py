"""Sending a message: the files that it names, its length, and its turn.

Files are read on another thread. A message whose files can't be read goes back to the
prompt field.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count

from lmtui.cache_dir import size
from lmtui.chat.attachments import Attachment, attach, plain
from lmtui.editing import positions
from lmtui.engine.protocol import Engine
from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError
from lmtui.tui.background import run_in_thread
from lmtui.tui.chat.attachments import Attachments
from lmtui.tui.chat.parts import ChatParts
from lmtui.tui.chat.prompt import as_draft, as_message
from lmtui.tui.chat.reply import ReplyController
from lmtui.tui.controller import Controller
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.model_state import ModelState
from lmtui.worker.requests import Slot


class MessageSender(Controller):
    """Counts the tokens of what is attached, and sends what is written."""

    def __init__(
        self,
        client: EngineClient,
        parts: ChatParts,
        reply: ReplyController,
    ) -> None:
        self._client, self._reply = client, reply
        self._screen, self._session = parts.screen, parts.session
        self._prompt = parts.prompt
        self.attachments = Attachments(id="attachments")
        self._info: EngineInfo | None = None
        self._can_count = True  # whether the model can count tokens
        self._files: Sequence[Attachment] = ()
        self._folded: Sequence[str] = ()
        self._numbers = count(1)  # of what is on its way

    def start(self) -> None:
        self._screen.call_after_refresh(self._session.recall, self._recall)

    def _recall(self, prompts: tuple[str, ...]) -> None:
        self._prompt.recall([as_draft(text) for text in prompts])

    def follow_model(self, state: ModelState) -> None:
        """Count again, as another model has another tokenizer; send what waited."""
        self._info, self._can_count = state.info, state.capabilities.edits
        if state.info is not None:
            self._count()
            self._screen.call_later(self._reply.send_next)

    @property
    def status_text(self) -> str:
        is_reading = self._session.on_the_way and not self._session.is_answering
        return "reading a file or a grammar; Esc stops" if is_reading else ""

    def stop(self) -> bool:
        return self._give_back()

    # The draft.

    def follow_draft(self) -> None:
        prompt = self._prompt
        if prompt.folded != self._folded:
            self._folded = prompt.folded
            self._count()
        row, column = prompt.cursor_location
        cursor = positions.offset_of(prompt.text, row + 1, column + 1)
        draft = prompt.text if prompt.edited is None else ""
        self.attachments.follow(draft, min(cursor, len(draft)))

    def write_name(self, event: Attachments.NameChosen) -> None:
        prompt = self._prompt
        start, end = (_location(prompt.text, at) for at in (event.start, event.end))
        prompt.replace(event.text, start, end, maintain_selection_offset=False)
        prompt.focus()

    def count_files(self, files: Sequence[Attachment]) -> None:
        self._files = files
        self._count()

    def _count(self) -> None:
        self._client.cancel()
        self._prompt.refusal = ""
        files, folded = self._files, self._folded
        if self._can_count and (files or folded):
            pasted = [plain(as_message(text)) for text in folded]
            texts = [*(file.quoted for file in files), *pasted]
            limit = self._info.context if self._info else 0
            self._client.ask(
                Slot.COUNT,
                lambda engine, _: _token_counts(engine, texts, limit),
                partial(self._show_count, files, texts),
            )

    def _show_count(
        self,
        files: Sequence[Attachment],
        texts: Sequence[str],
        tokens: tuple[int, ...],
    ) -> None:
        """Show the count; refuse what can't fit, which need not be counted for that."""
        if self._info is None:
            return
        context = self._info.context
        if not tokens:
            length = size(sum(len(text.encode("utf-8", "replace")) for text in texts))
            self._prompt.refusal = (
                f"The message has {length}, more than the {context:,} tokens of the "
                "context can spell."
            )
            return
        self.attachments.show_tokens(files, tokens[: len(files)])
        total = sum(tokens)
        if total > context:
            self._prompt.refusal = (
                f"The message has {total:,} tokens; the context holds {context:,}."
            )

    # Sending.

    def send(self, text: str, *, count: int = 1, written: str = "") -> None:
        """Send a draft, with the files that it names, for `count` answers; `written` is
        the draft as the prompt is to have it back."""
        written = written or text
        message, number = as_message(text), self.begin(written)
        if "@" not in message:
            self._screen.call_later(self._add, number, message, written, count)
            return
        folder = self.attachments.folder
        run_in_thread(
            lambda: attach(message, folder).text,
            self._screen.call_later,
            then=lambda message_with_files: self._add(
                number, message_with_files, written, count
            ),
            failed=partial(self._return_to_prompt, number, written),
            bug=LmtuiError("the files can't be read", "", "See the log."),
        )

    def begin(self, written: str = "") -> int:
        """Return the number of what is on its way from now on: a message as it was
        written, or a grammar that is to hold for those sent after it, which wait."""
        number = next(self._numbers)
        self._session.on_the_way[number] = written
        self._screen.activity.update()
        return number

    def end(self, number: int) -> bool:
        """Return whether it was still on its way, and not given up."""
        was_there = self._session.on_the_way.pop(number, None) is not None
        self._screen.activity.update()
        self._screen.call_later(self._reply.send_next)
        return was_there

    def refuse(self, number: int, error: LmtuiError) -> None:
        """Give back to the prompt what was sent after something that can't be had."""
        if self.end(number):
            self._screen.show_error(error)
            self._reply.return_queue(after=number)
            self._give_back(after=number)

    def _give_back(self, after: int = 0) -> bool:
        """Give back to the prompt what is on its way; return whether anything was."""
        on_the_way = self._session.on_the_way
        numbers = [number for number in on_the_way if number > after]
        written = "\n".join(filter(None, map(on_the_way.pop, numbers)))
        if written:
            self._prompt.give_back(written)
        return bool(numbers)

    def _return_to_prompt(self, number: int, written: str, error: LmtuiError) -> None:
        if self.end(number):
            self._screen.show_error(error)
            self._prompt.give_back(written)

    async def _add(self, number: int, message: str, written: str, count: int) -> None:
        """Add the message now, or have it wait until there is a model and nothing
        before it: one that is answered with one reply."""
        if not self.end(number):
            return
        if count == 1:
            self._reply.enqueue(number, message, written)
            await self._reply.send_next()
        elif self._reply.is_free(number) and not self._reply.has_queue:
            await self._reply.add_message(message, written, count=count)
        else:
            self._prompt.give_back(written)


def _location(text: str, offset: int) -> tuple[int, int]:
    """Return a location as a text field counts it: from 0."""
    line, column = positions.location_of(text, offset)
    return line - 1, column - 1


def _token_counts(engine: Engine, texts: Sequence[str], limit: int) -> tuple[int, ...]:
    """Return the tokens of each text, encoded by itself; nothing where `limit` tokens
    can't spell the texts together."""
    length = sum(len(text.encode("utf-8", "replace")) for text in texts)
    if limit and length > limit and 0 < engine.longest_token * limit < length:
        return ()
    return tuple(len(engine.encode(text, bos="no").ids) for text in texts)
