"""What the editor says in each of its states, whichever state it was in before.

`STATES` is the table: how a state is entered, and what status line, panel title and
totals say in it. The engine is held in each until the next one has begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual.screen import ModalScreen

from lmtui.engine.document.types import ProofreadPart, Replacement
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.editor import scores
from lmtui.tui.editor.pickers import SURPRISES
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.screen import LOADING
from lmtui.tui.widgets.probability_panel import STALE_TITLE
from lmtui.tui.widgets.status import Status
from tests.examples import examples
from tests.tui.editor.writer import writing
from tests.tui.test_states import TEXT, Slow, Walk, editor

NEXT = "Next at the cursor"
UNTIL = "≈ until all is scored"
STOPPED = "stopped · F3 scores on"
BROKEN = LmtuiError("it does not fit", "9 tokens", "Shorten it.")


@dataclass(frozen=True)
class State:
    """How a state is entered, and what the screen says in it."""

    name: str
    keys: Sequence[str]
    status: str
    title: str = NEXT
    note: str = ""
    """Of the totals."""
    holds: Sequence[str] = ()
    """What the engine does not get on with."""
    dialog: str = ""
    """Seen in the dialog over it."""


STATES = (
    State("ready", "x", "ready"),
    State("reading an edit", "x", "reading the text", STALE_TITLE, holds=["expect"]),
    State("reading a move", ["left"], "reading the text", STALE_TITLE,
          holds=["expect"]),
    State("scoring, also after Esc", ["x", "escape"], "scoring the text", note=UNTIL,
          holds=["heat"]),
    State("stopped", ["x", "ctrl+c"], STOPPED, note=STOPPED, holds=["heat"]),
    State("stopped, then F3", ["x", "ctrl+c", "f3"], "heat: ", note=UNTIL,
          holds=["heat"]),
    State("suggesting", ["ctrl+@"], "writing a suggestion", holds=["complete"]),
    State("asking for words", ["f7"], "asking for words", holds=["words"],
          dialog="In place of"),
    State("proofreading", ["alt+k"], "proofreading", holds=["proofread"],
          dialog="reading · 0% of the text read"),
    State("rewriting", ["alt+r", *"up", "enter"], "rewriting", holds=["token 0"],
          dialog="Rewritten: up"),
    State("listing surprises", ["x", "ctrl+l"], "scoring the text", note=UNTIL,
          holds=["heat"], dialog=f"{SURPRISES}, of "),
    State("scoring failed", "x", "it does not fit", note="it does not fit"),
    State("loading", (), "loading the model", LOADING, holds=["load"]),
)  # fmt: skip


class Writer(Slow):
    """An engine that can also be held in what it writes, and fail at scoring."""

    fails = False

    def score_span(self, *asked: Any, **how: Any) -> Iterator[Any]:
        for span in super().score_span(*asked, **how):
            if self.fails:
                raise BROKEN
            yield span

    def complete(self, *asked: Any, **how: Any) -> Iterator[Any]:
        self.wait("complete")
        yield from super().complete(*asked, **how)

    def replacements(self, *asked: Any, **how: Any) -> Any:
        self.wait("words")
        return super().replacements(*asked, **how)

    def proofread(self, *asked: Any, **how: Any) -> Iterator[Any]:
        self.wait("proofread")
        yield from super().proofread(*asked, **how)


class Stroll(Walk):
    """The editor, led from one state to another."""

    engine: Writer
    stopped = False
    """Whether the scoring was stopped, and has not gone on since."""

    @property
    def editor(self) -> Any:
        screen = self.running.app.installed("complete")
        assert isinstance(screen, EditorScreen)
        return screen.editor

    @property
    def state(self) -> str:
        screen = self.running.app.installed("complete")
        assert screen is not None
        return screen.query_one(Status).state

    async def enter(self, state: State) -> None:
        """Enter a state from whichever there is, and find that what is said is so."""
        running, engine = self.running, self.engine
        earlier, engine.held = engine.held, {}
        if "load" in earlier:
            earlier["load"].set()
            await running.until(lambda: self.state.startswith("ready"))
        engine.hold(*state.holds)
        while isinstance(running.app.screen, ModalScreen):
            before = running.app.screen
            await self.press("escape")
            await self.press("escape")  # the first may only stop
            await running.until(lambda top=before: running.app.screen is not top)
        engine.fails = state.name == "scoring failed"
        if state.name == "loading":
            running.app.load_model(ModelRef())
        await self.press(*state.keys)
        for gate in earlier.values():
            gate.set()
        goes_on = {"x", "f3", "ctrl+l"} & {*state.keys} or state.name == "loading"
        self.stopped = state.name == "stopped" or (self.stopped and not goes_on)
        await running.until(lambda: self.state.startswith(state.status))
        await running.until(lambda: state.dialog in running.seen)
        if not state.dialog:
            await running.until(lambda: state.title in running.seen)
            await running.until(lambda: state.note in running.seen)
            await running.until(self.counts_are_of_this_text)
        self.deny_nothing(state)

    def counts_are_of_this_text(self) -> bool:
        """Whether each count on the line of the file is of the text."""
        seen = self.running.seen
        line, column = self.editor.cursor_location
        mark = "● draft.txt" if self.editor.text != TEXT else " draft.txt"
        return (
            f"line {line + 1}, column {column + 1}" in seen
            and f"{len(self.editor.text)} characters" in seen
            and mark in seen
        )

    def deny_nothing(self, state: State) -> None:
        """Find nothing on the screen that is not so in this state."""
        seen = self.running.seen
        for words in (STALE_TITLE, LOADING):
            if words != state.title and not state.dialog:
                assert words not in seen, (state.name, seen)
        if not state.dialog:
            assert (STOPPED in seen) == self.stopped, (state.name, seen)
        if state.status == "ready":
            assert "≈" not in seen


@pytest.fixture(autouse=True)
def quick(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "IDLE", 0.01)
    monkeypatch.setattr(scores, "TOTALS_EVERY", 0.02)


async def test_words_are_of_the_part_that_is_scored(tmp_path: Path) -> None:
    engine = Writer()
    async with editor(tmp_path, engine) as here:
        engine.let("load")
        await here.says("ready")
        engine.hold("heat")
        await here.press("ctrl+end", *"more text")
        await here.press("ctrl+c")
        await here.says(STOPPED, STOPPED)
        await here.press("ctrl+l")
        title = f"{SURPRISES}, of 22 tokens so far"
        await here.running.until(lambda: title in here.running.seen)
        assert Stroll(here.running, engine).state == "scoring the text"
        engine.let("heat")
        await here.running.until(lambda: f"{SURPRISES}," not in here.running.seen)
        assert SURPRISES in here.running.seen


async def test_long_text_says_that_what_was_shown_of_it_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "WHOLE", 100)
    async with writing(tmp_path, text=TEXT * 60, size=(120, 40)) as writer:
        await writer.until(lambda: "≈ of the lines that were shown" in writer.seen)
        await writer.until(lambda: "ready" in writer.seen)
        assert UNTIL not in writer.seen


WISHES = (
    ("alt+k", "Corrections by the model"),
    ("f7", "In place of “"),
    ("alt+r", "Rewrite  shorter"),
    ("ctrl+@", "by the fire."),
)


@pytest.mark.parametrize(("key", "answer"), WISHES)
async def test_wish_of_a_model_that_loads_comes_when_it_is_there(
    tmp_path: Path, key: str, answer: str
) -> None:
    engine = Writer([" by the fire."] * 9, words=[Replacement("dog", -1.0, "", -1.0)])
    async with editor(tmp_path, engine) as here:
        await here.says("loading the model", LOADING)
        await here.press(key)
        assert answer not in here.running.seen
        engine.let("load")
        await here.running.until(lambda: answer in here.running.seen)


@pytest.mark.parametrize("end", ["x", "escape", "f1"])
async def test_wish_ends_where_the_user_goes_on(tmp_path: Path, end: str) -> None:
    engine = Writer([" by the fire."] * 9)
    async with editor(tmp_path, engine) as here:
        await here.says("loading the model", LOADING)
        await here.press("alt+k", end)
        engine.let("load")
        await here.running.until(lambda: here.running.app.model.info)
        await here.running.pilot.pause()
        assert "Corrections by the model" not in here.running.seen


@pytest.mark.parametrize("step", range(1, examples(6, full=len(STATES)), 2))
async def test_what_the_editor_says_is_so_whatever_it_said_before(
    tmp_path: Path, step: int
) -> None:
    """Each state comes after another one at each step."""
    words = [Replacement("dog", -1.0, "", -1.0), Replacement("cat", -2.0, "", -1.0)]
    parts = [ProofreadPart(4, ()), ProofreadPart(500, ())]
    engine = Writer([" by the fire."] * 400, words=words, parts=parts)
    async with editor(tmp_path, engine) as here:
        engine.let("load")
        await here.says("ready")
        page = Stroll(here.running, engine)
        await page.press(*"so many")  # so that there is room to move
        for number in range(len(STATES) + 1):
            await page.enter(STATES[number * step % len(STATES)])
