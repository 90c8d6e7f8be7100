"""Several versions of an answer at once: drawing them, and choosing one.

Each is a version of the same message, stored while it grows.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from lmtui.chat.message import ChatMessage
from lmtui.chat.thinking import ReasoningTracker, thought_of
from lmtui.engine.rows import RowItem
from lmtui.engine.types import (
    EngineInfo,
    GenerationResult,
    Prompt,
    SamplingSettings,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.chat.branch_view import VERSIONS
from lmtui.tui.chat.commands import CommandRefused
from lmtui.tui.chat.numbers import show_last_token, show_strip
from lmtui.tui.chat.parts import ChatParts
from lmtui.tui.chat.reply import ReplyController
from lmtui.tui.chat.sender import MessageSender
from lmtui.tui.chat.version_view import VersionNumbers, VersionsView
from lmtui.tui.controller import Controller
from lmtui.tui.engine.batches import generation_batch
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.model_state import ModelState
from lmtui.worker.generation import run_versions
from lmtui.worker.requests import Slot

FEWEST, MOST = 2, 8
_EMPTY = "stopped before the first word · Ctrl+R again"


@dataclass
class _Version:
    """One version while it grows."""

    message: ChatMessage
    thinking: ReasoningTracker | None = None
    logprob: float = 0.0
    """Sum over its tokens, in nats."""
    is_scored: bool = True
    """Whether all of them have one."""
    waited: float | None = None
    """Seconds from sending to its first token."""

    @property
    def grows(self) -> bool:
        return self.message.state == "growing"

    def numbers(self, name: str) -> VersionNumbers:
        node = self.message
        is_known = self.is_scored and bool(node.steps)
        logprob = self.logprob if is_known else None
        return VersionNumbers(name, len(node.steps), logprob, _end_label(node))


class VersionsController(Controller):
    """Has a message answered several times, and shows the answers to choose from."""

    def __init__(
        self,
        client: EngineClient,
        parts: ChatParts,
        reply: ReplyController,
        sender: MessageSender,
    ) -> None:
        self._client, self._reply, self._sender = client, reply, sender
        self._screen, self._activity = parts.screen, parts.screen.activity
        self._session, self._branch = parts.session, parts.branch
        self._chat_model, self._sampler = parts.chat_model, parts.screen.sampler
        self._strip = parts.strip
        self.view = VersionsView(id="versions")
        self._info: EngineInfo | None = None
        self._batches = True  # whether the model draws them together
        self._versions: list[_Version] = []
        self._user_message_id = 0  # id of the message that they answer
        self._replaced_id: int | None = None  # the reply that they are versions beside
        self._growing = self._stopped_early = False
        self._status = ""
        self._clock: Callable[[], float] = self._strip.clock
        self._started_at = 0.0

    # State.

    @property
    def is_shown(self) -> bool:
        return self._branch.cover == VERSIONS

    @property
    def status_text(self) -> str:
        return self._status if self._growing else ""

    def follow_model(self, state: ModelState) -> None:
        self._info, self._batches = state.info, state.capabilities.batches

    # Their beginning.

    async def draw(self, argument: str) -> None:
        """Do what follows `/n`: draw so many versions of the answer to a text, or to
        the last message again."""
        number, *rest = argument.split(maxsplit=1)
        if not number.isdecimal() or not FEWEST <= int(number) <= MOST:
            raise CommandRefused(
                f"{visible_line(number)} is no number from {FEWEST} to {MOST}."
            )
        if self._info is None:
            raise CommandRefused("No model is loaded yet.")
        if self._sampler.settings.temperature == 0:
            raise CommandRefused(
                "At temperature 0 all answers are the same; /temp changes it."
            )
        count = int(number)
        if rest:
            answer = partial(self.answer_to, count=count)
            self._sender.send(rest[0], answer=answer, written=f"/n {argument}")
            return
        leaf = self._session.conversation.leaf
        if leaf.role == "system":
            raise CommandRefused(
                f"There is no message yet to answer; try /n {count} TEXT."
            )
        if leaf.role == "user":
            await self.answer_to(leaf, count)
        else:
            assert leaf.parent is not None
            user_message = self._session.conversation.node(leaf.parent)
            await self.answer_to(user_message, count, instead=leaf)

    async def answer_to(
        self,
        user_message: ChatMessage,
        count: int,
        *,
        instead: ChatMessage | None = None,
    ) -> None:
        """Draw versions of the answer to a message; `instead` is the reply that they
        are shown in place of."""
        self._reply.claim()
        conversation, settings = self._session.conversation, self._sampler.settings
        if settings.seed is None:  # each has one, and they count up from the first
            settings = replace(settings, seed=secrets.randbits(32))
        assert self._info is not None
        label = self._info.label
        self._user_message_id = user_message.id
        self._replaced_id = None if instead is None or instead.is_empty else instead.id
        self._versions = [
            _Version(
                conversation.reply(user_message.id, model=label, settings=settings)
            )
            for _ in range(count)
        ]
        conversation.choose(self._versions[0].message.id)
        self._chat_model.update()
        self._growing, self._stopped_early = True, False
        self._started_at = self._clock()
        self._status = "reading the prompt"
        self._activity.clear_notice()
        self._screen.panel.outdate()
        self._strip.reset(info=self._info)
        await self.view.begin(str(number) for number in range(1, count + 1))
        self._branch.show_instead(VERSIONS)
        self.view.focus()
        self._show_numbers()
        first = self._versions[0].message.id
        self._session.save_first(lambda: self._generate(first))

    def _generate(self, first: int) -> None:
        """The user's message is on the disk."""
        if not self._growing or self._versions[0].message.id != first:
            return
        if self._info is None or self._stopped_early:
            self._screen.call_later(self._end_dropped)
            return
        turns = self._chat_model.messages(self._user_message_id)
        settings = [_settings(version.message) for version in self._versions]
        drop_oldest = self._session.options.drop_oldest
        thinking = self._session.thinking
        self._client.ask(
            Slot.GENERATE,
            lambda engine, context: run_versions(
                engine,
                context,
                turns,
                settings,
                drop_oldest=drop_oldest,
                thinking=thinking,
            ),
            lambda _: self._end_all(),
            self._fail,
            dropped=self._end_dropped,
            batch=generation_batch(
                self.show_items, self._set_prompt, self._show_reading
            ),
        )

    # Their growth.

    def _set_prompt(self, prompt: Prompt, left_out: int) -> None:
        conversation = self._session.conversation
        for version in self._versions:
            version.message = conversation.lay_out(
                version.message.id, prompt, left_out=left_out
            )
            version.thinking = ReasoningTracker(version.message)
        self._strip.read(len(prompt.ids))

    def _show_reading(self, done: int, total: int) -> None:
        self._status = f"reading the prompt {done:,}/{total:,}"
        self._activity.clear_notice()

    def show_items(self, items: Sequence[RowItem]) -> None:
        for index, version in enumerate(self._versions):
            own = [item for row, item in items if row == index]
            if steps := tuple(item for item in own if isinstance(item, Step)):
                self._grow(index, version, steps)
            for item in own:
                if not isinstance(item, Step):
                    self._finish(index, version, item)
        self._session.save()
        self._status = "answering; Esc stops all"
        self._activity.clear_notice()
        self._show_numbers()

    def _grow(self, index: int, version: _Version, steps: tuple[Step, ...]) -> None:
        version.message = self._session.conversation.grow(version.message.id, steps)
        thought = (
            version.thinking.grow(version.message, steps) if version.thinking else None
        )
        if version.waited is None:
            version.waited = self._clock() - self._started_at
        for step in steps:
            version.is_scored = version.is_scored and step.logprob is not None
            version.logprob += step.logprob or 0.0
        self.view.grow(index, "".join(step.piece for step in steps), thought)

    def _finish(
        self, index: int, version: _Version, end: GenerationResult | LmtuiError
    ) -> None:
        conversation = self._session.conversation
        if isinstance(end, LmtuiError):
            version.message = conversation.fail(version.message.id)
            self._screen.show_error(end)
        else:
            end = replace(end, first_token_seconds=version.waited)
            version.message = conversation.finish(version.message.id, end)
            self.view.grow(index, end.piece, thought_of(version.message))
        self.view.complete(index)

    def _show_numbers(self) -> None:
        for index, version in enumerate(self._versions):
            self.view.count(index, version.numbers(str(index + 1)))
        count = f"{len(self._versions)} versions"
        order = "together" if self._batches else "one after the other"
        keys = "Esc stops all" if self._growing else "Enter takes the marked one"
        self.view.set_hint(
            (f"{count} {order}", "arrows mark one", keys),
            (count, "arrows mark one", keys),
            (count, keys),
        )

    # Their end.

    async def _end_all(self) -> None:
        for version in self._versions:  # stopped before it had begun
            if version.grows:
                version.message = self._session.conversation.stop(version.message.id)
        await self._close_generation(_EMPTY)

    async def _end_dropped(self) -> None:
        if self._growing:
            await self._end_all()

    async def _fail(self, error: LmtuiError) -> None:
        with_remedies = self._reply.with_remedies(error, self._versions[0].message)
        self._screen.show_error(with_remedies)
        for version in self._versions:
            if version.grows:
                version.message = self._session.conversation.fail(version.message.id)
        empty = all(version.message.is_empty for version in self._versions)
        if empty and self._replaced_id is None:
            self._reply.requeue(self._user_message_id)
        await self._close_generation("")

    async def _close_generation(self, if_empty: str) -> None:
        """Show that all have ended. Where none has a text, what was shown before is
        shown again."""
        self._growing = False
        self._session.is_answering = False
        conversation = self._session.conversation
        versions = enumerate(self._versions)
        with_text = [i for i, version in versions if not version.message.is_empty]
        if not with_text:
            if self._replaced_id is not None:
                conversation.choose(self._replaced_id)
            self._activity.notice(if_empty if self._info is not None else "")
            self._reply.return_queue()
        else:
            self._activity.clear_notice()
            if any(version.message.state == "stopped" for version in self._versions):
                self._reply.return_queue()
            self._show_numbers()
            if self.view.marked not in with_text:
                self.view.mark(with_text[0])
            self._choose()
        self._session.save()
        self._chat_model.update()
        await self._branch.show()
        if not with_text:
            self._branch.hide_versions()

    def stop(self) -> bool:
        if self._growing and not self._client.stop(Slot.GENERATE):
            self._stopped_early = True
            self._screen.call_later(self._end_dropped)
        return self._growing

    # The choice.

    def _choose(self) -> None:
        node = self._versions[self.view.marked].message
        self._session.conversation.choose(node.id)
        show_strip(self._strip, node, self._info)
        show_last_token(self._screen.panel, node)

    async def show_marked(self) -> None:
        """Put the version that was marked on the branch, once all have ended."""
        if self._growing or not self.is_shown:
            return
        self._choose()
        self._session.save()
        await self._branch.show()

    async def accept(self) -> None:
        if self._growing:
            self._activity.notice("not all have ended yet; Esc stops all")
            return
        self._branch.hide_versions()
        await self._reply.send_next()


def _settings(node: ChatMessage) -> SamplingSettings:
    assert node.settings is not None
    return node.settings


def _end_label(node: ChatMessage) -> str:
    if node.state == "growing":
        return "…"
    if node.state == "failed":
        return "broke off"
    return node.finish.reason.words if node.finish else "stopped"
