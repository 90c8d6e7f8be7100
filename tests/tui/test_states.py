"""What the screens say while the model loads, reads, scores, is ready, stops and fails.

Status line, panel and tokens are compared at every step: none says what another denies.
What is older than the text beside it is dim.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from textual.widget import Widget

from lmtui import cancellation
from lmtui.editing.text_file import load
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.document.types import (
    CursorPrediction,
    ScoredSpan,
)
from lmtui.engine.types import (
    DraftScores,
    Encoding,
)
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.dialogs import ErrorScreen
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.screen import LOADING
from lmtui.tui.screen import READING as READING_SENTENCE
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import STALE_TITLE, ProbabilityPanel
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.text_totals import TextTotals
from tests.fake_writing import FakeWriter
from tests.tui.programs import Program, program

TEXT = "the cat sat on the mat\n"
READING = READING_SENTENCE.partition(";")[0]  # as much as stands on one line
BROKEN = LmtuiError("it does not fit", "9 tokens", "Shorten it.")


class Slow(FakeWriter):
    """An engine that waits before the verbs that are held, until they are let go on."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, name="default", **options)
        self.held: dict[str, Event] = {}

    def hold(self, *verbs: str) -> None:
        self.held |= {verb: Event() for verb in verbs}

    def let(self, verb: str) -> None:
        self.held.pop(verb).set()

    def wait(self, verb: str) -> None:
        gate = self.held.get(verb)
        for _ in range(400):
            if gate is None or gate.wait(0.05):
                return
            cancellation.check()
        raise AssertionError(f"{verb} was held for too long")

    def predict_at(self, *asked: Any, **how: Any) -> CursorPrediction:
        self.wait("expect")
        return super().predict_at(*asked, **how)

    def score_span(self, *asked: Any, **how: Any) -> Iterator[ScoredSpan]:
        self.wait("heat")
        yield from super().score_span(*asked, **how)

    def score_draft(self, *asked: Any, **how: Any) -> DraftScores:
        self.wait("trace")
        return super().score_draft(*asked, **how)

    def encode(self, *asked: Any, **how: Any) -> Encoding:
        self.wait("encode")
        return super().encode(*asked, **how)

    def score(self, *asked: Any, **how: Any) -> Iterator[Any]:
        self.wait("score")
        yield from super().score(*asked, **how)

    def generate(self, *asked: Any, **how: Any) -> Iterator[Any]:
        for number, item in enumerate(super().generate(*asked, **how)):
            try:
                self.wait(f"token {number}")
            except Cancelled:
                continue  # its own next check ends it
            yield item


class Walk:
    """A program on one screen, and what it says of the model."""

    def __init__(self, running: Program, engine: Slow) -> None:
        self.running, self.engine = running, engine
        self.press = running.press

    @property
    def screen(self) -> Any:
        return self.running.app.screen

    def one(self, kind: type[Widget]) -> Any:
        return self.screen.query_one(kind)

    async def says(self, status: str, *seen: str) -> None:
        """Wait for a status, and find nothing on the screen that denies it."""
        shown = self.one(Status)
        await self.running.until(
            lambda: (
                shown.state.startswith(status)
                and all(words in self.running.seen for words in seen)
            )
        )
        is_loading = LOADING in self.running.seen
        assert is_loading == shown.state.startswith("loading")
        if status == "ready":
            assert READING not in self.running.seen
            assert STALE_TITLE not in self.running.seen

    async def fail_to_load(self) -> None:
        before = self.screen
        self.running.app.load_model(ModelRef("second"))
        await self.running.on(ErrorScreen)
        await self.press("escape")
        await self.running.until(lambda: self.running.app.screen is before)
        await self.says("no model", "it does not fit")


@asynccontextmanager
async def walk(first: Any, engine: Slow, **options: Any) -> AsyncIterator[Walk]:
    """A program whose engine opens once `load` is let go on."""
    engine.hold("load")

    def open_model(name: str) -> Any:
        def opened(_: Any) -> Slow:
            engine.wait("load")
            if name != "default":
                raise BROKEN
            return engine

        return opened

    options |= {"open_model": open_model, "first": first}
    async with program(**options) as running:
        yield Walk(running, engine)
        for verb in list(engine.held):
            engine.let(verb)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path_factory.mktemp("home")))


@asynccontextmanager
async def editor(folder: Path, engine: Slow, **options: Any) -> AsyncIterator[Walk]:
    file = folder / "draft.txt"
    file.write_text(TEXT)
    rules = SuggestionRules(delay=options.pop("delay", 3600.0))
    writing = Writing(load(file), cursor=7, rules=rules)
    async with walk("complete", engine, writing=writing, **options) as here:
        await here.running.on(EditorScreen)
        yield here


async def test_the_editor_says_what_the_model_does(tmp_path: Path) -> None:
    engine = Slow()
    engine.hold("expect", "heat")
    async with editor(tmp_path, engine) as here:
        await here.says("loading the model", LOADING)
        engine.let("load")
        await here.says("reading the text", READING)
        engine.let("expect")
        await here.says("scoring the text", "Next at the cursor")
        engine.let("heat")
        await here.says("ready", "Next at the cursor")
        engine.hold("heat")
        await here.press("x")
        await here.says("scoring the text")
        await here.press("escape")
        await here.says("scoring the text")
        await here.press("ctrl+c")
        await here.says("stopped · F3 scores on")
        engine.let("heat")
        await here.press("x")
        await here.says("ready")
        engine.error = BROKEN
        await here.press("x")
        await here.says("it does not fit", "it does not fit: 9 tokens")
        await here.fail_to_load()


