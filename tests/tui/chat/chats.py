"""The chat over a scripted engine, as it is used and as a person sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.token_view import TokenView
from tests.fakes import FakeEngine
from tests.tui.programs import Program, program


class Chat(Program):
    """A program that shows its chat."""

    @property
    def conversation(self) -> Conversation:
        return self.chat.session.conversation

    @property
    def leaf(self) -> ChatMessage:
        """The last message of the branch."""
        return self.conversation.leaf

    @property
    def texts(self) -> list[str]:
        """The messages as the transcript shows them."""
        return [view.text for view in self.views]

    @property
    def state(self) -> str:
        return self.chat.query_one(Status).state

    @property
    def panel(self) -> ProbabilityPanel:
        return self.chat.panel

    @property
    def strip(self) -> LikelihoodStrip:
        return self.chat.view.strip

    @property
    def tokens(self) -> TokenView:
        return self.chat.tokens.view

    @property
    def prompt(self) -> PromptField:
        return self.chat.prompt

    async def type(self, text: str) -> None:
        """Write into the prompt."""
        self.prompt.insert(text)
        await self.pilot.pause()

    async def idle(self) -> None:
        """Wait until nothing is sent or answered any more."""
        await self.until(lambda: not self.chat.session.is_busy)

    async def answered(self, *texts: str) -> None:
        """Wait until the conversation reads like this, and nothing is made."""
        await self.until(
            lambda: (
                self.texts == list(texts)
                and self.state == "ready"
                and not self.chat.session.is_busy
            )
        )

    async def say(self, text: str) -> None:
        """Send a message, and wait for the end of its answer."""
        count = len(self.views)
        await self.ask(text)
        await self.until(
            lambda: (
                len(self.views) == count + 2
                and self.state == "ready"
                and not self.chat.session.is_busy
            )
        )

    async def on_message(self, index: int, *keys: str) -> None:
        """Press keys on a message."""
        self.views[index].focus()
        await self.press(*keys)


@asynccontextmanager
async def chat(
    *answers: Any,
    engine: FakeEngine | None = None,
    asked: str = "",
    ready: bool = True,
    **options: Any,
) -> AsyncIterator[Chat]:
    """A chat over an engine, or over one that gives these answers, whose first message
    was answered where one is `asked`; `ready` is to wait for the model."""
    used = engine or FakeEngine(answers or ["one two three"], name="default")
    if "open_model" not in options and "engines" not in options:
        options["engines"] = {"default": used}
    async with program(first="chat", **options) as begun:
        running = Chat(begun.app, begun.pilot)
        if ready:
            await running.until(lambda: running.state == "ready")
        if asked:
            await running.say(asked)
        yield running
