"""Generation of answers in the chat, one at a time.

An answer begins, grows token by token, ends and can be continued; further messages
wait. The engine is asked through the client and answers by messages; an answer to an
older job is ignored. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import on
from textual.content import Content
from textual.widgets import Static

from lmtui.chat.excerpts import preview_of
from lmtui.chat.message import ChatMessage
from lmtui.chat.summary import StoredConversation
from lmtui.chat.thinking import thought_of
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    SamplingSettings,
)
from lmtui.text import visible
from lmtui.tui.chat import store as kept
from lmtui.tui.chat.message import MessageView, entry_of
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.store import ConversationStore
from lmtui.tui.chat.transcript import Transcript
from lmtui.tui.chat.whose import WhoseScreen
from lmtui.tui.engine import messages as facts
from lmtui.tui.engine.message_client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.screen import READING

Begin = Sequence[ChatTurn] | Prompt

# Short enough for the model and its precision beside it, at 80 columns.
_STOPPED = "stopped · Ctrl+G more, Ctrl+R again"
_STOPPED_EMPTY = "stopped before the first word · Ctrl+R again"
_NOTHING = "nothing to add · Ctrl+R again"
NO_TOKEN = "No token was generated."


class AnsweringScreen(WhoseScreen):
    """Has a `Transcript` that grows, a prompt that what failed goes back to, and
    `#waiting` for what waits for its turn."""

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        *,
        sampling: SamplingSettings,
        system: str = "",
        chats: ConversationStore | None = None,
        opened: StoredConversation | None = None,
    ) -> None:
        super().__init__(
            make_client, sampling=sampling, system=system, chats=chats, opened=opened
        )
        self._reply: ChatMessage | None = None
        self._instead: int | None = None  # the reply that it is another version of
        self._begin: tuple[Begin, str] | None = None  # until the words are kept
        self._asked = self._given_up = 0  # the last job that the engine was asked for,
        # and the last one that was stopped before
        # Sent before there was a model or room: what it says, and how it was written.
        self._waiting: list[tuple[str, str]] = []
        self._written: tuple[int, str] = (0, "")  # of the message that was said last

    @property
    def transcript(self) -> Transcript:
        """Where the conversation is read."""
        return self.query_one(Transcript)

    def view_of(self, node: ChatMessage) -> MessageView | None:
        """A message's view, if it is on the screen."""
        return self.transcript.view(str(node.id))

    # Its beginning.

    async def say(self, text: str, written: str, *, stopped: bool = False) -> None:
        """Add a user message at the end of the branch, and have it answered unless it
        was stopped. A last message without an answer is replaced: the model is not
        given it."""
        if not stopped:
            self._claim()
        end = self._conversation.path[-1]
        asked = self._conversation.say(text)
        self._written = asked.id, written
        if asked.parent == end.id:
            await self.transcript.add(entry_of(self._conversation, asked))
        else:
            await self.show_branch()
        if stopped:
            self.keep()
            self._status.state = _STOPPED_EMPTY
        else:
            await self.answer_to(asked)

    async def answer_to(self, asked: ChatMessage) -> None:
        """Have a message at the end of the branch answered."""
        assert self._info is not None
        self._claim()
        self._instead = None
        self._reply = self._conversation.reply(
            asked.id, model=self._info.label, settings=self._settings
        )
        if self.view_of(asked) is None:
            await self.show_branch()
        else:
            self._renew(asked)
            await self.transcript.add(entry_of(self._conversation, self._reply))
        self._start(self._conversation.messages(asked.id))

    async def another_answer(self, reply: ChatMessage) -> None:
        """Answer again in place of a reply."""
        assert self._info is not None and reply.parent is not None
        self._claim()
        self._instead = None if reply.is_empty else reply.id
        self._reply = self._conversation.regenerate(
            reply.id, model=self._info.label, settings=self._settings
        )
        await self.show_branch()
        self._start(self._conversation.messages(reply.parent))

    async def go_on_with(self, reply: ChatMessage) -> None:
        """Let a reply go on from exactly where its text ends."""
        assert self._info is not None and reply.parent is not None
        self._claim()
        prompt, self._instead = reply.continuation, None
        if prompt is not None and self.written_here(reply.model):
            self._reply = self._conversation.resume(reply.id, settings=self._settings)
            await self.show_branch()
            self._start(prompt, prefill=reply.rest)
            return
        # Another model's ids mean nothing to this one; its words do.
        await self.answer_beginning(reply, reply.content)

    async def answer_beginning(self, reply: ChatMessage, words: str) -> None:
        """Answer in place of a reply, with an answer that begins with these words."""
        assert self._info is not None and reply.parent is not None
        self._claim()
        self._reply = self._conversation.reply(
            reply.parent,
            model=self._info.label,
            settings=self._settings,
            prefill=words,
        )
        await self.show_branch()
        self._start(self._conversation.messages(reply.parent), prefill=words)

    def _claim(self) -> None:
        """Mark an answer as begun: from here on it can be stopped."""
        self.stop_scoring()
        self._job = self._job or self.client.number()

    def _start(self, begin: Begin, prefill: str = "") -> None:
        self._begin = begin, prefill
        self._status.state = "reading the prompt"
        if self._panel.distribution is None:
            self._panel.clear(READING)
        self._panel.outdate()
        before = self._reply.steps if self._reply else ()
        self._strip.reset(info=self._info, before=before)
        self.keep_first(self._job)

    @on(kept.ConversationStored)
    def begin_job(self, event: kept.ConversationStored) -> None:
        """Start the generation, once the user's message is on the disk."""
        given_up = event.job == self._given_up
        if event.job != self._job or self._begin is None or given_up:
            return
        self._asked = event.job
        assert self._reply is not None and self._reply.settings is not None
        (begin, prefill), self._begin = self._begin, None
        if self._info is None:  # another model is on its way
            self.post_message(facts.JobDropped(self._job))
            return
        self.client.generate(
            self._job,
            begin,
            self._reply.settings,
            prefill=prefill,
            drop_oldest=self.options.drop_oldest,
            thinking=self.thinking,
        )

    # Its growth.

    @on(facts.GenerationStarted)
    def keep_prompt(self, event: facts.GenerationStarted) -> None:
        """Keep the prompt: a continuation goes on from its ids."""
        if event.job != self._job or self._reply is None:
            return
        self._reply = self._conversation.lay_out(
            self._reply.id, event.prompt, left_out=event.left_out
        )
        self._strip.read(len(event.prompt.ids))

    @on(facts.PromptProgressed)
    def show_reading(self, event: facts.PromptProgressed) -> None:
        if event.job == self._job and self._info is not None:
            self._status.state = f"reading the prompt {event.done:,}/{event.total:,}"

    @on(facts.StepsArrived)
    async def show_steps(self, event: facts.StepsArrived) -> None:
        if event.job != self._job or self._reply is None:
            return
        self._reply = self._conversation.grow(self._reply.id, event.steps)
        self.keep()
        self._strip.extend(event.steps)
        if self._info is not None:  # else another model is loading by now
            waits = f" · {len(self._waiting)} waiting" if self._waiting else ""
            self._status.state = f"answering; Esc stops{waits}"
            last = event.steps[-1]
            self._panel.title = "Next token"
            self._panel.show(last.distribution, chosen=last.id)
        if view := self.view_of(self._reply):
            words = "".join(step.piece for step in event.steps)
            view.grow(words, thought_of(self._reply))

    # Its end.

    @on(facts.GenerationFinished)
    async def end_answer(self, event: facts.GenerationFinished) -> None:
        if event.job != self._job or self._reply is None:
            return
        self._job = 0
        self._reply = self._conversation.finish(self._reply.id, event.finish)
        self.keep()
        self._strip.finish(event.finish)
        stopped = event.finish.reason is FinishReason.CANCELLED
        if self._info is not None:
            self._status.state = _ended(event.finish, empty=self._reply.is_empty)
            if not self._reply.steps:
                self._panel.clear(NO_TOKEN)
        if view := self.view_of(self._reply):
            view.grow(event.finish.piece, thought_of(self._reply))
        await self._show_ended(self._reply)
        if stopped:
            self.take_back()
        elif self._waiting and self._info is not None:
            await self.say(*self.next_waiting())

    async def _show_ended(self, reply: ChatMessage) -> None:
        """Show a reply as it is now that it has ended. One without a word is no turn:
        the reply stays whose place it was to take, or the message is not answered."""
        if reply.is_empty:
            if self._instead is not None:
                self._conversation.choose(self._instead)
                self.keep()
            await self.show_branch()
            return
        self._renew(reply)
        if view := self.view_of(reply):
            view.complete()

    def _renew(self, node: ChatMessage) -> None:
        """Update the notes beside a message."""
        entry = entry_of(self._conversation, node)
        self.transcript.renew(entry)
        if view := self.view_of(node):
            view.grow("", entry.thought)
            view.set_note(entry.note)

    @on(facts.GenerationFailed)
    async def return_prompt(self, event: facts.GenerationFailed) -> None:
        """Give the user's message back to the prompt field, unless the model has read
        it."""
        if event.job != self._job or self._reply is None:
            return
        self._show_error(event.error)
        reply = self._conversation.fail(self._reply.id)
        asked = self._conversation.node(reply.parent or 0)
        id_, written = self._written
        if reply.is_empty and asked.id == id_ and self._instead is None:
            self._conversation.withdraw(asked.id)
            self.query_one(PromptField).give_back(written)
        await self._break_off(reply)

    @on(facts.JobDropped)
    async def end_dropped(self, event: facts.JobDropped) -> None:
        if event.job == self._job and self._reply is not None:
            await self._break_off(self._conversation.stop(self._reply.id))

    async def _break_off(self, reply: ChatMessage) -> None:
        self._job, self._reply, self._begin = 0, reply, None
        self.keep()
        if self._info is not None:
            stopped = reply.state == "stopped" and reply.is_empty
            self._status.state = _STOPPED_EMPTY if stopped else "ready"
        self.take_back()
        await self._show_ended(reply)

    def stop_work(self) -> bool:
        """Stop the answer, or take back what was sent before there was a model."""
        if self._job and self._job != self._asked:
            self._given_up = self._job
            self.post_message(facts.JobDropped(self._job))
        elif self._job:
            self.client.stop(self._job)
        return bool(self._job) or self.stop_scoring() or self.take_back()

    def take_back(self) -> bool:
        """Give what waits back to the prompt; whether there was anything."""
        waiting, self._waiting = self._waiting, []
        prompt = self.query_one(PromptField)
        # What was recalled from the list of earlier prompts is there already.
        drafts = [written for _, written in waiting if written != prompt.text]
        if drafts:
            prompt.give_back("\n".join(drafts))
        self._show_waiting()
        return bool(waiting)

    # What waits.

    def wait(self, whole: str, written: str) -> None:
        """Let a message wait for its turn."""
        self._waiting.append((whole, written))
        self._show_waiting()

    def next_waiting(self) -> tuple[str, str]:
        """Take the next message out of the waiting ones."""
        waited = self._waiting.pop(0)
        self._show_waiting()
        return waited

    def take_last_waiting(self, key: str) -> bool:
        """Take the message that waits last back into the prompt at Up, where nothing is
        written; whether the key did that."""
        prompt = self.query_one(PromptField)
        if key != "up" or prompt.text or not self._waiting:
            return False
        _, written = self._waiting.pop()
        self._show_waiting()
        prompt.give_back(written)
        return True

    def _show_waiting(self) -> None:
        """Draw a line for each waiting message."""
        line = self.query_one("#waiting", Static)
        line.display = bool(self._waiting)
        lines = [f"waits · {preview_of(written)}" for _, written in self._waiting]
        hint = "Up in the empty prompt takes the last one back"
        line.update(Content(visible("\n".join([*lines, hint]))))


def _ended(finish: GenerationResult, *, empty: bool) -> str:
    """Return the status line for an ended answer."""
    if finish.reason is FinishReason.CANCELLED:
        return _STOPPED_EMPTY if empty else _STOPPED
    only_ended = finish.reason is FinishReason.STOP and finish.tokens <= 1
    return _NOTHING if only_ended else "ready"
