"""Sending a message: the files that it names, its length, and its turn.

Files are read on another thread. A message whose files can't be read goes back to the
prompt field.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lmtui.cache_dir import size
from lmtui.chat.attachments import Attachment, attach, plain
from lmtui.editing import positions
from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.tui.background import run_in_thread
from lmtui.tui.chat.attachments import Attachments
from lmtui.tui.chat.prompt import as_draft, as_message
from lmtui.tui.chat.reply import ReplyController
from lmtui.tui.chat.session import Sent
from lmtui.tui.chat.view import ChatView
from lmtui.tui.controller import Controller
from lmtui.tui.engine.client import EngineClient
from lmtui.worker.requests import Slot


class MessageSender(Controller):
    """Counts the tokens of what is attached, and sends what is written."""

    def __init__(
        self,
        client: EngineClient,
        view: ChatView,
        reply: ReplyController,
    ) -> None:
        self._client, self._reply = client, reply
        self._screen, self._session = view.screen, view.session
        self._prompt = view.prompt
        self.attachments = Attachments(id="attachments")
        self._files: Sequence[Attachment] = ()
        self._folded: Sequence[str] = ()

    def start(self) -> None:
        self._screen.call_after_refresh(self._session.recall, self._recall)

    def _recall(self, prompts: tuple[str, ...]) -> None:
        self._prompt.recall([as_draft(text) for text in prompts])

    def follow_model(self) -> None:
        """Count again, as another model has another tokenizer; send what waited."""
        if self.model.info is not None:
            self._count()
            self._screen.call_later(self._reply.send_next)

    @property
    def status_text(self) -> str:
        is_reading = self._session.on_the_way and not self._session.is_answering
        return "reading a file or a grammar; Esc stops" if is_reading else ""

    def stop(self) -> bool:
        return self._reply.give_back(self._session.on_the_way)

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
        if self.model.capabilities.edits and (files or folded):
            pasted = [plain(as_message(text)) for text in folded]
            texts = [*(file.quoted for file in files), *pasted]
            limit = self.model.info.context if self.model.info else 0
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
        if self.model.info is None:
            return
        context = self.model.info.context
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
        message, entry = as_message(text), self.begin(written or text, count)
        if "@" not in message:
            self._screen.call_later(self._add, entry, message)
            return
        folder = self.attachments.folder
        run_in_thread(
            lambda: attach(message, folder).text,
            self._screen.call_later,
            partial(self._add, entry),
            failed=partial(self.refuse, entry),
            bug="the files can't be read",
        )

    def begin(self, written: str = "", count: int = 1) -> Sent:
        """Return what is on its way from now on: a message as it was written, or a
        grammar that is to hold for those sent after it, which wait."""
        entry = Sent(written, count)
        self._session.sent.append(entry)
        self._screen.activity.update()
        return entry

    def end(self, entry: Sent | None) -> bool:
        """Return whether it was still on its way, and not given up."""
        if was_there := entry in self._session.sent:
            self._session.sent.remove(entry)
        self._screen.activity.update()
        self._screen.call_later(self._reply.send_next)
        return was_there

    def refuse(self, entry: Sent, error: LmtuiError) -> None:
        """Give back to the prompt what can't be sent: a message whose files can't be
        read, or those that were to follow a grammar that can't be had."""
        if entry in (sent := self._session.sent):
            self._screen.show_error(error)
            is_grammar = not entry.written
            self._reply.give_back(sent[sent.index(entry) :] if is_grammar else [entry])
            self.end(entry)

    async def _add(self, entry: Sent, message: str) -> None:
        """Add the message now, or have it wait until there is a model and nothing
        before it."""
        if entry in self._session.sent:
            entry.message = message
            self._screen.activity.update()
            await self._reply.send_next()


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
