"""Generation of answers in the chat, one at a time.

An answer begins, grows token by token, ends and can be continued; further messages
wait.
"""

from __future__ import annotations

from bisect import insort
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
    SamplingSettings,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.text import visible, visible_line
from lmtui.tui.chat.draft import DraftController
from lmtui.tui.chat.numbers import last_with_candidates
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

GenerationInput = Sequence[ChatTurn] | Prompt
AnswerTo = Callable[[ChatMessage], Awaitable[None]]
"""Has a message at the end of the branch answered."""

# Short enough for the model and its precision beside it, at 80 columns.
_STOPPED = "stopped · Ctrl+G more, Ctrl+R again"
_STOPPED_EMPTY = "stopped before the first word · Ctrl+R again"
_NOTHING = "nothing to add · Ctrl+R again"
NO_TOKEN = "No token was generated."
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
        self._chat_model, self._sampler = parts.chat_model, parts.screen.sampler
        self._prompt, self._strip = parts.prompt, parts.strip
        self.queue_view = Static(id="waiting", markup=False)
        self._info: EngineInfo | None = None
        self.why_no_prefill = ""
        """Why the model can't go on with the beginning of an answer; "" if it can."""
        self.message: ChatMessage | None = None
        self._replaced_id: int | None = None  # the reply that it is another version of
        self._thinking: ReasoningTracker | None = None  # of the reply
        # Until the messages are stored.
        self._pending_input: tuple[GenerationInput, str] | None = None
        self._stopped_early = False  # stopped before the engine was asked
        self._answer_count = 0  # how many were begun
        self._status = ""  # how far the answer is
        # Sent before there was a model or room, in this order: its number, what it
        # says, and how it was written.
        self._queue: list[tuple[int, str, str]] = []
        self._last_sent: tuple[int, str] = (0, "")  # of the message that was said last

    @property
    def has_model(self) -> bool:
        return self._info is not None

    @property
    def status_text(self) -> str:
        return self._status if self._session.is_answering else ""

    def follow_model(self, state: ModelState) -> None:
        """Give what waits back to the prompt where there is no model to come."""
        self._info = state.info
        edits = state.capabilities.edits
        self.why_no_prefill = "" if edits else state.capabilities.why_not
        if state.info is not None:
            self._strip.reset(info=state.info)
        elif state.error is not None:
            self.return_queue()

    # Its beginning.

    async def add_message(
        self,
        text: str,
        written: str,
        *,
        answer: AnswerTo | None = None,
    ) -> None:
        """Add a user message at the end of the branch, and have it answered, by
        `answer` or with one reply. A last message without an answer is replaced: the
        model is not given it."""
        self.claim()
        conversation = self._session.conversation
        old_leaf = conversation.path[-1]
        user_message = conversation.say(text)
        self._last_sent = user_message.id, written
        if user_message.parent == old_leaf.id:
            if old_leaf.state == "growing":  # another program wrote it
                self._branch.renew(conversation.node(old_leaf.id))
            await self._branch.add(user_message)
        else:
            await self._branch.show()
        await (answer or self.answer_to)(user_message)

    async def answer_to(self, user_message: ChatMessage) -> None:
        assert self._info is not None
        self.claim()
        self._replaced_id = None
        self.message = self._session.conversation.reply(
            user_message.id, model=self._info.label, settings=self._sampler.settings
        )
        if self._branch.view_of(user_message) is None:
            await self._branch.show()
        else:
            self._branch.renew(user_message)
            await self._branch.add(self.message)
        self._start(self._chat_model.messages(user_message.id))

    async def regenerate(self, reply: ChatMessage) -> None:
        assert self._info is not None and reply.parent is not None
        self.claim()
        self._replaced_id = None if reply.is_empty else reply.id
        self.message = self._session.conversation.regenerate(
            reply.id, model=self._info.label, settings=self._sampler.settings
        )
        await self._branch.show()
        self._start(self._chat_model.messages(reply.parent))

    async def continue_reply(
        self,
        reply: ChatMessage,
        *,
        replaced_id: int | None = None,
        is_edited: bool = False,
    ) -> None:
        """Go on with a reply, under the grammar that its beginning follows; one that
        the user has edited, under that of the next answers. Where it replaces another
        one, it is not kept unless the model can go on."""
        assert self._info is not None and reply.parent is not None
        self.claim()
        prompt = reply.continuation
        if prompt is not None and self._chat_model.is_in_use(reply.model):
            self.message = self._session.conversation.resume(
                reply.id, settings=self._settings_after(reply, is_edited)
            )
            self._replaced_id = replaced_id
            await self._branch.show()
            self._start(prompt, prefill=reply.rest)
            return
        # Another model's ids mean nothing to this one; its words do.
        words = reply.marked(reply.content)
        await self.answer_with_prefill(reply, words, is_edited=is_edited)

    async def answer_with_prefill(
        self, reply: ChatMessage, prefill: str, *, is_edited: bool
    ) -> None:
        assert self._info is not None and reply.parent is not None
        self.claim()
        self._replaced_id = None
        self.message = self._session.conversation.reply(
            reply.parent,
            model=self._info.label,
            settings=self._settings_after(reply, is_edited),
            prefill=prefill,
        )
        await self._branch.show()
        messages = self._chat_model.messages(reply.parent)
        self._start(messages, prefill=prefill)

    def _settings_after(self, reply: ChatMessage, is_edited: bool) -> SamplingSettings:
        settings = self._sampler.settings
        grammar = reply.settings.grammar if reply.settings else None
        return settings if is_edited else replace(settings, grammar=grammar)

    def claim(self) -> None:
        """Mark an answer as begun, and make way for it: from here on it can be
        stopped."""
        if not self._session.is_answering:
            self._session.is_answering, self._stopped_early = True, False
            self._answer_count += 1
            self._status = ""
        self._branch.hide_versions()
        self._tokens.close()
        self._draft.cancel()
        self._session.deleted = ()

    def _start(self, prefix: GenerationInput, prefill: str = "") -> None:
        self._pending_input = prefix, prefill
        self._chat_model.update()
        self._set_status("reading the prompt")
        panel = self._screen.panel
        if panel.distribution is None:
            panel.clear(READING)
        panel.outdate()
        old_steps = self.message.steps if self.message else ()
        self._strip.reset(info=self._info, before=old_steps)
        number = self._answer_count

        def generate() -> None:
            if self._session.is_answering and self._answer_count == number:
                self._generate()

        self._session.save_first(generate)

    def _set_status(self, status: str) -> None:
        self._status = status
        self._activity.clear_notice()

    def _generate(self) -> None:
        """The user's message is on the disk."""
        if self._pending_input is None or self._stopped_early:
            return
        assert self.message is not None and self.message.settings is not None
        (prefix, prefill), self._pending_input = self._pending_input, None
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
                prefix,
                settings,
                prefill=prefill,
                drop_oldest=drop_oldest,
                thinking=thinking,
            ),
            self._finish,
            self._return_prompt,
            dropped=self.end_dropped,
            batch=generation_batch(
                self.show_steps, self._set_prompt, self._show_reading
            ),
            bound=isinstance(prefix, Prompt),
        )

    # Its growth.

    def _set_prompt(self, prompt: Prompt, left_out: int) -> None:
        assert self.message is not None
        self.message = self._session.conversation.lay_out(
            self.message.id, prompt, left_out=left_out
        )
        self._thinking = ReasoningTracker(self.message)
        self._strip.read(len(prompt.ids))

    def _show_reading(self, done: int, total: int) -> None:
        self._set_status(f"reading the prompt {done:,}/{total:,}")

    def show_steps(self, steps: tuple[Step, ...]) -> None:
        assert self.message is not None
        self.message = self._session.conversation.grow(self.message.id, steps)
        thought = self._thinking.grow(self.message, steps) if self._thinking else None
        self._session.save()
        self._strip.extend(steps)
        if self._info is not None:  # else another model is loading by now
            queue_note = f" · {len(self._queue)} waiting" if self._queue else ""
            self._set_status(f"answering; Esc stops{queue_note}")
            self._screen.panel.title = "Next token"
            self._show_last(steps)
        if view := self._branch.view_of(self.message):
            view.grow("".join(step.piece for step in steps), thought)

    def _show_last(self, steps: tuple[Step, ...]) -> None:
        """Show the distribution of the last token that has one; a server may tell
        none."""
        panel = self._screen.panel
        if (step := last_with_candidates(steps)) is not None:
            panel.show(step.distribution, chosen=step, drawn=AS_DRAWN)
        elif panel.distribution is None or panel.stale:
            panel.clear(NO_NUMBERS)

    # Its end.

    async def _finish(self, result: GenerationResult) -> None:
        assert self.message is not None
        self._session.is_answering = False
        self._strip.finish(result)
        if (seconds := self._strip.first_token_seconds) is not None:
            result = replace(result, first_token_seconds=seconds)  # as the user did
        self.message = self._session.conversation.finish(self.message.id, result)
        self._session.save()
        if self._info is not None:
            self._activity.notice(_end_notice(result, empty=self.message.is_empty))
            if not self.message.steps:
                self._screen.panel.clear(NO_TOKEN)
        if view := self._branch.view_of(self.message):
            view.grow(result.piece, thought_of(self.message))
        await self._show_ended(self.message)
        if result.reason is FinishReason.CANCELLED:
            self.return_queue()
        else:
            await self.send_next()

    async def _show_ended(self, reply: ChatMessage) -> None:
        """Show a reply as it is now that it has ended. An empty reply is not kept on
        the branch: the version that it was to replace is shown again, or the message
        stays unanswered."""
        if reply.is_empty or reply.gone:
            if self._replaced_id is not None:
                self._session.conversation.choose(self._replaced_id)
                self._session.save()
            self._chat_model.update()
            await self._branch.show()
            return
        self._branch.renew(reply)
        if view := self._branch.view_of(reply):
            view.complete()
        self._draft.follow_focus()

    async def _return_prompt(self, error: LmtuiError) -> None:
        """The prompt gets the user's message back, unless the model has read it."""
        assert self.message is not None
        self._screen.show_error(self.with_remedies(error, self.message))
        reply = self._session.conversation.fail(self.message.id)
        if self._replaced_id is not None and not reply.steps:
            reply = self._session.conversation.delete(reply.id)
        elif reply.is_empty:
            self.requeue(reply.parent or 0)
        await self._break_off(reply)

    def with_remedies(self, error: LmtuiError, reply: ChatMessage) -> LmtuiError:
        """Return the error of a reply; where the conversation has filled the context,
        with what can be done about that in the chat."""
        turns = self._session.conversation.trail(reply.id)
        questions = sum(1 for turn in turns if turn.role == "user")
        prompt_len = len(reply.prompt.ids) if reply.prompt else 0
        context = self._info.context if self._info else 0
        has_room = not context or prompt_len < context
        if has_room or questions < 2 or self._session.options.drop_oldest:
            return error
        return LmtuiError(error.title, error.detail, _WHEN_FULL)

    def requeue(self, id_: int) -> None:
        """Have the message that was said last wait again, if it has this id."""
        last_id, written = self._last_sent
        if id_ == last_id:
            conversation = self._session.conversation
            content = conversation.withdraw(id_).content
            self._queue.insert(0, (0, content, written))  # it was sent first

    async def end_dropped(self) -> None:
        if self._session.is_answering and self.message is not None:
            await self._break_off(self._session.conversation.stop(self.message.id))

    async def _break_off(self, reply: ChatMessage) -> None:
        self._session.is_answering = False
        self.message, self._pending_input = reply, None
        self._session.save()
        if self._info is not None:
            stopped = reply.state == "stopped" and reply.is_empty
            self._activity.notice(_STOPPED_EMPTY if stopped else "")
        self.return_queue()
        await self._show_ended(reply)

    def stop(self) -> bool:
        if self._session.is_answering and not self._client.stop(Slot.GENERATE):
            self._stopped_early = True
            self._screen.call_later(self.end_dropped)
        return self._session.is_answering

    # What waits.

    def return_queue(self, *, after: int = -1) -> bool:
        """Give back to the prompt what waits, of numbers `after` one; return whether
        anything waited."""
        had_queue = self.has_queue
        drafts = [written for number, _, written in self._queue if number > after]
        self._queue = [entry for entry in self._queue if entry[0] <= after]
        # What was recalled from the list of earlier prompts is there already.
        if (recalled := self._prompt.own_draft) in drafts:
            del drafts[-1 - drafts[::-1].index(recalled)]
        if drafts:
            self._prompt.give_back("\n".join(drafts))
        self._show_queue()
        return had_queue

    @property
    def queued(self) -> tuple[str, ...]:
        return tuple(written for *_, written in self._queue)

    @property
    def has_queue(self) -> bool:
        return bool(self._queue)

    def enqueue(self, number: int, message: str, draft: str) -> None:
        insort(self._queue, (number, message, draft))
        self._show_queue()

    def is_free(self, number: int) -> bool:
        """Return whether a message with this number has nothing before it: no model to
        wait for, no answer, and nothing that was sent earlier and is on its way."""
        is_first = all(number < other for other in self._session.on_the_way)
        return bool(self._info and is_first and not self._session.is_answering)

    async def send_next(self) -> None:
        if self._queue and self.is_free(self._queue[0][0]):
            _, message, written = self._queue.pop(0)
            self._show_queue()
            await self.add_message(message, written)

    def recall_last_queued(self, key: str) -> bool:
        """Take the message that waits last back into the prompt at Up, where nothing is
        written; return whether the key did that."""
        if key != "up" or self._prompt.text or not self._queue:
            return False
        *_, written = self._queue.pop()
        self._show_queue()
        self._prompt.give_back(written)
        return True

    def _show_queue(self) -> None:
        self.queue_view.display = bool(self._queue)
        lines = [f"waits · {preview_of(written)}" for written in self.queued]
        hint = "Up in the empty prompt takes the last one back"
        self.queue_view.update(Content(visible("\n".join([*lines, hint]))))


def _end_notice(result: GenerationResult, *, empty: bool) -> str:
    if result.reason is FinishReason.CANCELLED:
        return _STOPPED_EMPTY if empty else _STOPPED
    if result.reason is FinishReason.BLOCKED:
        return f"{result.reason.words} · Ctrl+R again"
    if result.notice:
        return visible_line(result.notice)
    if count := len(result.taken_back):
        passages = "a banned phrase" if count == 1 else f"{count} banned phrases"
        return f"took back {passages} · [ and ] show them"
    tokens_unknown = not result.tokens and result.first_token_seconds is not None
    stopped = result.reason is FinishReason.STOP
    only_ended = stopped and result.tokens <= 1 and not tokens_unknown
    return _NOTHING if only_ended else ""
