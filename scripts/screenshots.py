"""Pictures of the running program: the default model, driven by keys, as SVG.

The same seeds give the same words; only speeds differ from run to run. A picture
fetches nothing: it is drawn with whatever monospaced font its reader has.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from reference import write_reference
from svg import moving, require_fit_to_show, self_contained
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from lmtui import paths
from lmtui.cli.screen import read_lesson
from lmtui.editing.text_file import TextFile
from lmtui.engine.engine import LocalEngine
from lmtui.engine.open import open_served
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.models.download import default_model
from lmtui.models.progress import OnProgress
from lmtui.models.remote.address import ServerOptions
from lmtui.models.source import ModelRef
from lmtui.train.client import WorkerProcess
from lmtui.train.request import TrainRequest
from lmtui.train.settings import TrainSettings
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.chat.message import MessageView
from lmtui.tui.editor.options import Writing
from lmtui.tui.finetune.run import Finetuning, TrainingRun
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.worker.requests import OpenEngine

FOLDER = Path(__file__).parent.parent / ".github" / "screenshots"
QUESTION = "What is the capital of France, and what is it known for?"
STORY = "Begin a story about a lighthouse keeper who learns to paint."
SCHEMA = """\
{"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "age":
{"type": "integer", "minimum": 18, "maximum": 99}, "paints": {"enum": ["the sea",
"ships", "gulls"]}}, "required": ["name", "age", "paints"]}
"""
DRAFT = "the cat sat on the"
LETTER = """\
Dear Anna,

we came to Paris by the night train and slept badly. The morning was
grey, but the bread was warm and the coffee strong. We walked along the
river to the old bookshop, where the owner kept a parrot that could say
good morning in nine languages.

