"""Asking the model for an answer, and taking it in token by token.

Owns one answer at a time: how it begins, grows, ends and goes on, and the messages that
wait for their turn. The engine is asked through the runner and answers by messages; a
handler here makes every change, and an answer to an older question is dropped. Knows no
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import on

from lmtui.chat.listed import Loaded
from lmtui.chat.node import Node
from lmtui.chat.thoughts import thought_of
from lmtui.engine.types import Finish, FinishReason, Message, Prompt, SamplingSettings
from lmtui.tui import chat_facts as kept
from lmtui.tui import messages as facts
from lmtui.tui.batches import Post
from lmtui.tui.chats import Chats
from lmtui.tui.drafts import as_draft
from lmtui.tui.runner import Runner
from lmtui.tui.screens.drawing import entry_of
from lmtui.tui.screens.live import READING
from lmtui.tui.screens.whose import WhoseScreen
from lmtui.tui.widgets.message_view import MessageView
from lmtui.tui.widgets.prompt import Prompt as PromptField
from lmtui.tui.widgets.transcript import Transcript

Begin = Sequence[Message] | Prompt

# Short enough for the model and its precision beside it, at 80 columns.
_STOPPED = "stopped · Ctrl+G more, Ctrl+R anew"
_NOTHING = "nothing to add · Ctrl+R anew"
NO_TOKEN = "No token was generated."


class AnsweringScreen(WhoseScreen):
    """Has a `Transcript` that grows, and a prompt that what failed goes back to."""

    def __init__(
        self,
        make_runner: Callable[[Post], Runner],
        *,
        sampling: SamplingSettings,
        system: str = "",
        chats: Chats | None = None,
        opened: Loaded | None = None,
    ) -> None:
        super().__init__(
            make_runner, sampling=sampling, system=system, chats=chats, opened=opened
        )
        self._reply: Node | None = None
        self._begin: tuple[Begin, str] | None = None  # until the words are kept
        # Sent before there was a model or room: what it says, and how it was written.
        self._waiting: list[tuple[str, str]] = []
        self._written: tuple[int, str] = (0, "")  # of the message that was said last

    @property
    def transcript(self) -> Transcript:
        """Where the conversation is read."""
        return self.query_one(Transcript)

    def view_of(self, node: Node) -> MessageView | None:
        """A message's view, if it is on the screen."""
        return self.transcript.view(str(node.id))

    # Its beginning.

    async def say(self, text: str, written: str) -> None:
        """Say something at the end of the branch, and have it answered."""
        asked = self._conversation.say(text)
        self._written = asked.id, written
        await self.transcript.add(entry_of(self._conversation, asked))
        await self.answer_to(asked)

    async def answer_to(self, asked: Node) -> None:
        """Have a message at the end of the branch answered."""
        assert self._info is not None
        self._reply = self._conversation.reply(
            asked.id, model=self._info.label, settings=self._settings
        )
        await self.transcript.add(entry_of(self._conversation, self._reply))
        self._start(self._conversation.messages(asked.id))

    async def another_answer(self, reply: Node) -> None:
        """Answer again in place of a reply."""
        assert self._info is not None and reply.parent is not None
        self._reply = self._conversation.regenerate(
            reply.id, model=self._info.label, settings=self._settings
        )
        await self.show_branch()
        self._start(self._conversation.messages(reply.parent))

    async def go_on_with(self, reply: Node) -> None:
        """Let a reply go on from exactly where its text ends."""
        assert self._info is not None and reply.parent is not None
        prompt = reply.continuation
        if prompt is not None and self.written_here(reply.model):
            self._reply = self._conversation.resume(reply.id, settings=self._settings)
            await self.show_branch()
            self._start(prompt, prefill=reply.rest)
            return
        # Another model's ids mean nothing to this one; its words do.
        await self.answer_beginning(reply, reply.content)

    async def answer_beginning(self, reply: Node, words: str) -> None:
        """Answer in place of a reply, beginning with these words."""
        assert self._info is not None and reply.parent is not None
        self._reply = self._conversation.reply(
            reply.parent,
            model=self._info.label,
            settings=self._settings,
            prefill=words,
        )
        await self.show_branch()
        self._start(self._conversation.messages(reply.parent), prefill=words)

    def _start(self, begin: Begin, prefill: str = "") -> None:
        self._job = self.runner.number()
        self._begin = begin, prefill
        self._panel.title = "Next token"
        self._status.state = "reading the prompt"
        if self._panel.distribution is None:
            self._panel.clear(READING)
        self._panel.outdate()
        before = self._reply.steps if self._reply else ()
        self._strip.reset(info=self._info, before=before)
        self.keep_first(self._job)

    @on(kept.ConversationKept)
    def begin_job(self, event: kept.ConversationKept) -> None:
        """The user's words are on the disk: now the model may see them."""
        if event.job != self._job or self._begin is None:
            return
        assert self._reply is not None and self._reply.settings is not None
        (begin, prefill), self._begin = self._begin, None
        if self._info is None:  # another model is on its way
            self.post_message(facts.JobDropped(self._job))
            return
        self.runner.generate(
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
        """The prompt is laid out: its ids are what a continuation goes on from."""
        if event.job != self._job or self._reply is None:
            return
        self._reply = self._conversation.lay_out(
            self._reply.id, event.prompt, left_out=event.left_out
        )
        self._strip.read(len(event.prompt.ids))

    @on(facts.PromptProgressed)
    def show_reading(self, event: facts.PromptProgressed) -> None:
        """Say how much of the prompt is read."""
        if event.job == self._job and self._info is not None:
            self._status.state = f"reading the prompt {event.done:,}/{event.total:,}"

    @on(facts.StepsArrived)
    async def show_steps(self, event: facts.StepsArrived) -> None:
        """The answer grows, and the panel takes its last distribution."""
        if event.job != self._job or self._reply is None:
            return
        self._reply = self._conversation.grow(self._reply.id, event.steps)
        self.keep()
        self._strip.extend(event.steps)
        if self._info is not None:  # else another model is loading by now
            waits = f" · {len(self._waiting)} waiting" if self._waiting else ""
            self._status.state = f"answering; Esc stops{waits}"
            last = event.steps[-1]
            self._panel.show(last.distribution, chosen=last.id)
        if view := self.view_of(self._reply):
            words = "".join(step.piece for step in event.steps)
            view.grow(words, thought_of(self._reply))

    # Its end.

    @on(facts.GenerationFinished)
    async def end_answer(self, event: facts.GenerationFinished) -> None:
        """The answer is whole, or was stopped."""
        if event.job != self._job or self._reply is None:
            return
        self._job = 0
        self._reply = self._conversation.finish(self._reply.id, event.finish)
        self.keep()
        self._strip.finish(event.finish)
        stopped = event.finish.reason is FinishReason.CANCELLED
        if self._info is not None:
            self._status.state = _STOPPED if stopped else _ended(event.finish)
            if not self._reply.steps:
                self._panel.clear(NO_TOKEN)
        if view := self.view_of(self._reply):
            view.grow(event.finish.piece, thought_of(self._reply))
        self._complete(self._reply)
        if stopped:
            self.take_back()
        elif self._waiting and self._info is not None:
            await self.say(*self._waiting.pop(0))

    def _complete(self, reply: Node) -> None:
        """Show a reply as it is now that it has ended."""
        entry = entry_of(self._conversation, reply)
        self.transcript.renew(entry)
        if view := self.view_of(reply):
            view.grow("", entry.thought)
            view.complete()
            view.set_note(entry.note)

    @on(facts.GenerationFailed)
    async def return_prompt(self, event: facts.GenerationFailed) -> None:
        """Nothing is lost: what was written goes back to the prompt."""
        if event.job == self._job and self._reply is not None:
            self._show_error(event.error)
            await self._break_off(self._conversation.fail(self._reply.id))

    @on(facts.JobDropped)
    async def end_dropped(self, event: facts.JobDropped) -> None:
        """It was given up before it began."""
        if event.job == self._job and self._reply is not None:
            await self._break_off(self._conversation.stop(self._reply.id))

    async def _break_off(self, reply: Node) -> None:
        self._job, self._reply, self._begin = 0, reply, None
        self.keep()
        if self._info is not None:
            self._status.state = "ready"
        self.take_back()
        if reply.content:
            self._complete(reply)
            return
        asked = self._conversation.node(reply.parent or 0)
        for node in (reply, asked):
            await self.transcript.take_away(str(node.id))
        id_, written = self._written
        draft = written if asked.id == id_ else as_draft(asked.content)
        self.query_one(PromptField).give_back(draft)

    def stop_work(self) -> bool:
        """Stop the answer, or take back what was sent before there was a model."""
        if self._begin is not None:
            self._begin = None
            self.post_message(facts.JobDropped(self._job))
        elif self._job:
            self.runner.stop(self._job)
        return bool(self._job) or self.take_back()

    def take_back(self) -> bool:
        """Give what waits back to the prompt; whether there was anything."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            drafts = [written for _, written in waiting]
            self.query_one(PromptField).give_back("\n".join(drafts))
        return bool(waiting)


def _ended(finish: Finish) -> str:
    """What is said once an answer has ended: of one that was only ended, that too."""
    only_ended = finish.reason is FinishReason.STOP and finish.tokens <= 1
    return _NOTHING if only_ended else "ready"
