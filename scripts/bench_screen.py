"""What the screen costs, on a real pseudo-terminal: the child that `bench.py` runs.

Drives the program from inside with the real model and writes one JSON object to the
file it is given. Times are of the screen's own thread, from a cause to the drawing
that shows its effect.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NoReturn

from textual.pilot import Pilot

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    GenerationResult,
    Step,
)
from lmtui.models.source import ModelRef
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.reply import Row
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.worker.generation import run_generation
from lmtui.worker.requests import Slot

QUESTION = "Write a long story about a lighthouse keeper who learns to paint."
PARAGRAPH = """\
The **keeper** of the old light climbed the stairs with a box of colours under one arm,
as on every evening since the storm, and looked at the sea until it was dark.

- a brush of `horse` hair, a little too wide
- three tubes: white, blue, and a green that nobody had ordered

"""


def p95(values: list[float]) -> float:
    """Nineteen in twenty are at most this."""
    return quantiles(values, n=20)[-1]


class Bench:
    """The measurements, one after the other on one running program."""

    def __init__(self, pilot: Pilot[None], *, rounds: int, tokens: int) -> None:
        assert isinstance(pilot.app, LmtuiApp)
        self.pilot, self.app = pilot, pilot.app
        self.rounds, self.tokens = rounds, tokens
        self.settings = SamplingSettings(seed=1, max_tokens=tokens)

    @property
    def chat(self) -> ChatScreen:
        assert isinstance(self.app.screen, ChatScreen)
        return self.app.screen

    @property
    def panel(self) -> ProbabilityPanel:
        return self.chat.query_one(ProbabilityPanel)

    async def until(
        self, condition: Callable[[], object], *, every: float = 0.002
    ) -> None:
        while not condition():
            await asyncio.sleep(every)

    async def painted(self) -> None:
        done = asyncio.Event()
        self.chat.call_after_refresh(done.set)
        await done.wait()

    async def all(self) -> dict[str, Any]:
        await self.until(lambda: self.app.model.info is not None)
        self.chat.query_one(PromptField).insert(QUESTION)
        await self.answered("enter")
        return {
            "rates": await self.rates(),
            "share": await self.share(),
            "lag_ms": p95(await self.lags()),
            "slider_ms": p95(await self.slider()),
            "draft_ms": p95(await self.draft()),
            "long_ms": p95(await self.long_reply()),
        }

    async def answered(self, key: str) -> None:
        """Press a key that asks for an answer, and wait until that is whole."""
        session = self.chat.session
        before = len(session.conversation.nodes)
        await self.pilot.press(key)
        # Seldom: looking five hundred times a second would slow the answer down.
        await self.until(
            lambda: (
                len(session.conversation.nodes) > before and not session.is_answering
            ),
            every=0.05,
        )

    async def rates(self) -> list[tuple[float, float, float]]:
        """Tokens a second with the panel, without it, and with nothing drawn."""
        measured = []
        for _ in range(self.rounds):
            with_panel = await self.drawn()
            await self.pilot.press("f2")
            without = await self.drawn()
            await self.pilot.press("f2")
            measured.append((with_panel, without, await self.undrawn()))
        return measured

    async def drawn(self) -> float:
        await self.answered("ctrl+r")
        finish = self.chat.session.conversation.leaf.finish
        assert finish is not None
        return finish.tokens_per_second or 0.0

    async def undrawn(self) -> float:
        """The same answer by the same thread, to somebody who does not look."""
        loop, finished = asyncio.get_running_loop(), asyncio.Event()
        found: list[GenerationResult] = []

        def end(result: GenerationResult) -> None:
            found.append(result)
            finished.set()

        def broken_off(error: object = None) -> NoReturn:
            raise AssertionError(f"no answer: {error}")

        client = EngineClient(self.app._engine, loop.call_soon_threadsafe)
        messages = self.chat.session.conversation.messages()[:-1]
        client.ask(
            Slot.GENERATE,
            lambda engine, context: run_generation(
                engine, context, messages, self.settings
            ),
            end,
            broken_off,
            dropped=broken_off,
        )
        await finished.wait()
        return found[0].tokens_per_second or 0.0

    async def share(self) -> float:
        """How much of a core the screen's own thread takes while an answer is drawn."""
        start, used = time.perf_counter(), time.thread_time()
        for _ in range(self.rounds):
            await self.drawn()
        return (time.thread_time() - used) / (time.perf_counter() - start)

    async def lags(self) -> list[float]:
        """How much later than asked for the event loop comes back, in ms, while an
        answer is drawn."""
        found: list[float] = []
        probe = asyncio.create_task(self.probe(found))
        for _ in range(self.rounds):
            await self.drawn()
        probe.cancel()
        return found

    async def probe(self, lags: list[float]) -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append((time.perf_counter() - start - 0.005) * 1e3)

    async def redraws(self, cause: Callable[[], object], times: int) -> list[float]:
        """From a cause to another distribution on the screen, in ms."""
        taken = []
        for _ in range(times):
            before = self.panel.distribution
            start = time.perf_counter()
            cause()
            await self.until(partial(self.differs, before))
            await self.painted()
            taken.append((time.perf_counter() - start) * 1e3)
            await asyncio.sleep(0.05)
        return taken

    def differs(self, before: object) -> bool:
        return self.panel.distribution is not before

    async def slider(self) -> list[float]:
        await self.pilot.press("f4")
        controls = self.chat.query_one(SamplerControls)
        right = iter([1, -1] * 100)
        taken = await self.redraws(lambda: controls.action_step(next(right)), 40)
        await self.pilot.press("f4")
        return taken

    async def draft(self) -> list[float]:
        """Keystrokes in a draft after about 500 tokens of conversation."""
        prompt = self.chat.query_one(PromptField)
        prompt.insert("Tell me more. " * 110)
        await self.answered("enter")
        letters = iter("and what did the keeper of the light say to the sea then?" * 2)
        return await self.redraws(lambda: prompt.insert(next(letters)), 40)

    async def long_reply(self) -> list[float]:
        """The last hundred batches of a reply of 4,000 tokens, two tokens each."""
        chat, conversation = self.chat, self.chat.session.conversation
        before = conversation.leaf.steps
        words = (PARAGRAPH * 60).split(" ")[:4_000]
        steps: list[Step] = [
            replace(before[i % len(before)], index=i, piece=f"{word} ")
            for i, word in enumerate(words)
        ]
        grows = conversation.reply(
            conversation.leaf.parent or 0, model="m", settings=self.settings
        )
        chat.reply.rows = [Row(grows)]
        await chat.view.show()
        chat.session.is_answering = True
        for i in range(0, len(steps) - 200, 100):
            await self.batch(tuple(steps[i : i + 100]))
        return [
            await self.batch(tuple(steps[i : i + 2]))
            for i in range(len(steps) - 200, len(steps), 2)
        ]

    async def batch(self, steps: tuple[Step, ...]) -> float:
        """What drawing a batch takes of the screen's thread, in ms; waiting for the
        next of its sixty moments a second is not counted."""
        chat, shown = self.chat, steps[-1].distribution
        start = time.thread_time()
        chat.call_later(chat.reply.show_items, [(0, step) for step in steps])
        await self.until(lambda: self.panel.distribution is shown)
        await self.painted()
        taken = (time.thread_time() - start) * 1e3
        await asyncio.sleep(0.02)
        return taken


def main() -> None:
    """Measure, and write what was measured."""
    out, model, rounds, tokens = sys.argv[1:]

    def open_model(_: ModelRef) -> Callable[..., Any]:
        def load(on_progress: Any) -> Any:
            from lmtui.engine.engine import LocalEngine

            return LocalEngine.open(
                model or None, quantize="auto", on_progress=on_progress
            )

        return load

    settings = SamplingSettings(seed=1, max_tokens=int(tokens))

    async def drive(pilot: Pilot[None]) -> None:
        bench = Bench(pilot, rounds=int(rounds), tokens=int(tokens))
        result = await bench.all()
        rates = list(zip(*result["rates"], strict=True))
        result["medians"] = [median(rate) for rate in rates]
        Path(out).write_text(json.dumps(result), encoding="utf-8")
        pilot.app.exit()

    pilot: Callable[[Pilot[None]], Awaitable[None]] = drive
    chats = Path(out).with_suffix(".db")
    app = LmtuiApp(
        open_model, AppOptions(sampling=settings, first="chat", chats_file=chats)
    )
    app.run(auto_pilot=pilot)  # type: ignore[arg-type]


main()
