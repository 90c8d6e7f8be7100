"""What writing costs, on a real pseudo-terminal: the child that `bench.py` runs.

Drives the editor from inside with the real model and writes one JSON object to the
file it is given. A key takes the way of a real one; a time ends with the drawing that
shows its effect. Everything that torch does, the thread of the engine does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench_documents import cut, prose
from textual import events
from textual.pilot import Pilot

from lmtui.editing import text_file
from lmtui.engine.document.edited import EditedDocument
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    GenerationResult,
    Step,
)
from lmtui.models.source import ModelRef
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.pickers import ReplacementsScreen
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.worker.requests import EngineRequest, Slot

PLACES = ("end", "middle")
GHOST = 16
"""Tokens of a ghost."""
UNBOUND = SuggestionRules(
    max_tokens=GHOST,
    seconds=None,
    min_prob=None,
    spare_following=False,
)
"""Nothing ends such a ghost but its length and an end token."""
TYPED = (
    " The keeper said that nothing is known of the beautiful numbers in his yellow "
    "notebook."
)
PAUSE = SuggestionRules().delay
_BETWEEN = 0.05  # seconds between the panel and the next key: less than a ghost waits
_QUIET = 0.5  # seconds without work after which none is to come


class Watch:
    """When the engine made each step of a continuation."""

    def __init__(self, document: EditedDocument) -> None:
        self.times: list[list[float]] = []
        self._go_on = document.complete
        document.complete = self.complete  # type: ignore[method-assign]

    def complete(self, *asked: Any, **how: Any) -> Iterator[Step | GenerationResult]:
        """The same continuation."""
        times: list[float] = []
        self.times.append(times)
        for item in self._go_on(*asked, **how):
            if isinstance(item, Step):
                times.append(time.perf_counter())
            yield item

    def steps(self) -> list[float]:
        """Between two tokens, in ms; the first of a continuation are several."""
        pairs = (pair for times in self.times for pair in pairwise(times[1:]))
        return [(b - a) * 1e3 for a, b in pairs]


class Bench:
    """The measurements, one after the other on one running program."""

    def __init__(
        self, pilot: Pilot[None], engines: list[LocalEngine], rounds: int
    ) -> None:
        assert isinstance(pilot.app, LmtuiApp)
        self.app, self.engines, self.rounds = pilot.app, engines, rounds
        self.keys = iter(TYPED)
        self.lags: dict[str, list[float]] = {}
        self.ended: str | None = None
        screen = pilot.app.screen
        assert isinstance(screen, EditorScreen)
        self.screen = screen
        self.suggestions = screen.suggestions
        self.show_end = self.suggestions._show_end
        self.suggestions._show_end = self.note_end  # type: ignore[method-assign]

    @property
    def editor(self) -> GhostEditor:
        return self.screen.editor

    @property
    def panel(self) -> ProbabilityPanel:
        return self.screen.query_one(ProbabilityPanel)

    @property
    def running(self) -> EngineRequest | None:
        """The request that the engine answers now."""
        return self.app._engine.running

    @property
    def suggestion_id(self) -> int | None:
        """The id of the request for a suggestion or for alternatives, if any."""
        return self.suggestions._client._newest.get(Slot.SUGGEST)

    def note_end(self, request: Any, suggestion: str) -> None:
        self.ended = suggestion
        self.show_end(request, suggestion)

    # Waiting.

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await asyncio.sleep(0.002)

    async def painted(self) -> None:
        done = asyncio.Event()
        self.app.screen.call_after_refresh(done.set)
        await done.wait()

    async def quiet(self) -> None:
        """Wait until all is read and nothing more is to come."""
        since = time.perf_counter()
        while time.perf_counter() - since < _QUIET:
            if self.running or self.editor.scored.stale():
                since = time.perf_counter()
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def lag(self, phase: str) -> AsyncIterator[None]:
        """How much later than asked for the event loop comes back, in ms."""
        lags = self.lags.setdefault(phase, [])

        async def probe() -> None:
            while True:
                start = time.perf_counter()
                await asyncio.sleep(0.005)
                lags.append((time.perf_counter() - start - 0.005) * 1e3)

        task = asyncio.create_task(probe())
        try:
            yield
        finally:
            task.cancel()

    # Keys.

    def press(self, name: str, character: str | None = None) -> float:
        """Send a key as the terminal does; when."""
        driver = self.app._driver
        assert driver is not None
        key = events.Key(name, character)
        key.set_sender(self.app)
        start = time.perf_counter()
        driver.send_message(key)
        return start

    def type(self) -> float:
        """The next character of a sentence."""
        character = next(self.keys, "")
        if not character:
            self.keys = iter(TYPED)
            character = next(self.keys)
        names = {" ": "space", ",": "comma", ".": "full_stop"}
        return self.press(names.get(character, character), character)

    async def typed(self) -> tuple[float, float]:
        """Type a character: when, and the ms until the panel shows what it changed."""
        before = self.panel.distribution
        revision = self.editor.revision
        start = self.type()
        await self.until(
            lambda: (
                self.editor.revision > revision
                and self.panel.distribution is not before
            )
        )
        await self.painted()
        return start, (time.perf_counter() - start) * 1e3

    # What is measured.

    async def all(self, sizes: Sequence[int]) -> dict[str, Any]:
        await self.until(lambda: self.app.model.info is not None)
        (engine,) = self.engines
        watch, text = Watch(engine.document), prose()
        cases = []
        for size in sizes:
            part = cut(engine, text, size)
            for place in PLACES:
                await self.open(part, place)
                cases.append({"tokens": size, "place": place, **await self.case()})
        await self.open(part, "end")
        cancels = await self.cancels(watch)
        return {"cases": cases, "steps": watch.steps(), "lags": self.lags,
                "cancels": cancels}  # fmt: skip

    async def open(self, text: str, place: str) -> None:
        """Another text, and a cursor at its end, or at the end of a line."""
        self.suggestions.is_on = False
        self.editor.replace_span(0, self.editor.characters, text)
        end = text.index("\n", len(text) // 2)
        self.editor.go_to(len(text) if place == "end" else end)
        self.editor.focus()
        async with self.lag("scoring"):
            await self.quiet()
        self.suggestions.is_on = True

    async def case(self) -> dict[str, list[float]]:
        await self.typed()  # what is done once, is done
        self.keys = iter(TYPED)
        async with self.lag("typing"):
            typing = await self.typing()
        async with self.lag("ghosts"):
            ghosts = await self.ghosts()
            self.suggestions._delay = 0.0
            ghosts["at once"] = (await self.ghosts())["first"]
            self.suggestions._delay = PAUSE
        alternatives = [await self.alternatives() for _ in range(self.rounds)]
        replacements = [await self.replacements() for _ in range(self.rounds)]
        return {"typing": typing, **ghosts, "alternatives": alternatives,
                "replacements": replacements}  # fmt: skip

    async def typing(self) -> list[float]:
        """From each key to the panel, where one writes on and on."""
        taken = []
        for _ in TYPED:
            taken.append((await self.typed())[1])
            await asyncio.sleep(_BETWEEN)
        return taken

    async def ghosts(self) -> dict[str, list[float]]:
        """Where one writes a character and waits: from the key to the panel; from the
        end of the pause to the first ghost and to the whole one."""
        wait = self.suggestions._delay
        panel: list[float] = []
        first: list[float] = []
        whole: list[float] = []
        for _ in range(2 + 2 * self.rounds):
            self.editor.forget_ghosts()
            self.ended = None
            start, taken = await self.typed()
            panel.append(taken)
            await self.until(lambda: self.editor.ghost or self.ended is not None)
            await self.painted()
            seen = time.perf_counter() - start
            await self.until(lambda: self.ended is not None)
            await self.painted()
            if self.ended:
                first.append((seen - wait) * 1e3)
                ended = time.perf_counter() - start - wait
                whole.append(ended * 1e3)
        return {"paused": panel, "first": first, "whole": whole}

    async def alternatives(self) -> float:
        """Under the rules that are the default."""
        self.suggestions._rules = SuggestionRules()
        await self.typed()
        start = self.press("alt+n")
        await self.until(lambda: self.suggestion_id)
        await self.until(lambda: not self.suggestion_id)
        await self.painted()
        self.suggestions._rules = UNBOUND
        return (time.perf_counter() - start) * 1e3

    async def replacements(self) -> float:
        """For the word before the cursor."""
        editor = self.editor
        at = editor.cursor_index
        editor.go_to(editor.text.rindex(" ", 0, at - 1) + 1)
        await self.until(lambda: not self.running)
        start = self.press("f7")
        await self.until(lambda: isinstance(self.app.screen, ReplacementsScreen))
        found = self.app.screen
        assert isinstance(found, ReplacementsScreen)
        await self.until(lambda: found.items)
        await self.painted()
        taken = (time.perf_counter() - start) * 1e3
        self.press("escape")
        await self.until(lambda: self.app.screen is self.screen)
        editor.go_to(at)
        return taken

    async def cancels(self, watch: Watch) -> list[tuple[float, int]]:
        """From Esc to an engine that has stopped, in ms and in tokens."""
        self.suggestions._delay = 0.0  # after a pause it would have ended
        taken = []
        for turn in range(5 + 5 * self.rounds):
            self.editor.forget_ghosts()
            self.ended = None
            await self.typed()
            await self.until(lambda: self.editor.ghost or self.ended is not None)
            await asyncio.sleep(0.01 * (turn % 7))
            request, job = self.running, self.suggestion_id
            if not job or request is None or request.id != job:
                continue
            start = self.press("escape")
            await self.until(partial(self.left, request))
            end = time.perf_counter()
            later = sum(at > start for at in watch.times[-1])
            taken.append(((end - start) * 1e3, later))
        return taken

    def left(self, request: EngineRequest) -> bool:
        return self.running is not request


def main() -> None:
    """Measure, and write what was measured."""
    out, model, rounds, sizes = sys.argv[1:]
    engines: list[LocalEngine] = []

    def open_model(_: ModelRef) -> Callable[..., LocalEngine]:
        def load(on_progress: Any) -> LocalEngine:
            engine = LocalEngine.open(
                model or None, quantize="auto", on_progress=on_progress
            )
            engines.append(engine)
            return engine

        return load

    async def drive(pilot: Pilot[None]) -> None:
        bench = Bench(pilot, engines, int(rounds))
        result = await bench.all([int(size) for size in sizes.split(",")])
        Path(out).write_text(json.dumps(result), encoding="utf-8")
        bench.screen.file._discarded = True
        bench.app.leave()

    file = text_file.load(Path(out).with_name("document.md"))
    app = LmtuiApp(
        open_model,
        AppOptions(
            sampling=SamplingSettings(),
            first="complete",
            writing=Writing(file, rules=UNBOUND),
        ),
    )
    app.run(auto_pilot=drive)  # type: ignore[arg-type]


main()