async def test_the_chat_says_what_the_model_does() -> None:
    engine = Slow(["one two", "three four", "five"])
    engine.hold("trace", "token 0", "token 1")
    async with walk("chat", engine) as here:
        await here.says("loading the model", LOADING)
        engine.let("load")
        await here.says("reading your message", READING)
        engine.let("trace")
        await here.says("ready", "Next in your message")
        await here.running.ask("hello")
        await here.says("reading the prompt", STALE_TITLE)
        engine.let("token 0")
        await here.says("answering", "Next token")
        await here.press("escape")
        await here.says("stopped", "Next token")
        engine.let("token 1")
        engine.hold("token 0")
        await here.running.ask("hello")
        await here.says("reading the prompt", STALE_TITLE)
        await here.press("escape")
        await here.says("stopped")
        assert STALE_TITLE not in here.running.seen
        engine.let("token 0")
        engine.error = BROKEN
        await here.press("x")
        await here.says("ready", "it does not fit: 9 tokens")
        await here.fail_to_load()


async def test_panel_says_reading_for_a_message_that_waited_for_the_model() -> None:
    engine = Slow(["one two"])
    engine.hold("token 0")
    async with walk("chat", engine) as here:
        await here.running.ask("hello")
        engine.let("load")
        await here.says("reading the prompt", READING)
        await here.press("escape")
        await here.says("stopped")
        assert READING not in here.running.seen


async def test_the_start_screen_says_what_the_model_does() -> None:
    engine = Slow()
    async with walk("start", engine) as here:
        await here.running.until(lambda: "loading the model" in here.running.seen)
        assert "ready" not in here.running.seen
        engine.let("load")
        await here.running.until(lambda: "ready · exact" in here.running.seen)
        assert "loading" not in here.running.seen
        here.running.app.load_model(ModelRef("second"))
        await here.running.on(ErrorScreen)
        await here.press("escape")
        assert "ready" not in here.running.seen


# What is older than the text.


async def test_panel_and_totals_are_dim_while_older_than_the_text(
    tmp_path: Path,
) -> None:
    engine = Slow()
    async with editor(tmp_path, engine) as here:
        engine.let("load")
        await here.says("ready", "Next at the cursor")
        panel = here.one(ProbabilityPanel)
        fresh = [part.style for part in panel.render_line(1)]
        engine.hold("expect")
        await here.press("x")
        parts = [here.one(kind) for kind in (ProbabilityPanel, TextTotals)]
        await here.running.until(lambda: all(part.stale for part in parts))
        await here.says("reading the text", STALE_TITLE)
        assert "Next at the cursor" not in here.running.seen
        dim = [part.style for part in panel.render_line(1)]
        assert dim != fresh
        engine.let("expect")
        await here.says("ready", "Next at the cursor")
        assert not any(part.stale for part in parts)
        engine.hold("expect")
        await here.press("left")
        await here.says("reading the text", STALE_TITLE)
        assert "change" not in STALE_TITLE  # the text is the same
        assert not here.one(TextTotals).stale


async def test_panel_and_strip_are_stale_while_older_than_the_draft() -> None:
    engine = Slow()
    async with walk("chat", engine) as here:
        engine.let("load")
        await here.says("ready", "Next in your message")
        engine.hold("trace")
        await here.press("x")
        parts = [here.one(kind) for kind in (ProbabilityPanel, LikelihoodStrip)]
        await here.running.until(lambda: all(part.stale for part in parts))
        assert "Next in your message" not in here.running.seen
        engine.let("trace")
        await here.running.until(lambda: not any(part.stale for part in parts))
        assert "Next in your message" in here.running.seen


# What was said of another text, or another place.


async def test_ghost_status_goes_when_the_cursor_leaves_its_place(
    tmp_path: Path,
) -> None:
    others = [" one", " two"]
    # Two places, and the one where the file opens.
    engine = Slow([" by the fire."] * 3, others=others)
    async with editor(tmp_path, engine, delay=0.001) as here:
        engine.let("load")
        await here.press("end")
        await here.press("alt+n")
        await here.says("ghost: alternative 1 of 2")
        await here.press("space")  # as the ghost says
        await here.says("ghost: alternative 1 of 2")
        await here.press("home")
        await here.says("ready")
        await here.press("end")
        await here.running.until(lambda: "by the fire." in here.running.seen)
        await here.press("escape")
        await here.says("ghost: dismissed")
        await here.press("home")
        await here.says("ready")


async def test_status_nothing_to_continue_goes_when_the_cursor_moves(
    tmp_path: Path,
) -> None:
    async with editor(tmp_path, engine := Slow(), delay=0.001) as here:
        engine.let("load")
        await here.press("ctrl+home", "ctrl+@")
        await here.says("ghost: there is nothing to continue")
        await here.press("right")
        await here.says("ready")
