"""Generation of answers in the chat: one, or several to choose from.

They begin, grow token by token and end together; one can be continued. Further messages
wait.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from lmtui.chat.excerpts import preview_of
from lmtui.chat.message import ChatMessage
from lmtui.chat.thinking import ReasoningInfo, ReasoningTracker, thought_of
from lmtui.engine.rows import RowItem
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.tui.chat.draft import DraftController, last_with_candidates
from lmtui.tui.chat.session import Sent
from lmtui.tui.chat.tokens import TokensController
from lmtui.tui.chat.version_view import VersionsView
from lmtui.tui.chat.view import VERSIONS, ChatView
from lmtui.tui.controller import Controller
from lmtui.tui.engine.batches import generation_batch
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.screen import READING
from lmtui.tui.widgets.plain_text import PlainText
from lmtui.tui.widgets.probability_panel import AS_DRAWN
from lmtui.worker.generation import run_replies
from lmtui.worker.requests import Slot

GenerationInput = Sequence[ChatTurn] | Prompt

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


@dataclass
class Row:
    """One of the answers that grow together."""

    message: ChatMessage
    thinking: ReasoningTracker | None = None
    waited: float | None = None
    """Seconds from sending to its first token."""
    result: GenerationResult | None = None


class ReplyController(Controller):
    """Has messages answered, and holds those that wait for their turn. Of several
    answers to one message, which are versions of each other, one is chosen."""

    def __init__(
        self,
        client: EngineClient,
        view: ChatView,
        draft: DraftController,
        tokens: TokensController,
    ) -> None:
        self._client, self._draft, self._tokens = client, draft, tokens
        self._screen, self._activity = view.screen, view.screen.activity
        self._session, self._view = view.session, view
        self._chat_model, self._sampler = view.chat_model, view.screen.sampler
        self._prompt, self._strip = view.prompt, view.strip
        self.queue_view = PlainText(id="waiting")
        self.versions = VersionsView(id="versions")
        self.rows: list[Row] = []
        self._replaced_id: int | None = None  # the reply that they are versions of
        self._stopped_early = False  # stopped before the engine was asked
        self._answer_count = 0  # how often answers were begun
        self._status = ""  # how far they are
        self._last_sent = 0, Sent("")  # the message that was said last, by its id

    @property
    def status_text(self) -> str:
        return self._status if self._session.is_answering else ""

    @property
    def shows_versions(self) -> bool:
        return self._view.cover == VERSIONS

    def follow_model(self) -> None:
        """Give what waits back to the prompt where there is no model to come."""
        if self.has_model:
            self._strip.reset(info=self.model.info)
        elif self.model.error is not None:
            self.return_queue()

    # Their beginning.

    async def _add_message(self, text: str, entry: Sent) -> None:
        """Add a user message at the end of the branch, and have it answered. A last
        message without an answer is replaced: the model is not given it."""
        self.claim()
        conversation = self._session.conversation
        old_leaf = conversation.path[-1]
        user_message = conversation.say(text)
        self._last_sent = user_message.id, entry
        if user_message.parent == old_leaf.id:
            if old_leaf.state == "growing":  # another program wrote it
                self._view.renew(conversation.node(old_leaf.id))
            await self._view.add(user_message)
        else:
            await self._view.show()
        await self.answer_to(user_message, entry.count)

    async def answer_again(self, leaf: ChatMessage, count: int = 1) -> None:
        """Answer the message at the end of the branch, or that which the reply there
        answers."""
        if leaf.role == "user":
            await self.answer_to(leaf, count)
        elif leaf.parent is not None:
            user_message = self._session.conversation.node(leaf.parent)
            await self.answer_to(user_message, count, instead=leaf)

    async def answer_to(
        self,
        user_message: ChatMessage,
        count: int = 1,
        *,
        instead: ChatMessage | None = None,
    ) -> None:
        """Have a message answered, with `count` versions; `instead` is the reply that
        they are shown in place of."""
        assert self.model.info is not None
        self.claim()
        conversation, settings = self._session.conversation, self._sampler.settings
        if count > 1 and settings.seed is None:  # they count up from the first
            settings = replace(settings, seed=secrets.randbits(32))
        label = self.model.info.label
        self._replaced_id = None if instead is None or instead.is_empty else instead.id
        replies = [
            conversation.reply(user_message.id, model=label, settings=settings)
            for _ in range(count)
        ]
        conversation.choose(replies[0].id)
        if count == 1 and instead is None and self._view.view_of(user_message):
            self._view.renew(user_message)
            await self._view.add(replies[0])
        elif count == 1:
            await self._view.show()
        await self._start(replies, self._chat_model.messages(user_message.id))

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
        self.claim()
        prompt = reply.continuation
        if prompt is not None and self._chat_model.is_in_use(reply.model):
            grows = self._session.conversation.resume(
                reply.id, settings=self._settings_after(reply, is_edited)
            )
            self._replaced_id = replaced_id
            await self._view.show()
            await self._start([grows], prompt, prefill=reply.rest)
            return
        # Another model's ids mean nothing to this one; its words do.
        words = reply.marked(reply.content)
        await self.answer_with_prefill(reply, words, is_edited=is_edited)

    async def answer_with_prefill(
        self, reply: ChatMessage, prefill: str, *, is_edited: bool
    ) -> None:
        assert self.model.info is not None and reply.parent is not None
        self.claim()
        self._replaced_id = None
        grows = self._session.conversation.reply(
            reply.parent,
            model=self.model.info.label,
            settings=self._settings_after(reply, is_edited),
            prefill=prefill,
        )
        await self._view.show()
        messages = self._chat_model.messages(reply.parent)
        await self._start([grows], messages, prefill=prefill)

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
            self._status, self.rows = "", []
        self._view.hide_versions()
        self._tokens.close()
        self._draft.cancel()
        self._session.deleted = ()

    async def _start(
        self, replies: Sequence[ChatMessage], prefix: GenerationInput, prefill: str = ""
    ) -> None:
        self.rows = list(map(Row, replies))
        self._chat_model.update()
        self._set_status("reading the prompt")
        panel = self._screen.panel
        if panel.distribution is None:
            panel.clear(READING)
        panel.outdate()
        self._strip.reset(info=self.model.info, before=replies[0].steps)
        if len(replies) > 1:
            await self.versions.begin(len(replies))
            self._view.show_instead(VERSIONS)
            self.versions.focus()
            self._show_numbers()
        generate = partial(self._generate, self._answer_count, prefix, prefill)
        self._session.save_first(generate)

    def _set_status(self, status: str) -> None:
        self._status = status
        self._activity.clear_notice()

    def _generate(self, number: int, prefix: GenerationInput, prefill: str) -> None:
        """Ask the engine: the user's message is on the disk."""
        if not self._session.is_answering or self._answer_count != number:
            return
        if self._stopped_early or not self.has_model:  # another model is on its way
            self._screen.call_later(self._end_dropped)
            return
        settings = [row.message.settings for row in self.rows if row.message.settings]
        drop_oldest = self._session.options.drop_oldest
        thinking = self._session.thinking
        self._client.ask(
            Slot.GENERATE,
            lambda engine, context: run_replies(
                engine,
                context,
                prefix,
                settings,
                prefill=prefill,
                drop_oldest=drop_oldest,
                thinking=thinking,
            ),
            lambda _: self._end_dropped(),
            self._fail,
            dropped=self._end_dropped,
            batch=generation_batch(
                self.show_items, self._set_prompt, self._show_reading
            ),
        )

    # Their growth.

    def _set_prompt(self, prompt: Prompt, left_out: int) -> None:
        for row in self.rows:
            row.message = self._session.conversation.lay_out(
                row.message.id, prompt, left_out=left_out
            )
            row.thinking = ReasoningTracker(row.message)
        self._strip.read(len(prompt.ids))

    def _show_reading(self, done: int, total: int) -> None:
        self._set_status(f"reading the prompt {done:,}/{total:,}")

    def show_items(self, items: Sequence[RowItem]) -> None:
        for index, row in enumerate(self.rows):
            own = [item for at, item in items if at == index]
            if steps := tuple(item for item in own if isinstance(item, Step)):
                self._grow(index, row, steps)
            for item in own:
                if not isinstance(item, Step):
                    self._finish(index, row, item)
        self._session.save()
        if self.has_model:  # else another model is loading by now
            all_ = " all" if len(self.rows) > 1 else ""
            waiting = len(self._session.waiting)
            queue_note = f" · {waiting} waiting" if waiting else ""
            self._set_status(f"answering; Esc stops{all_}{queue_note}")
        self._show_numbers()

    def _grow(self, index: int, row: Row, steps: tuple[Step, ...]) -> None:
        row.message = self._session.conversation.grow(row.message.id, steps)
        thought = row.thinking.grow(row.message, steps) if row.thinking else None
        if len(self.rows) == 1:
            self._strip.extend(steps)
            row.waited = self._strip.first_token_seconds
            if self.has_model:
                self._screen.panel.title = "Next token"
                self._show_last(steps)
        elif row.waited is None:
            row.waited = self._strip.seconds
        self._draw(index, row, "".join(step.piece for step in steps), thought)

    def _draw(
        self, index: int, row: Row, piece: str, thought: ReasoningInfo | None
    ) -> None:
        if len(self.rows) > 1:
            self.versions.grow(index, piece, thought)
        elif view := self._view.view_of(row.message):
            view.grow(piece, thought)

    def _show_last(self, steps: tuple[Step, ...]) -> None:
        """Show the distribution of the last token that has one; a server may tell
        none."""
        panel = self._screen.panel
        if (step := last_with_candidates(steps)) is not None:
            panel.show(step.distribution, chosen=step, drawn=AS_DRAWN)
        elif panel.distribution is None or panel.stale:
            panel.clear(NO_NUMBERS)

    def _show_numbers(self) -> None:
        if len(self.rows) > 1:
            versions = [row.message for row in self.rows]
            self.versions.show_numbers(
                versions, together=self.model.capabilities.batches
            )

    # Their end.

    def _finish(self, index: int, row: Row, end: GenerationResult | LmtuiError) -> None:
        conversation = self._session.conversation
        if isinstance(end, LmtuiError):
            row.message = conversation.break_off(row.message.id, "failed")
            self._screen.show_error(end)
            return
        if len(self.rows) == 1:
            self._strip.finish(end)
            row.waited = self._strip.first_token_seconds
        if row.waited is not None:
            end = replace(end, first_token_seconds=row.waited)  # as the user did
        row.message, row.result = conversation.finish(row.message.id, end), end
        self._draw(index, row, end.piece, thought_of(row.message))
        if self.has_model and not row.message.steps:
            self._screen.panel.clear(NO_TOKEN)

    async def _fail(self, error: LmtuiError) -> None:
        """Break all off. The prompt gets the user's message back, unless the model has
        read it."""
        conversation, first = self._session.conversation, self.rows[0].message
        self._screen.show_error(self._with_remedies(error, first))
        for row in self.rows:
            if row.message.state == "growing":
                row.message = conversation.break_off(row.message.id, "failed")
                if self._replaced_id is not None and not row.message.steps:
                    row.message = conversation.delete(row.message.id)
        if self._replaced_id is None and not self._with_text():
            self._requeue(first.parent or 0)
        await self._end()

    def _with_remedies(self, error: LmtuiError, reply: ChatMessage) -> LmtuiError:
        """Return the error of a reply; where the conversation has filled the context,
        with what can be done about that in the chat."""
        turns = self._session.conversation.trail(reply.id)
        questions = sum(1 for turn in turns if turn.role == "user")
        prompt_len = len(reply.prompt.ids) if reply.prompt else 0
        context = self.model.info.context if self.model.info else 0
        has_room = not context or prompt_len < context
        if has_room or questions < 2 or self._session.options.drop_oldest:
            return error
        return LmtuiError(error.title, error.detail, _WHEN_FULL)

    def _requeue(self, id_: int) -> None:
        """Have the message that was said last wait again, if it has this id."""
        last_id, entry = self._last_sent
        if id_ == last_id:
            conversation = self._session.conversation
            conversation.end_at(conversation.delete(id_).parent or 0)
            self._session.sent.insert(0, entry)  # it was sent first

    async def _end_dropped(self) -> None:
        """Stop what grows no more."""
        if not self._session.is_answering or not self.rows:
            return
        conversation = self._session.conversation
        for row in self.rows:
            if row.message.state == "growing":
                row.message = conversation.break_off(row.message.id, "stopped")
        await self._end()

    def _with_text(self) -> list[int]:
        """Return the indexes of the answers that have a text, and are kept."""
        messages = enumerate(row.message for row in self.rows)
        return [i for i, node in messages if not (node.is_empty or node.gone)]

    async def _end(self) -> None:
        """Show the answers as they are now that all have ended. Where none has a text,
        the version that they were to replace is shown again, or the message stays
        unanswered."""
        conversation, kept = self._session.conversation, self._with_text()
        self._session.is_answering = False
        self._activity.notice(self._end_notice() if self.has_model else "")
        if not kept and self._replaced_id is not None:
            conversation.choose(self._replaced_id)
        elif kept and len(self.rows) > 1:
            self._offer(kept)
        self._session.save()
        if kept and len(self.rows) == 1:
            reply = self.rows[0].message
            self._view.renew(reply)
            if view := self._view.view_of(reply):
                view.complete()
            self._draft.follow_focus()
        else:
            self._chat_model.update()
            await self._view.show()
            if not kept:
                self._view.hide_versions()
        states = {row.message.state for row in self.rows}
        if "stopped" in states or "whole" not in states:
            self.return_queue()
        elif not self.shows_versions:
            await self.send_next()

    def _end_notice(self) -> str:
        row = self.rows[0]
        if len(self.rows) > 1 and self._with_text():
            return ""
        if row.result is not None:
            return _end_notice(row.result, empty=row.message.is_empty)
        was_stopped = row.message.state == "stopped" and row.message.is_empty
        return _STOPPED_EMPTY if was_stopped else ""

    def stop(self) -> bool:
        if self._session.is_answering and not self._client.stop(Slot.GENERATE):
            self._stopped_early = True
            self._screen.call_later(self._end_dropped)
        return self._session.is_answering

    # The choice among several.

    def _offer(self, kept: Sequence[int]) -> None:
        """Have the user choose one of the answers with a text."""
        self.versions.complete()
        self._show_numbers()
        if self.versions.marked not in kept:
            self.versions.mark(kept[0])
        self._choose_marked()

    def _choose_marked(self) -> None:
        node = self.rows[self.versions.marked].message
        self._session.conversation.choose(node.id)
        self._draft.show_numbers(node)

    async def show_marked(self) -> None:
        """Put the version that was marked on the branch, once all have ended."""
        if self.shows_versions and not self._session.is_answering:
            self._choose_marked()
            self._session.save()
            await self._view.show()

    async def accept_marked(self) -> None:
        if self._session.is_answering:
            self._activity.notice("not all have ended yet; Esc stops all")
            return
        self._view.hide_versions()
        await self.send_next()

    # What waits.

    def give_back(self, entries: Sequence[Sent]) -> bool:
        """Give what was sent back to the prompt; return whether there was any."""
        for entry in entries:
            self._session.sent.remove(entry)
        drafts = [entry.written for entry in entries if entry.written]
        # What was recalled from the list of earlier prompts is there already.
        if (recalled := self._prompt.own_draft) in drafts:
            del drafts[-1 - drafts[::-1].index(recalled)]
        if drafts:
            self._prompt.give_back("\n".join(drafts))
        self._show_queue()
        return bool(entries)

    def return_queue(self) -> bool:
        return self.give_back(self._session.waiting)

    async def send_next(self) -> None:
        """Add the message that was sent first, unless it has to wait."""
        sent = self._session.sent
        message = sent[0].message if sent else None
        if message is None or not self.has_model or self._session.is_answering:
            self._show_queue()
            return
        entry = sent.pop(0)
        self._show_queue()
        await self._add_message(message, entry)

    def recall_last_queued(self, key: str) -> bool:
        """Take the message that waits last back into the prompt at Up, where nothing is
        written; return whether the key did that."""
        if key != "up" or self._prompt.text:
            return False
        return self.give_back(self._session.waiting[-1:])

    def _show_queue(self) -> None:
        waiting = self._session.waiting
        self.queue_view.display = bool(waiting)
        lines = [f"waits · {preview_of(entry.written)}" for entry in waiting]
        hint = "Up in the empty prompt takes the last one back"
        self.queue_view.update("\n".join([*lines, hint]))


def _end_notice(result: GenerationResult, *, empty: bool) -> str:
    if result.reason is FinishReason.CANCELLED:
        return _STOPPED_EMPTY if empty else _STOPPED
    if result.reason is FinishReason.BLOCKED:
        return f"{result.reason.words} · Ctrl+R again"
    if result.notice:
        return result.notice
    if count := len(result.taken_back):
        passages = "a banned phrase" if count == 1 else f"{count} banned phrases"
        return f"took back {passages} · [ and ] show them"
    tokens_unknown = not result.tokens and result.first_token_seconds is not None
    stopped = result.reason is FinishReason.STOP
    only_ended = stopped and result.tokens <= 1 and not tokens_unknown
    return _NOTHING if only_ended else ""
