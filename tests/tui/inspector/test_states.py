"""The states of the inspector: what is said in each, and where Esc leads."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest
from textual.screen import ModalScreen

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import TokenMatches
from lmtui.models.source import ModelRef
from lmtui.notation import NONE, log_prob
from lmtui.surprisal_scale import MEASURES
from lmtui.text import visible_token
from lmtui.tui.dialogs import ErrorScreen
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.inspector import document
from lmtui.tui.inspector.lens import LensScreen
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.screen import LOADING
from lmtui.tui.start import StartScreen
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.token_view import TokenView
from lmtui.worker import throttle
from tests.fakes import FakeEngine
from tests.tui.inspecting import Inspecting, inspecting
from tests.tui.programs import Program, program
from tests.tui.test_states import BROKEN, Slow

TEXT = "the cat sat on the mat"

STATES = {
    "reading": ("scoring ", "stopped"),
    "stopped": ("stopped at .* r reads on", "left"),
    "ready": ("ready", "left"),
    "writing": (r"(writing|reading \d+/\d+ tokens) · Esc stops", "written"),
    "written": ("stopped; Enter goes on", "left"),
}
"""What the status line says in each state, and the state after Esc in the text."""


class Held:
    """An engine that waits at a token until it may go on."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.first = 5
        """Index of the first token that it waits at, of a text or an answer."""
        self.engine = FakeEngine([" dog ran off"], name="default", on_token=self._wait)

    def _wait(self, index: int) -> None:
        if index >= self.first:
            assert self.go_on.wait(20)


async def be(page: Inspecting, state: str) -> None:
    """Wait until the status line says that this is the state."""
    await page.until(lambda: re.match(STATES[state][0], page.state))
    assert page.running.app.screen is page.screen


async def escape(page: Inspecting, held: Held, state: str) -> None:
    """Press Esc in the text, and see that it leads where the table says."""
    await page.press("escape")
    held.go_on.set()
    if (after := STATES[state][1]) == "left":
        await page.running.on(StartScreen)
    else:
        await be(page, after)


async def test_each_state_is_named_and_escape_goes_one_step_back() -> None:
    held = Held()
    async with inspecting(TEXT, held.engine, asked=False) as page:
        await be(page, "reading")
        await page.until(lambda: page.view.tokens)
        await page.press("end", "left")
        await page.until(lambda: "not scored" in page.running.seen)
        assert "known once" in page.running.seen
        await escape(page, held, "reading")
        held.go_on.clear()
        await page.press("r")
        await be(page, "reading")
        held.go_on.set()
        await be(page, "ready")
        assert "not scored" not in page.running.seen
        held.go_on.clear()
        held.first = 0
        await page.press("g")
        await be(page, "writing")
        await page.press("L")
        await page.until(lambda: "The model is writing" in page.running.notices)
        assert not isinstance(page.running.app.screen, LensScreen)
        await escape(page, held, "writing")


async def test_escape_leads_back_to_the_text() -> None:
    """From each other place, which does nothing else."""
    async with inspecting(TEXT) as page:
        await be(page, "ready")
        before = page.state
        places = {
            "tab": page.panel,
            "f": page.screen.query_one(TokenFinder),
            "f4": page.screen.query_one(SamplerControls),
        }
        for key, place in (*places.items(), *reversed(places.items())):
            await page.press(key)
            await page.until(lambda place=place: place.has_focus_within)  # type: ignore[misc]
            await page.press("escape")
            await page.until(lambda: page.view.has_focus_within)
            assert (page.running.app.screen, page.state) == (page.screen, before)


@pytest.mark.parametrize("state", ["stopped", "ready"])
async def test_escape_in_the_text_leaves_only_where_nothing_works(state: str) -> None:
    held = Held()
    async with inspecting(TEXT, held.engine, asked=False) as page:
        await be(page, "reading")
        if state == "stopped":
            await escape(page, held, "reading")
        held.go_on.set()
        await be(page, state)
        await escape(page, held, state)


