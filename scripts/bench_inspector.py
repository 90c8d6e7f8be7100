"""What looking into a text costs, on a real pseudo-terminal.

`print_inspector` runs this file as a child: it drives the inspector from inside with
the real model and writes one JSON object to the file that it is given. A time goes from
a cause to the drawing that shows its effect.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, cast

from bench_tools import measured_by
from textual.pilot import Pilot

from lmtui.engine.lens import LensColumn
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.scoring.passages import DocumentSpan
from lmtui.models.source import ModelRef, Quantize
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.inspector.lens import LensScreen
from lmtui.tui.inspector.pickers import AlternativesScreen
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.token_cursor import TokenText
from lmtui.worker.partial_answers import lens_parts
from lmtui.worker.requests import Slot

TEXT = Path(__file__).parent.parent / "LICENSE"
MOVES, PAGES, AHEADS = 60, 40, 12
GRIDS, WIDE = 3, 64


def p95(values: list[float]) -> float:
    """Nineteen in twenty are at most this."""
    return quantiles(values, n=20)[-1]


class Bench:
    """The measurements, one after the other on one running program."""

    def __init__(self, pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, LmtuiApp)
        self.pilot, self.app = pilot, pilot.app

    @property
    def screen(self) -> InspectScreen:
        """The inspector, also below a dialog."""
        return next(s for s in self.app.screen_stack if isinstance(s, InspectScreen))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for it."""
        while not condition():
            await asyncio.sleep(0.005)  # rarely: the model needs the processor

    async def timed(
        self, cause: Callable[[], object], seen: Callable[[], object]
    ) -> float:
        """From a cause to the drawing after something is seen, in ms."""
        start = time.perf_counter()
        cause()
        await self.until(seen)
        done = asyncio.Event()
        self.app.screen.call_after_refresh(done.set)
        await done.wait()
        return (time.perf_counter() - start) * 1e3

    async def looked(self) -> None:
        """Wait until the engine has answered for the place under the cursor."""
        await self.until(
            lambda: (shown := self.screen.panel.distribution) and shown.handle >= 0
        )
        await asyncio.sleep(0.02)

    async def all(self) -> dict[str, float]:
        """Everything."""
        await self.until(lambda: self.app.model.info is not None)
        await self.until(lambda: not self.screen.document.why_not)
        await self.looked_at(100)
        return {
            "move": p95(await self.moves()),
            "page": p95(await self.pages()),
            "find": p95(await self.finds()),
            "ahead": median(await self.aheads()),
            "column": median(await self.columns()),
            "grid": median(await self.grids()),
        }

    async def looked_at(self, place: int) -> None:
        """Put the cursor there."""
        self.screen.document.view.select(place)
        await asyncio.sleep(0.2)
        await self.looked()

    async def moves(self) -> list[float]:
        """The cursor to the next token, and its rows in the panel: what that takes of
        the screen's thread; waiting for the next of its sixty moments a second is not
        counted."""
        text, panel = self.screen.query_one(TokenText), self.screen.panel
        taken = []
        for _ in range(MOVES):
            before = panel.distribution
            on = partial(text.action_walk, 1)
            start = time.thread_time()
            await self.timed(on, lambda b=before: panel.distribution is not b)
            taken.append((time.thread_time() - start) * 1e3)
            await self.looked()
        return taken

    async def pages(self) -> list[float]:
        """A page of the ranking, the last of the vocabulary among them."""
        panel, taken = self.screen.panel, []
        for place in range(PAGES):
            before = panel.distribution
            assert before is not None
            start = before.vocabulary * place // PAGES
            page = ProbabilityPanel.PageRequested(panel, start, 30)
            ask = partial(self.screen.sampler.follow_panel, page)
            taken.append(
                await self.timed(ask, lambda b=before: panel.distribution is not b)
            )
        return taken

    async def finds(self) -> list[float]:
        """A letter in the finder, and the tokens that have what is typed."""
        self.screen.action_find_token()
        finder, taken = self.screen.query_one(TokenFinder), []
        await asyncio.sleep(0.5)  # the vocabulary is spelled out at the first time
        for word in ("the", "Paris", "qu", "ing"):
            finder._field.value = ""
            await asyncio.sleep(0.2)
            for length in range(1, len(word) + 1):
                before, part = finder.rows, word[:length]
                write = partial(setattr, finder._field, "value", part)
                taken.append(
                    await self.timed(write, lambda b=before: finder.rows is not b)
                )
        finder.action_close()
        return taken

    async def aheads(self) -> list[float]:
        """Enter, and where eight alternatives would lead."""
        taken = []
        for place in range(110, 110 + AHEADS):
            await self.looked_at(place)
            taken.append(await self.timed(self.screen.action_alternatives, self.led))
            await self.pilot.press("escape")
        return taken

    async def columns(self) -> list[float]:
        """L, and the column of the lens at the cursor: every layer with its numbers."""
        taken = []
        for place in range(110, 110 + AHEADS):
            await self.looked_at(place)
            taken.append(await self.timed(self.screen.action_lens, self.column_shown))
            await self.pilot.press("escape")
        return taken

    def column_shown(self) -> bool:
        """Whether the lens shows the column at the cursor."""
        lens = self.app.screen
        return isinstance(lens, LensScreen) and lens.column is not None

    async def grids(self) -> list[float]:
        """All columns of 64 tokens: what the widest screen asks for at once."""
        shown = self.screen.document.scored
        assert shown.windows is not None
        client, taken = self.screen.new_client(), []
        for start in range(100, 100 + GRIDS):
            part = DocumentSpan(
                shown.ids, shown.before, shown.windows, start, start + WIDE
            )
            columns: list[LensColumn] = []
            ended = asyncio.Event()
            begin = time.perf_counter()
            client.ask(
                Slot.SUGGEST,
                lens_parts(part),
                lambda _, ended=ended: ended.set(),
                lambda error: sys.exit(str(error)),
                batch=columns.extend,
            )
            await ended.wait()
            taken.append((time.perf_counter() - begin) * 1e3)
            assert len(columns) == WIDE
        return taken

    def led(self) -> bool:
        """Whether the dialog shows where they lead."""
        dialog = self.app.screen
        return (
            isinstance(dialog, AlternativesScreen) and "leads to" in dialog._rows.heads
        )


