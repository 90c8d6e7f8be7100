"""The whole program over scripted engines, and what a person sees of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from threading import Event
from typing import Any, TypeVar

from textual.containers import ScrollableContainer
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from lmtui.chat.conversation import ChatMessage
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.models.list_rows import ListedModel
from lmtui.models.source import ModelRef
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions, FirstScreen
from lmtui.tui.chat.message import MessageView
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.dialogs import ActionList, ConfirmDialog, ErrorScreen
from tests.fakes import FakeEngine
from tests.tui import hosts

SETTINGS = SamplingSettings(temperature=0, max_tokens=50)
ROWS = (
    ListedModel("default", "135M", "92.9 MB", "yes", "yes", "the default"),
    ListedModel("second", "1.7B", "≈ 3.4 GB", "yes", "", "another one"),
    ListedModel(
        "third", "9.0B", "≈ 18.0 GB", "no", "", "[bold]too \x1b[31m big[/nope]"
    ),
)

S = TypeVar("S", bound=Screen[Any])


class Program:
    """A running program."""

    def __init__(self, app: LmtuiApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    async def until(self, condition: Callable[[], object]) -> None:
        """Let it run until something is seen."""
        try:
            await hosts.until(self.pilot, condition)
        except AssertionError:
            raise AssertionError(f"waited for in vain:\n{self.seen}") from None

    async def on(self, kind: type[S]) -> S:
        """Wait for a screen."""
        await self.until(lambda: isinstance(self.app.screen, kind))
        screen = self.app.screen
        assert isinstance(screen, kind)
        await self.until(lambda: screen.is_mounted and screen.size)
        if isinstance(screen, ErrorScreen):
            await self.until(lambda: "Close" in self.seen)
        return screen

    async def choose(self, answer: str) -> None:
        """Answer a dialog from its list."""
        dialog = await self.on(ConfirmDialog)
        choices = dialog.query_one(ActionList)
        index = choices.get_option_index(f"answer({answer!r})")
        await self.press("home", *["down"] * index, "enter")

    async def press(self, *keys: str) -> None:
        """Press keys and let them be answered."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def ready(self, model: str = "") -> None:
        """Wait for a model."""
        await self.until(
            lambda: (
                self.app.model.info
                and (not model or self.app.model.info.model == model)
            )
        )

    async def ask(self, text: str) -> None:
        """Write and send, in the chat."""
        self.app.screen.query_one(PromptField).insert(text)
        await self.press("enter")

    @property
    def chat(self) -> ChatScreen:
        """The chat, also where another screen is shown."""
        screen = self.app.installed("chat")
        assert isinstance(screen, ChatScreen)
        return screen

    @property
    def views(self) -> list[MessageView]:
        """The messages in the chat."""
        return list(self.chat.query(MessageView))

    @property
    def leaf(self) -> ChatMessage:
        """The last message of the conversation."""
        return self.chat.session.conversation.leaf

    @property
    def last_text(self) -> str:
        """The last message; empty while there is none."""
        return self.views[-1].text if self.views else ""

    @property
    def notices(self) -> str:
        """The notices that are shown, a title and a message on each line."""
        found = self.app._notifications
        return "\n".join(f"{notice.title} {notice.message}" for notice in found)

    @property
    def seen(self) -> str:
        """What stands on the screen."""
        return "\n".join(strip.text.rstrip() for strip in hosts.drawn(self.app.screen))


@asynccontextmanager
async def program(
    engines: Mapping[str, FakeEngine | Exception] | None = None,
    *,
    open_model: Callable[[str], Any] | None = None,
    rows: Sequence[ListedModel] = ROWS,
    size: tuple[int, int] = (120, 40),
    notices: bool = False,
    first: FirstScreen = "start",
    **options: Any,
) -> AsyncIterator[Program]:
    """The program with a model for each name, `model + adapter` for one with an
    adapter; an exception is what loading raises. `notices` are drawn where wanted."""
    known = engines or {"default": FakeEngine(["one two three"], name="default")}

    def opened(name: str) -> Any:
        def load(_: Any) -> FakeEngine:
            found = known[name]
            if isinstance(found, Exception):
                raise found
            return found

        return load

    app = LmtuiApp(
        lambda wanted: (open_model or opened)(name_of(wanted)),
        AppOptions(
            **{"list_models": lambda: rows, **options}, sampling=SETTINGS, first=first
        ),
    )
    async with app.run_test(size=size, notifications=notices) as pilot:
        yield Program(app, pilot)
        app.leave()


@asynccontextmanager
async def chatting(
    engines: Mapping[str, FakeEngine | Exception] | None = None, **options: Any
) -> AsyncIterator[Program]:
    """The same with the chat first, once its model is there."""
    async with program(engines, first="chat", **options) as running:
        await running.ready()
        yield running


def name_of(wanted: ModelRef) -> str:
    """What is wanted as one name."""
    model = wanted.model or "default"
    return f"{model} + {wanted.adapter}" if wanted.adapter else model


def holding(answer: str, *, at: int, name: str = "default") -> tuple[FakeEngine, Event]:
    """An engine that waits for the event before this token of its answers."""
    go_on = Event()

    def hold(index: int) -> None:
        if engine.calls[-1][0] == "generate" and index == at:
            assert go_on.wait(20)

    engine = FakeEngine([answer, answer], on_token=hold, name=name)
    return engine, go_on


def assert_laid_out(screen: Screen[Any]) -> None:
    """No two neighbours lie on each other, and nothing lies outside, but where one can
    scroll to it."""
    for parent in (screen, *screen.query("Vertical, Horizontal")):
        shown = [child for child in parent.children if _is_laid_out(child)]
        for place, child in enumerate(shown):
            inside = screen.region.contains_region(child.region)
            assert inside or _scrolls(child), (child, child.region)
            for other in shown[:place]:
                assert not child.region.overlaps(other.region), (child, other)


def _scrolls(widget: Widget) -> bool:
    return any(isinstance(each, ScrollableContainer) for each in widget.ancestors)


def _is_laid_out(widget: Widget) -> bool:
    floats = widget.styles.overlay == "screen" or widget.styles.dock != "none"
    return bool(widget.display and widget.region and not floats)