async def test_search_at_a_scored_token_says_that_it_searches() -> None:
    go_on = Event()
    engine = FakeEngine(name="default")
    look = engine.next_distribution

    def slowly(*args: Any, **how: Any) -> Any:
        assert go_on.wait(20)
        return look(*args, **how)

    engine.next_distribution = slowly  # type: ignore[method-assign]
    async with inspecting(TEXT, engine) as page:
        await page.press("right", "right", "f", "z")
        finder = page.screen.query_one(TokenFinder)
        await page.until(lambda: "Searching." in page.running.seen)
        assert "known once" not in page.running.seen
        go_on.set()
        await page.until(lambda: finder.rows)
        assert "tokens have this" in page.running.seen


async def test_search_and_panel_are_both_answered() -> None:
    """A change of the bias asks for both, while another search is computed."""
    asked, go_on = Event(), Event()
    engine = FakeEngine(name="default")
    find = engine.search_vocabulary

    def slowly(
        handle: int, text: str, settings: SamplingSettings, *, count: int = 50
    ) -> TokenMatches:
        if text == "zz":
            asked.set()
            assert go_on.wait(20)
        return find(handle, text.rstrip("z") + "z", settings, count=count)

    engine.search_vocabulary = slowly  # type: ignore[method-assign]
    async with inspecting(TEXT, engine) as page:
        await page.to(4)
        await page.press("f", "z")
        finder = page.screen.query_one(TokenFinder)
        await page.until(lambda: finder.rows)
        banned = finder.rows[0].candidate
        shown = page.panel.distribution
        await page.press("z")
        await page.until(asked.is_set)
        await page.press("alt+x")
        go_on.set()
        await page.until(lambda: finder.rows and finder.rows[0].candidate != banned)
        await page.until(lambda: page.panel.distribution is not shown)


# What is said in each state, whichever state it was in before.


@dataclass(frozen=True)
class State:
    """How a state is entered, and what the screen says in it."""

    name: str
    status: str
    """How the status line begins, as a regular expression."""
    panel: str = ""
    """What the panel says in place of rows; "" where it has rows."""
    keys: Sequence[str] = ()
    model: str = ""
    """The model that is loaded first: `new`, or `bad`, which fails."""
    holds: Sequence[str] = ()
    """What the engine does not get on with, and, after `other `, the other one."""
    over: str = ""
    """Seen in the dialog over it."""


FIRST, LAST = ("ctrl+home", "right"), ("ctrl+end", "left")
IDLE = "(ready|compared with other.*|the text itself|branch .*|.*goes on|.*ended here)"
LOADS = State("loading", "loading the model", LOADING, model="new", holds=["load"])
STOPS = State("stopped", "stopped at 5/22 tokens · r reads on", model="new",
              keys=[*FIRST, "escape"], holds=["score"])  # fmt: skip
MOVES = State("moved", IDLE, keys=["r", "left"], holds=["look"])
WRITES = State("writing", "writing · Esc stops", keys=["r", *LAST, "g"],
               holds=["token 1"])  # fmt: skip
ENDS = State("written", "the model ended here · branch|ready|compared with",
             keys=["r", *LAST, "g"])  # fmt: skip