Tomorrow we want to see the museum, if it is not too crowded. As you
know, the capital of Fran
"""
HOME = """\
Anna grew up in Paris. Her brother has lived in Berlin for ten years. She likes to cook
and to read. At home, the two of them still speak French"""
NOTES = TrainSettings(block=128, batch=2, epochs=2, lr=4e-4)
"""How the notes of a picture are learned: in minutes."""
_RANGE = re.compile(r"entropy \d+\.\d–\d")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
PATIENCE = 45
"""Seconds to wait for anything but a training."""


class Drawing:
    """The program while it is brought to where its picture is taken."""

    def __init__(self, app: LmtuiApp, pilot: Pilot[Any]) -> None:
        self._app, self._pilot = app, pilot
        self.frames: list[tuple[str, float]] = []
        """Those of a moving picture, with the seconds that each is seen."""

    async def until(
        self, condition: Callable[[], object], patience: float = PATIENCE
    ) -> None:
        """Wait until the model is as far."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"error: waited in vain\n{self.seen}")
            await self._pilot.pause(0.02)

    async def shows(self, words: str) -> None:
        """Wait until this stands on the screen."""
        await self.until(lambda: words in self.seen)

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Write into the prompt."""
        await self.press(*("space" if letter == " " else letter for letter in text))
        await self.shows(text)

    async def ask(self, text: str) -> None:
        """Write a prompt and send it."""
        self._app.screen.query_one(TextArea).insert(text)
        await self._pilot.pause()
        await self.press("enter")

    def focus_panel(self) -> None:
        """Go to the rows of the distribution."""
        self._app.screen.query_one(ProbabilityPanel).focus()

    async def answer(self, characters: int) -> None:
        """Wait until an answer has so many characters."""
        await self.until(lambda: len(self._answer) >= characters)

    @property
    def _answer(self) -> str:
        views = list(self._app.screen.query(MessageView))
        return views[-1].text if len(views) > 1 else ""

    @property
    def seen(self) -> str:
        """What stands on the screen."""
        strips = self._app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)

    async def picture(self) -> str:
        """The screen as it is now, with its cursor."""
        for field in self._app.screen.query("TextArea, Input"):
            assert isinstance(field, TextArea | Input)
            field.cursor_blink = False
        await self._pilot.pause(0.2)
        svg = self._app.export_screenshot(title="lmtui", simplify=True)
        return self_contained(svg)

    async def frame(self, seconds: float) -> None:
        """Add a frame to the moving picture."""
        self.frames.append((await self.picture(), seconds))


async def draft(drawing: Drawing) -> None:
    """A message being written, and what the model expects next in it."""
    await drawing.shows("kept ")
    await drawing.type(DRAFT)
    await drawing.until(lambda: "mean –" not in drawing.seen)


async def tour(drawing: Drawing) -> None:
    """Words are typed, the bars follow; the slider moves; an answer; why a word."""
    await drawing.shows("kept ")
    await drawing.frame(1.2)
    for word in QUESTION.split(",")[0].split():
        await drawing.press(*word)
        await drawing.until(lambda: "mean –" not in drawing.seen)
        await drawing.frame(0.35)
        await drawing.press("space")
    await drawing.press("backspace", "question_mark", "f4")
    await drawing.frame(0.5)
    for _ in range(5):
        await drawing.press(*["left"] * 4)
        await drawing.frame(0.3)
    for _ in range(5):
        await drawing.press(*["right"] * 4)
    await drawing.press("escape", "enter")
    for characters in (5, 15, 25):
        await drawing.answer(characters)
        await drawing.frame(0.4)
    await drawing.until(lambda: " ready " in drawing.seen and "●" in drawing.seen)
    await drawing.frame(0.8)
    await drawing.press("f3", *["right"] * 5)
    await drawing.frame(0.8)
    await drawing.press("w")
    await drawing.shows("Why “·Paris”")
    await drawing.shows("Enter goes there")
    await drawing.shows("as unsure as")
    await drawing.frame(2.5)


async def chain(drawing: Drawing) -> None:
    """The stages of the sampler, with what each removed, and the bars after XTC."""
    await drawing.shows("kept ")
    await drawing.ask(STORY)
    await drawing.until(lambda: " ready " in drawing.seen and "●" in drawing.seen)
    await drawing.press("f4")
    while "After XTC" not in drawing.seen:
        await drawing.press("down")
    await drawing.shows("Coin ")


async def ban(drawing: Drawing) -> None:
    """Tokens that are banned and biased from their rows."""
    await drawing.shows("kept ")
    await drawing.type(DRAFT)
    await drawing.until(lambda: "mean –" not in drawing.seen)
    drawing.focus_panel()
    await drawing.press("x", "down", "x", "down", "plus", "plus", "plus")
    await drawing.shows("% b")


async def grammar(drawing: Drawing) -> None:
    """An answer that follows a grammar, and what that allows at one token."""
    await drawing.shows("kept ")
    await drawing.ask("Describe the lighthouse keeper as JSON.")
    await drawing.until(lambda: " ready " in drawing.seen and "●" in drawing.seen)
    await drawing.press("f3", *["left"] * 7)
    await drawing.shows("grammar allows")


async def versions(drawing: Drawing) -> None:
    """Four answers that are drawn in one batch."""
    await drawing.shows("kept ")
    await drawing.ask(f"/n 4 {QUESTION}")
    await drawing.until(lambda: drawing.seen.count("Σ log P") >= 4)
    await drawing.until(lambda: "answering" not in drawing.seen)


async def remote(drawing: Drawing) -> None:
    """An answer of a server that lists only the most probable tokens."""
    await drawing.shows("kept ")
    await drawing.ask(QUESTION)
    await drawing.until(lambda: " ready " in drawing.seen and "●" in drawing.seen)
    await drawing.type(DRAFT)
    await drawing.until(lambda: _RANGE.search(drawing.seen))


async def ghost(drawing: Drawing) -> None:
    """A half-typed word in the editor, and how the model would go on."""
    await drawing.shows("the capital of France")
    await drawing.shows("Next after “Fran”")
    await drawing.shows("Σ log P    ≈−")


async def inspector(drawing: Drawing) -> None:
    """A text in the inspector, and where the likeliest tokens would lead."""
    await drawing.until(lambda: " ready " in drawing.seen and "⌷" in drawing.seen)
    await drawing.press("slash", *"coffee", "escape", "enter")
    await drawing.shows(" bits")
    await drawing.shows("Enter continues from there")


async def why(drawing: Drawing) -> None:
    """Which parts of a text made its last word likely."""
    await drawing.until(lambda: " ready " in drawing.seen and "⌷" in drawing.seen)
    await drawing.press("ctrl+end", "left", "w")
    await drawing.shows("Enter goes there")
    await drawing.press("t", "t")
    await drawing.shows("without “speak”")
    await drawing.press("tab", "down")
    await drawing.shows("without “Paris.”")
    await drawing.until(lambda: drawing.seen.count("as unsure as") == 2)


async def training(drawing: Drawing) -> None:
    """A training, half way."""
    await drawing.until(lambda: "Enter begins" in drawing.seen, 120)
    await drawing.press("enter")
    await drawing.until(lambda: "epoch 1." in drawing.seen, 900)


async def one_pass(drawing: Drawing) -> None:
    """All positions of a text from one pass, and as many passes beside it."""
    await drawing.shows("All at once")
    await drawing.press("f2")
    await drawing.shows("One by one: 11 of 11")


async def softmax(drawing: Drawing) -> None:
    """The columns of softmax, and a thousand tokens drawn."""
    await drawing.shows("÷ Σ")
    await drawing.press("f2")
    await drawing.shows("χ² = ")


async def counts(drawing: Drawing) -> None:
    """Models that count, beside the one in use."""
    await drawing.shows("bigram, after")
    await drawing.press("down")
    await drawing.shows("trigram, after")


async def from_scratch(drawing: Drawing) -> None:
    """A model that was trained from random weights."""
    await drawing.shows("No model is trained yet")
    await drawing.press("f2")
    await drawing.until(lambda: " steps in " in drawing.seen, 200)


Show = Callable[[Drawing], Awaitable[None]]
PICTURES: dict[str, Show] = {
    "tour": tour,
    "draft": draft,
    "chain": chain,
    "ban": ban,
    "grammar": grammar,
    "versions": versions,
    "ghost": ghost,
    "inspect": inspector,
    "why": why,
    "training": training,
    "remote": remote,
    "learn-pass": one_pass,
    "learn-softmax": softmax,
    "learn-counts": counts,
    "learn-training": from_scratch,
}
"""By file name: how to get there."""
PAGES = {one_pass: "4", softmax: "5", counts: "7", from_scratch: "9"}
"""The page of the course that a picture is of."""
SIZE = (120, 40)


@contextmanager
def bare_home() -> Iterator[Path]:
    """A home with the default model alone: what else is on this machine is no part of
    a picture, and what a picture leaves behind is gone with it."""
    model, cache = default_model.default_model(), paths.cache_folder()
    with tempfile.TemporaryDirectory() as folder:
        places = dict.fromkeys(("HOME", "LMTUI_HOME", "HF_HOME"), folder)
        os.environ |= places
        os.environ.pop("HF_HUB_CACHE", None)
        default_model.default_file().parent.mkdir()
        default_model.default_file().symlink_to(model)
        paths.cache_folder().symlink_to(cache)
        yield Path(folder)


@contextmanager
def learning(home: Path) -> Iterator[Finetuning]:
    """A training."""
    name = "python"
    notes = write_reference(home / name, longest=2_500)
    request = TrainRequest(
        name=name,
        places=(str(notes),),
        base=None,
        settings=NOTES,
        device="cpu",
        threads=None,
    )
    worker = WorkerProcess.start(request)
    yield Finetuning(worker, TrainingRun(), name, paths.adapters_folder())
    worker.stop()
    worker.stop()  # at once
    while worker.running:
        time.sleep(0.05)


async def draw(show: Show, home: Path) -> str:
    """One picture."""
    if show is training:
        with learning(home) as finetuning:
            app = LmtuiApp(
                load_default,
                AppOptions(
                    sampling=SamplingSettings(), first="finetune", finetuning=finetuning
                ),
            )
            return await pictured(app, show)
    if show is remote:
        with serving() as address:
            app = LmtuiApp(
                lambda _: lambda progress: open_remote(address, progress),
                AppOptions(
                    sampling=SamplingSettings(seed=7, max_tokens=400),
                    chats_file=home / "chats.db",
                    first="chat",
                ),
            )
            return await pictured(app, show)
    if show in PAGES:
        app = LmtuiApp(
            load_default,
            AppOptions(
                sampling=SamplingSettings(),
                first="learn",
                open_lesson=lambda: read_lesson(PAGES[show]),
            ),
        )
        return await pictured(app, show)
    if show is ghost:
        cursor = LETTER.index("Fran") + len("Fran")
        letter = Writing(TextFile(Path("letter.md"), LETTER), cursor)
        app = LmtuiApp(
            load_default,
            AppOptions(sampling=SamplingSettings(), first="complete", writing=letter),
        )
    elif show in (inspector, why):
        text = LETTER if show is inspector else HOME
        app = LmtuiApp(
            load_exact,
            AppOptions(
                sampling=SamplingSettings(),
                first="inspect",
                source=InspectSource("letter.md", read=lambda: text),
            ),
        )
    else:
        sampling = SamplingSettings(seed=7, max_tokens=400)
        if show is grammar:
            sampling = replace(sampling, grammar=SCHEMA)
        if show is chain:
            sampling = SamplingSettings(
                seed=1, max_tokens=60, xtc_probability=0.5, dry_multiplier=0.8
            )
        app = LmtuiApp(
            load_default,
            AppOptions(
                sampling=sampling,
                chats_file=home / "chats.db",
                first="chat",
            ),
        )
    return await pictured(app, show)


@contextmanager
def serving() -> Iterator[str]:
    """A server with the default model; yields its address."""
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "lmtui", "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    said = iter(server.stderr)
    try:
        yield next(at[0] for line in said if (at := _ADDRESS.search(line))) + "/v1"
    finally:
        server.terminate()
        server.wait()


def open_remote(address: str, on_progress: OnProgress) -> Engine:
    """Open the model there as vLLM's would be."""
    server = ServerOptions(dialect="vllm", tokenizer="default")
    return open_served(address, server, on_progress=on_progress)


def load_default(_: ModelRef) -> OpenEngine:
    """Load the default model, whatever is wanted."""
    return lambda progress: LocalEngine.open(quantize="auto", on_progress=progress)


def load_exact(_: ModelRef) -> OpenEngine:
    """Load it as `lmtui inspect` does."""
    return lambda progress: LocalEngine.open(on_progress=progress)


async def pictured(app: LmtuiApp, show: Show) -> str:
    """The program, once it is brought to where the picture is taken."""
    async with app.run_test(size=SIZE) as pilot:
        drawing = Drawing(app, pilot)
        await show(drawing)
        frames = drawing.frames
        picture = moving(frames) if frames else await drawing.picture()
        app.leave()
    return picture


def main() -> None:
    """Draw what was asked for, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(PICTURES)}")
    names = parser.parse_args().names or list(PICTURES)
    if len(names) > 1:  # a process each: torch is slow in a second thread
        for name in names:
            subprocess.run([sys.executable, __file__, name], check=True)
        return
    (name,) = names
    with bare_home() as home:
        svg = asyncio.run(draw(PICTURES[name], home))
    require_fit_to_show(name, svg)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
    print(f"{name}.svg  {len(svg.encode()):,} bytes", flush=True)


main()
