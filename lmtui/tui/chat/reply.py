"""Generation of answers in the chat, one at a time.

An answer begins, grows token by token, ends and can be continued; further messages
wait. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from textual.content import Content
from textual.widgets import Static

from lmtui.chat.excerpts import preview_of
from lmtui.chat.message import ChatMessage
from lmtui.chat.thinking import ReasoningTracker, thought_of
from lmtui.engine.types import (
    ChatTurn,
    EngineInfo,
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.text import visible, visible_line
from lmtui.tui.chat.draft import DraftController
from lmtui.tui.chat.parts import ChatParts
from lmtui.tui.chat.tokens import TokensController
from lmtui.tui.controller import Controller
from lmtui.tui.engine.batches import generation_batch
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.model_state import ModelState
from lmtui.tui.screen import READING
from lmtui.tui.widgets.probability_panel import AS_DRAWN
from lmtui.worker.generation import run_generation
from lmtui.worker.requests import Slot

Begin = Sequence[ChatTurn] | Prompt
AnswerTo = Callable[[ChatMessage], Awaitable[None]]
"""Has a message at the end of the branch answered."""

# Short enough for the model and its precision beside it, at 80 columns.
_STOPPED = "stopped · Ctrl+G more, Ctrl+R again"
_STOPPED_EMPTY = "stopped before the first word · Ctrl+R again"
_NOTHING = "nothing to add · Ctrl+R again"
NO_TOKEN = "No token was generated."
REREAD = (
    "This model's chat template changes earlier answers, or what stands before them:"
    " they are read as other tokens than were generated."
)
_WHEN_FULL = (
    "/undo takes back the last turn, /fork goes on from an earlier message in a new"
    ' conversation, and when_full = "drop" (F10) leaves out the oldest turns.'
)
NO_NUMBERS = "The server sends the words of this answer without probabilities."


class ReplyController(Controller):
    """Has messages answered, and holds those that wait for their turn."""

    def __init__(
        self,
        client: EngineClient,
        parts: ChatParts,
        draft: DraftController,
        tokens: TokensController,
    ) -> None:
        self._client, self._draft, self._tokens = client, draft, tokens
        self._screen, self._activity = parts.screen, parts.screen.activity
        self._session, self._branch = parts.session, parts.branch
        self._owner, self._sampler = parts.owner, parts.screen.sampler
        self._prompt, self._strip = parts.prompt, parts.strip
        self.waiting = Static(id="waiting", markup=False)
        """The lines of the messages that wait."""
        self._info: EngineInfo | None = None
        self.why_no_prefill = ""
        """Why the model can't go on with the beginning of an answer; "" if it can."""
        self.message: ChatMessage | None = None
        self._instead: int | None = None  # the reply that it is another version of
        self._thinking: ReasoningTracker | None = None  # of the reply
        self._begin: tuple[Begin, str] | None = None  # until the messages are stored
        self._given_up = False  # stopped before the engine was asked
        self._answers = 0  # how many were begun
        self._words = ""  # how far the answer is
        self._told_reread = False  # that the model does not read what it generated
        # Sent before there was a model or room: what it says, and how it was written.
        self._queue: list[tuple[str, str]] = []
        self._written: tuple[int, str] = (0, "")  # of the message that was said last

    @property
    def has_model(self) -> bool:
        """Whether there is a model that can answer."""
        return self._info is not None

    @property
    def doing(self) -> str:
        """Reading the prompt, or answering."""
        return self._words if self._session.is_answering else ""

    def follow_model(self, state: ModelState) -> None:
        """Give what waits back to the prompt where there is no model to come."""
        if self._info != state.info:
            self._told_reread = False
        self._info = state.info
        edits = state.capabilities.edits
        self.why_no_prefill = "" if edits else state.capabilities.why_not
        if state.info is not None:
            self._strip.reset(info=state.info)
        elif state.error is not None:
            self.take_back()

    # Its beginning.

    async def say(
        self,
        text: str,
        written: str,
        *,
        stopped: bool = False,
        answer: AnswerTo | None = None,
    ) -> None:
        """Add a user message at the end of the branch, and have it answered, by
        `answer` or with one reply, unless it was stopped. A last message without an
        answer is replaced: the model is not given it."""
        if not stopped:
            self.claim()
        conversation = self._session.conversation
        end = conversation.path[-1]
        asked = conversation.say(text)
        self._written = asked.id, written
        if asked.parent == end.id:
            if end.state == "growing":  # another program wrote it
                self._branch.renew(conversation.node(end.id))
            await self._branch.add(asked)
        else:
            await self._branch.show()
        if stopped:
            self._session.save()
            self._activity.say(_STOPPED_EMPTY)
        else:
            await (answer or self.answer_to)(asked)

    async def answer_to(self, asked: ChatMessage) -> None:
        """Have a message at the end of the branch answered."""
        assert self._info is not None
        self.claim()
        self._instead = None
        self.message = self._session.conversation.reply(
            asked.id, model=self._info.label, settings=self._sampler.settings
        )
        if self._branch.view_of(asked) is None:
            await self._branch.show()
        else:
            self._branch.renew(asked)
            await self._branch.add(self.message)
        self._start(self._owner.messages(asked.id))

    async def another_answer(self, reply: ChatMessage) -> None:
        """Answer again in place of a reply."""
        assert self._info is not None and reply.parent is not None
        self.claim()
        self._instead = None if reply.is_empty else reply.id
        self.message = self._session.conversation.regenerate(
            reply.id, model=self._info.label, settings=self._sampler.settings
        )
        await self._branch.show()
        self._start(self._owner.messages(reply.parent))

    async def go_on_with(self, reply: ChatMessage) -> None:
        """Let a reply go on from exactly where its text ends."""
        assert self._info is not None and reply.parent is not None
        self.claim()
        prompt, self._instead = reply.continuation, None
        if prompt is not None and self._owner.is_in_use(reply.model):
            self.message = self._session.conversation.resume(
                reply.id, settings=self._sampler.settings
            )
            await self._branch.show()
            self._start(prompt, prefill=reply.rest)
            return
        # Another model's ids mean nothing to this one; its words do.
        await self.answer_beginning(reply, reply.marked(reply.content))

    async def answer_beginning(self, reply: ChatMessage, words: str) -> None:
        """Answer in place of a reply, with an answer that begins with these words."""
        assert self._info is not None and reply.parent is not None
        self.claim()
        self.message = self._session.conversation.reply(
            reply.parent,
            model=self._info.label,
            settings=self._sampler.settings,
            prefill=words,
        )
        await self._branch.show()
        messages = self._owner.messages(reply.parent)
        self._start(messages, prefill=words)

    def claim(self) -> None:
        """Mark an answer as begun, and make way for it: from here on it can be
        stopped."""
        if not self._session.is_answering:
            self._session.is_answering, self._given_up = True, False
            self._answers += 1
            self._words = ""
        self._branch.hide_versions()
        self._tokens.close()
        self._draft.cancel()
        self._session.deleted = ()

    def _start(self, begin: Begin, prefill: str = "") -> None:
        self._begin = begin, prefill
        self._tell("reading the prompt")
        panel = self._screen.panel
        if panel.distribution is None:
            panel.clear(READING)
        panel.outdate()
        before = self.message.steps if self.message else ()
        self._strip.reset(info=self._info, before=before)
        answer = self._answers

        def generate() -> None:
            if self._session.is_answering and self._answers == answer:
                self._generate()

        self._session.save_first(generate)

    def _tell(self, words: str) -> None:
        self._words = words
        self._activity.unsay()

    def _generate(self) -> None:
        """Start the generation: the user's message is on the disk."""
        if self._begin is None or self._given_up:
            return
        assert self.message is not None and self.message.settings is not None
        (begin, prefill), self._begin = self._begin, None
        if self._info is None:  # another model is on its way
            self._screen.call_later(self.end_dropped)
            return
        settings, thinking = self.message.settings, self._session.thinking
        drop_oldest = self._session.options.drop_oldest
        self._client.ask(
            Slot.GENERATE,
            lambda engine, context: run_generation(
                engine,
                context,
                begin,
                settings,
                prefill=prefill,
                drop_oldest=drop_oldest,
                thinking=thinking,
            ),
            self._end,
            self._return_prompt,
            dropped=self.end_dropped,
            batch=generation_batch(
                self.show_steps, self._keep_prompt, self._show_reading
            ),
            bound=isinstance(begin, Prompt),
        )

    # Its growth.

    def _keep_prompt(self, prompt: Prompt, left_out: int) -> None:
        """Keep the prompt: a continuation goes on from its ids."""
        assert self.message is not None
        self.message = self._session.conversation.lay_out(
            self.message.id, prompt, left_out=left_out
        )
        self._thinking = ReasoningTracker(self.message)
        self._strip.read(len(prompt.ids))
        if prompt.reread and not self._told_reread:
            self._told_reread = True
            self._screen.notify(REREAD)

    def _show_reading(self, done: int, total: int) -> None:
        self._tell(f"reading the prompt {done:,}/{total:,}")

    def show_steps(self, steps: tuple[Step, ...]) -> None:
        assert self.message is not None
        self.message = self._session.conversation.grow(self.message.id, steps)
        thought = self._thinking.grow(self.message, steps) if self._thinking else None
        self._session.save()
        self._strip.extend(steps)
        if self._info is not None:  # else another model is loading by now
            waits = f" · {len(self._queue)} waiting" if self._queue else ""
            self._tell(f"answering; Esc stops{waits}")
            self._screen.panel.title = "Next token"
            self._show_last(steps)
        if view := self._branch.view_of(self.message):
            view.grow("".join(step.piece for step in steps), thought)

    def _show_last(self, steps: tuple[Step, ...]) -> None:
        """Show the distribution of the last token that has one; a server may tell
        none."""
        panel = self._screen.panel
        drawn = [step for step in steps if step.distribution.candidates]
        if drawn:
            panel.show(drawn[-1].distribution, chosen=drawn[-1], drawn=AS_DRAWN)
        elif panel.distribution is None or panel.stale:
            panel.clear(NO_NUMBERS)

    # Its end.

    async def _end(self, result: GenerationResult) -> None:
        assert self.message is not None
        self._session.is_answering = False
        self._strip.finish(result)
        if (waited := self._strip.first_token_seconds) is not None:
            result = replace(result, first_token_seconds=waited)  # as the user did
        self.message = self._session.conversation.finish(self.message.id, result)
        self._session.save()
        if self._info is not None:
            self._say_ended(_ended(result, empty=self.message.is_empty))
            if not self.message.steps:
                self._screen.panel.clear(NO_TOKEN)
        if view := self._branch.view_of(self.message):
            view.grow(result.piece, thought_of(self.message))
        await self._show_ended(self.message)
        if result.reason is FinishReason.CANCELLED:
            self.take_back()
        elif self._queue and self._info is not None:
            await self.say(*self.next_waiting())

    def _say_ended(self, words: str) -> None:
        if words:
            self._activity.say(words)
        else:
            self._activity.unsay()

    async def _show_ended(self, reply: ChatMessage) -> None:
        """Show a reply as it is now that it has ended. An empty reply is not kept on
        the branch: the version that it was to replace is shown again, or the message
        stays unanswered."""
        if reply.is_empty:
            if self._instead is not None:
                self._session.conversation.choose(self._instead)
                self._session.save()
            await self._branch.show()
            return
        self._branch.renew(reply)
        if view := self._branch.view_of(reply):
            view.complete()
        self._draft.follow_focus()

    async def _return_prompt(self, error: LmtuiError) -> None:
        """Give the user's message back to the prompt field, unless the model has read
        it."""
        assert self.message is not None
        self._screen.show_error(self.with_remedies(error, self.message))
        reply = self._session.conversation.fail(self.message.id)
        if reply.is_empty and self._instead is None:
            self.withdraw(reply.parent or 0)
        await self._break_off(reply)

    def with_remedies(self, error: LmtuiError, reply: ChatMessage) -> LmtuiError:
        """Return the error of a reply; where the conversation has filled the context,
        with what can be done about that in the chat."""
        turns = self._session.conversation.trail(reply.id)
        said = sum(1 for turn in turns if turn.role == "user")
        read = len(reply.prompt.ids) if reply.prompt else 0
        context = self._info.context if self._info else 0
        has_room = not context or read < context
        if has_room or said < 2 or self._session.options.drop_oldest:
            return error
        return LmtuiError(error.title, error.detail, _WHEN_FULL)

    def withdraw(self, asked: int) -> None:
        """Have the message that was said last wait again, if it has this id."""
        id_, written = self._written
        if asked == id_:
            conversation = self._session.conversation
            content = conversation.withdraw(asked).content
            self._queue.insert(0, (content, written))  # it was sent first

    async def end_dropped(self) -> None:
        if self._session.is_answering and self.message is not None:
            await self._break_off(self._session.conversation.stop(self.message.id))

    async def _break_off(self, reply: ChatMessage) -> None:
        self._session.is_answering = False
        self.message, self._begin = reply, None
        self._session.save()
        if self._info is not None:
            stopped = reply.state == "stopped" and reply.is_empty
            self._say_ended(_STOPPED_EMPTY if stopped else "")
        self.take_back()
        await self._show_ended(reply)

    def stop(self) -> bool:
        """Stop the answer."""
        if self._session.is_answering and not self._client.stop(Slot.GENERATE):
            self._given_up = True
            self._screen.call_later(self.end_dropped)
        return self._session.is_answering

    # What waits.

    def take_back(self) -> bool:
        """Give what waits back to the prompt; return whether there was anything."""
        drafts, waited = [*self.queued], self.is_waited_for
        self._queue = []
        # What was recalled from the list of earlier prompts is there already.
        if (recalled := self._prompt.own_draft) in drafts:
            del drafts[-1 - drafts[::-1].index(recalled)]
        if drafts:
            self._prompt.give_back("\n".join(drafts))
        self._show_waiting()
        return waited

    @property
    def queued(self) -> tuple[str, ...]:
        """The messages that wait for their turn, as they were written."""
        return tuple(written for _, written in self._queue)

    @property
    def is_waited_for(self) -> bool:
        """Whether messages wait for their turn."""
        return bool(self._queue)

    def wait(self, whole: str, written: str) -> None:
        """Let a message wait for its turn."""
        self._queue.append((whole, written))
        self._show_waiting()

    def next_waiting(self) -> tuple[str, str]:
        """Take the next message out of the waiting ones."""
        waited = self._queue.pop(0)
        self._show_waiting()
        return waited

    def take_last_waiting(self, key: str) -> bool:
        """Take the message that waits last back into the prompt at Up, where nothing is
        written; return whether the key did that."""
        if key != "up" or self._prompt.text or not self._queue:
            return False
        _, written = self._queue.pop()
        self._show_waiting()
        self._prompt.give_back(written)
        return True

    def _show_waiting(self) -> None:
        """Draw a line for each waiting message."""
        self.waiting.display = bool(self._queue)
        lines = [f"waits · {preview_of(written)}" for written in self.queued]
        hint = "Up in the empty prompt takes the last one back"
        self.waiting.update(Content(visible("\n".join([*lines, hint]))))


def _ended(result: GenerationResult, *, empty: bool) -> str:
    """Return what is said about an ended answer; empty for one that simply ended."""
    if result.reason is FinishReason.CANCELLED:
        return _STOPPED_EMPTY if empty else _STOPPED
    if result.reason is FinishReason.BLOCKED:
        return f"{result.reason.words} · Ctrl+R again"
    if result.notice:
        return visible_line(result.notice)
    if count := len(result.taken_back):
        passages = "a banned phrase" if count == 1 else f"{count} banned phrases"
        return f"took back {passages} · [ and ] show them"
    untold = not result.tokens and result.first_token_seconds is not None
    stopped = result.reason is FinishReason.STOP
    only_ended = stopped and result.tokens <= 1 and not untold
    return _NOTHING if only_ended else ""