ALONE = (
    LOADS,
    State("no model", "no model", "it does not fit", model="bad"),
    State("tokenizing", "reading notes.txt", "The model has to read", model="new",
          keys=["right", "left", "right"], holds=["encode"]),
    State("scoring, not so far", "scoring 5/22 tokens", "This is known once",
          keys=LAST, model="new", holds=["score", "look"]),
    STOPS,
    State("scoring failed", "it does not fit · notes.txt", keys=FIRST, model="new"),
    MOVES,
    State("at the end, other shading", IDLE, keys=["r", "ctrl+end", "m"]),
    WRITES,
    State("stopped, then written", "the model ended here · branch", model="new",
          keys=[*FIRST, "escape", "g"], holds=["score"]),
    State("overview", "", keys=["o"], over="Overview of notes.txt"),
)  # fmt: skip
COMPARING = (
    LOADS,
    State("other reads", "other reads the text", keys=FIRST, model="new",
          holds=["other score"]),
    State("nothing compared", "stopped; nothing is compared · r reads on", model="new",
          keys=[*FIRST, "escape"], holds=["other score"]),
    STOPS,
    State("compared", "compared with other, token by token", keys=FIRST, model="new"),
    MOVES,
    ENDS,
)  # fmt: skip


class Reader(Slow):
    """An engine that can also be held in the middle of a text, and fail there."""

    fails = False

    def score(self, *asked: Any, **how: Any) -> Iterator[Any]:
        scored = FakeEngine.score(self, *asked, **how)
        for number, token in enumerate(scored):
            if number == 5:
                self.wait("score")
                if self.fails:
                    raise BROKEN
            yield token

    def next_distribution(self, *asked: Any, **how: Any) -> Any:
        self.wait("look")
        return super().next_distribution(*asked, **how)