def print_inspector(model: str | None) -> None:
    """The table of what looking into a text costs, on both paths."""
    print("\n| in the inspector | exact | fast |\n|---|---|---|")
    exact, fast = (
        measured_by("bench_inspector.py", model or "", path)
        for path in ("none", "auto")
    )
    for what, key in (
        ("cursor → panel from stored rows, p95", "move"),
        ("any page of the whole vocabulary, p95", "page"),
        ("a letter → tokens with their ranks, p95", "find"),
        ("Enter → eight alternatives, six tokens ahead, median", "ahead"),
        ("L → the lens's column at the cursor, median", "column"),
        (f"the lens's grid of {WIDE} tokens, median", "grid"),
    ):
        print(f"| {what} | {exact[key]:.0f} ms | {fast[key]:.0f} ms |")


def main() -> None:
    """Measure, and write what was measured."""
    out, model, quantize = sys.argv[1:]

    def open_model(_: ModelRef) -> Callable[..., Any]:
        def load(on_progress: Any) -> Any:
            from lmtui.engine.engine import LocalEngine

            return LocalEngine.open(
                model or None,
                quantize=cast(Quantize, quantize),
                on_progress=on_progress,
            )

        return load

    async def drive(pilot: Pilot[None]) -> None:
        result = await Bench(pilot).all()
        Path(out).write_text(json.dumps(result), encoding="utf-8")
        pilot.app.exit()

    text = TEXT.read_text(encoding="utf-8")
    app = LmtuiApp(
        open_model,
        AppOptions(
            sampling=SamplingSettings(seed=1),
            first="inspect",
            source=InspectSource("LICENSE", read=lambda: text),
        ),
    )
    app.run(auto_pilot=drive)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
