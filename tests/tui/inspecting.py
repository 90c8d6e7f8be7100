"""The inspector in a running program, as its tests see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from lmtui.analysis.branches import BranchTree
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.token_view import TokenView
from tests.fakes import FakeEngine
from tests.tui.programs import Program, program


class Inspecting:
    """A program whose inspector shows a text."""

    def __init__(self, running: Program, screen: InspectScreen) -> None:
        self.running, self.screen = running, screen
        self.until, self.press = running.until, running.press

    @property
    def state(self) -> str:
        return self.screen.query_one(Status).state

    @property
    def view(self) -> TokenView:
        return self.screen.query_one(TokenView)

    @property
    def panel(self) -> ProbabilityPanel:
        return self.screen.query_one(ProbabilityPanel)

    @property
    def branches(self) -> BranchTree:
        return self.screen.document.scored.branches

    @property
    def text(self) -> str:
        """All tokens that are shown, as text."""
        data = b"".join(token.bytes for token in self.view.tokens)
        return data.decode("utf-8", "replace")

    @property
    def looked(self) -> bool:
        """Whether the engine has answered for the place under the cursor."""
        shown = self.panel.distribution
        return shown is not None and shown.handle >= 0

    async def to(self, place: int) -> None:
        """Put the cursor there, and wait for the engine."""
        self.view.select(place)
        await self.until(lambda: self.view.index == place)
        await self.until(lambda: not self.screen.branches.is_writing and self.looked)

    async def answer(self, letter: str) -> None:
        """Answer the dialog."""
        await self.running.choose(letter)

    async def idle(self) -> None:
        """Wait until nothing is written any more, and the place was looked at."""
        await self.until(lambda: not self.screen.branches.is_writing and self.looked)


@asynccontextmanager
async def inspecting(
    text: str | Callable[[], str],
    engine: FakeEngine | None = None,
    *,
    subject: InspectSource | None = None,
    against: FakeEngine | None = None,
    asked: bool = True,
    **options: Any,
) -> AsyncIterator[Inspecting]:
    """Look into a text, once the model can be asked about it, if ever."""
    read = text if callable(text) else lambda: text
    subject = subject or InspectSource("notes.txt", read=read)
    engine = engine or FakeEngine(name="default")

    def open_model(name: str) -> Any:
        return lambda _: (engine, against) if against else engine

    options |= {"open_model": open_model, "source": subject}
    async with program(first="inspect", **options) as running:
        screen = await running.on(InspectScreen)
        page = Inspecting(running, screen)
        await running.ready()
        await running.until(
            lambda: (
                not asked
                or (not screen.document.why_not and not screen.document.is_scoring)
            )
        )
        yield page