class Stroll:
    """The inspector, led from one state to another."""

    def __init__(self, *, compares: bool) -> None:
        self.engine, self.other = Reader([" dog ran off"] * 999), Reader(seed=5)
        self.compares = compares
        self.loads = self.shadings = 0
        self.before = ""
        self.running: Program

    def open_model(self, name: str) -> Any:
        """Return what loads a model: each is another one, also to compare with."""

        def opened(_: Any) -> Any:
            self.engine.wait("load")
            if name == "bad":
                raise BROKEN
            self.engine.name, self.other.name = name, "other"
            self.other.context = 4096 + self.loads
            return (self.engine, self.other) if self.compares else self.engine

        return opened

    @asynccontextmanager
    async def begun(self) -> AsyncIterator[None]:
        """The program, once the first model has read the text."""
        source = InspectSource("notes.txt", read=lambda: TEXT)
        async with program(
            first="inspect", open_model=self.open_model, source=source
        ) as self.running:
            self.inspector = await self.running.on(InspectScreen)
            await self.running.until(lambda: re.match(IDLE, self.state))
            yield
            self.let_go()

    @property
    def state(self) -> str:
        return self.inspector.query_one(Status).state

    @property
    def view(self) -> TokenView:
        return self.inspector.query_one(TokenView)

    @property
    def is_loaded(self) -> bool:
        return self.running.app.model.info is not None

    @property
    def is_read(self) -> bool:
        """Whether all that is drawn is scored."""
        return all(token.logprob is not None for token in self.view.tokens[1:])

    def hold(self, state: State) -> list[Event]:
        """Hold the engines as in this state; return what they were held by."""
        earlier = [*self.engine.held.values(), *self.other.held.values()]
        self.engine.held, self.other.held = {}, {}
        for what in state.holds:
            verb = what.removeprefix("other ")
            (self.engine if verb == what else self.other).hold(verb)
        return earlier

    def let_go(self) -> None:
        for gate in (*self.engine.held.values(), *self.other.held.values()):
            gate.set()

    async def enter(self, state: State) -> None:
        """Enter a state from whichever there is, and find that what is said is so."""
        running = self.running
        while isinstance(running.app.screen, ModalScreen):
            top = running.app.screen
            await running.press("escape")
            await running.until(lambda top=top: running.app.screen is not top)
        earlier = self.hold(state)
        self.engine.fails = state.name == "scoring failed"
        if state.model or not self.is_loaded:
            await self.load(state, earlier)
        if not self.inspector.document.scored.ids and not state.model:
            for gate in earlier:
                gate.set()
            await running.until(lambda: self.inspector.document.scored.ids)
        await running.press(*state.keys)
        self.shadings += "m" in state.keys
        for gate in earlier:
            gate.set()
        try:
            await running.until(lambda: not [*self.denied(state)])
        except AssertionError:
            where = f"{state.name} after {self.before}"
            words = f"{where}: {[*self.denied(state)]}, {self.state!r}\n{running.seen}"
            raise AssertionError(words) from None
        self.before = state.name

    async def load(self, state: State, earlier: list[Event]) -> None:
        """Load another model, and wait for its tokens, unless it is held before."""
        running = self.running
        self.loads += 1
        name = state.model if state.model == "bad" else f"m{self.loads}"
        running.app.load_model(ModelRef(name))
        for gate in earlier:
            gate.set()
        if name == "bad":
            await running.on(ErrorScreen)
            await running.press("escape")
            await running.until(lambda: running.app.screen is self.inspector)
        elif "load" not in state.holds:
            await running.ready(name)
            there = self.inspector.document
            await running.until(lambda: there.scored.ids or "encode" in state.holds)

    def denied(self, state: State) -> Iterator[str]:
        """Yield what is not as it should be in this state, and what is not true."""
        seen = self.running.seen
        if state.over:
            if state.over not in seen:
                yield "the dialog"
            if ("as far as it is read" in seen) == self.is_read:
                yield "how far the overview says it is read"
            return
        if self.running.app.screen is not self.inspector:
            yield "no dialog"
            return
        if not re.match(state.status, self.state):
            yield "the status"
        if state.panel and state.panel not in seen:
            yield "the words of the panel"
        if (LOADING in seen) != self.state.startswith("loading"):
            yield "whether it loads"
        measure = MEASURES[self.shadings % len(MEASURES)]
        if self.inspector.compare.comparison is not None:
            measure = "difference"
        if not re.search(rf"^ {measure} .* m: next shading", seen, re.M):
            yield "the legend"
        if self.is_loaded:
            yield from self.denied_numbers(state)

    def denied_numbers(self, state: State) -> Iterator[str]:
        """Yield what is untrue of the token under the cursor, and of the text."""
        seen, tokens, place = self.running.seen, self.view.tokens, self.view.index
        if self.state.startswith(("ready", "compared")) and not self.is_read:
            yield "whether it is read"
        at_end = place == len(tokens)
        title = "Expected next" if at_end else f"Expected at token {place + 1}"
        if title not in seen:
            yield f"the title, {title}"
        if not at_end:
            unscored = place > 0 and tokens[place].logprob is None
            if f"{place + 1}/{len(tokens)} “" not in seen:
                yield "the place of the cursor"
            if ("not scored" in seen) != unscored:
                yield "whether the token is scored"
        name = "" if at_end else visible_token(tokens[place].text)
        rows = re.findall(r"│ ●(\S+)", seen)[:1]
        is_known = not state.panel and "This is known once" not in seen
        if rows != [name] * bool(name and is_known and place):
            yield f"the marked row, {rows}, of {name}"
        if not is_known and place and not at_end and tokens[place].logprob is not None:
            yield "whether the token is known"
        sums = re.search(r"Σ log P, nats +(\S+)", seen)
        whole = math.fsum(token.logprob or 0.0 for token in tokens)
        if sums and sums[1] != (log_prob(whole) if self.is_read else NONE):
            yield f"Σ log P, {sums[1]}"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Post and draw each score as it comes: the engine may be held behind it."""
    monkeypatch.setattr(throttle, "INTERVAL", 0)
    monkeypatch.setattr(document, "SHARE", 0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("states", [ALONE, COMPARING], ids=["alone", "comparing"])
async def test_what_is_said_is_so_whatever_was_said_before(
    states: Sequence[State],
) -> None:
    """Each state comes after each other one, and after itself."""
    page = Stroll(compares=states is COMPARING)
    async with page.begun():
        for number, first in enumerate(states):
            for then in states[number:]:
                await page.enter(first)
                await page.enter(then)
            await page.enter(first)
