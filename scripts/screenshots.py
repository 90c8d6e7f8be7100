"""Pictures of the running program: the default model, driven by keys, as SVG.

The same seeds give the same words; only speeds differ from run to run. A picture
fetches nothing: it is drawn with whatever monospaced font its reader has.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from reference import write_reference
from svg import require_fit_to_show, self_contained
from textual.pilot import Pilot
from textual.widgets import TextArea

from lmtui import paths
from lmtui.chat.export import from_markdown
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationMeta
from lmtui.editing.text_file import TextFile
from lmtui.engine.engine import LocalEngine
from lmtui.engine.types import SamplingSettings
from lmtui.models import default_model, inventory
from lmtui.models.source import ModelRef
from lmtui.train.client import WorkerProcess
from lmtui.train.request import TrainRequest
from lmtui.train.settings import TrainSettings
from lmtui.tui.app import LmtuiApp
from lmtui.tui.chat.message import MessageView
from lmtui.tui.editor.options import Writing
from lmtui.tui.engine.questions import OpenEngine
from lmtui.tui.finetune.options import Finetuning
from lmtui.tui.inspector.source import InspectSource
from lmtui.tui.preferences import Preferences

FOLDER = Path(__file__).parent.parent / ".github" / "screenshots"
QUESTION = "What is the capital of France, and what is it known for?"
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
NOTES = TrainSettings(block=128, batch=2, epochs=2, lr=4e-4)
"""How the notes of a picture are learned: in minutes."""
PATIENCE = 45
"""Seconds to wait for anything but a training."""


class Drawing:
    """The program while it is brought to where its picture is taken."""

    def __init__(self, app: LmtuiApp, pilot: Pilot[Any]) -> None:
        self._app, self._pilot = app, pilot

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

    async def answer(self, characters: int) -> None:
        """Wait until an answer has so many characters."""
        await self.until(lambda: len(self._answer) >= characters)

    async def ended(self) -> None:
        """Wait for the end of an answer."""
        await self.until(lambda: self._answer and " ready " in self.seen)

    @property
    def field(self) -> TextArea:
        """Where the user writes."""
        return self._app.screen.query_one(TextArea)

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
        for field in self._app.screen.query(TextArea):
            field.cursor_blink = False
        await self._pilot.pause(0.2)
        return self._app.export_screenshot(title="lmtui", simplify=True)


async def start(drawing: Drawing) -> None:
    """The first screen."""
    await drawing.shows("ready")


async def models(drawing: Drawing) -> None:
    """The models to choose from."""
    await drawing.shows("ready")
    await drawing.press("f5")
    await drawing.shows("NAME")


async def draft(drawing: Drawing) -> None:
    """A message being written, and what the model expects next in it."""
    await drawing.shows("kept ")
    await drawing.type(DRAFT)
    await drawing.until(lambda: "mean –" not in drawing.seen)


async def flat(drawing: Drawing) -> None:
    """The slider towards flat: almost every token has a chance."""
    await draft(drawing)
    await drawing.press("f4", *["left"] * 8)
    await drawing.shows("‹ T ")


async def sharp(drawing: Drawing) -> None:
    """The slider towards sharp: few tokens are left."""
    await draft(drawing)
    await drawing.press("f4", *["right"] * 8)
    await drawing.shows("‹ T ")


async def streaming(drawing: Drawing) -> None:
    """An answer while it is written."""
    await drawing.shows("kept ")
    await drawing.ask(QUESTION)
    await drawing.answer(110)


async def answered(drawing: Drawing) -> None:
    """An answer, and the distribution its last token was drawn from."""
    await drawing.shows("kept ")
    await drawing.ask(QUESTION)
    await drawing.ended()


async def tokens(drawing: Drawing) -> None:
    """An answer token by token, the cursor on a surprise."""
    await answered(drawing)
    await drawing.press("f3")
    await drawing.shows("Token 1")
    await drawing.press("n", "n")
    await drawing.until(lambda: "Token 1 " not in drawing.seen)


TALKS = (
    ("Names for a boat", "Give me names for a small boat.", "Petrel, Halcyon, Drift."),
    ("Sorting in Python", "How do I sort by two keys?", "Use a tuple as the key."),
    ("Tides", "Why are there two tides a day?",
     "The Earth turns under two bulges of water, one towards the Moon and one away"
     " from it. A lighthouse keeper sees both of them every day."),
    ("A story about a lighthouse", "Tell me of a lighthouse keeper.",
     "She climbed the stairs of the lighthouse every evening, and counted them."),
)  # fmt: skip


async def history(drawing: Drawing) -> None:
    """Words found in the conversations that were had."""
    await drawing.shows("kept ")
    await drawing.press("ctrl+o")
    await drawing.shows("4 conversations")
    await drawing.press("f", *"lighth")
    await drawing.shows("hits")


async def branches(drawing: Drawing) -> None:
    """An answer amended and gone on with, and every branch of it."""
    await answered(drawing)
    await drawing.press("ctrl+r")
    await drawing.until(lambda: "2/2" in drawing.seen)
    await drawing.ended()
    await drawing.press("alt+up", "e")
    await drawing.shows("Editing the answer")
    field = drawing.field
    field.text = field.text.partition(".")[0] + ", and by the sea it"
    field.move_cursor(field.document.end)
    await drawing.press("enter")
    await drawing.until(lambda: "3/3" in drawing.seen)
    await drawing.ended()
    await drawing.press("ctrl+t")
    await drawing.shows("Every branch")


async def ghost(drawing: Drawing) -> None:
    """A half-typed word in the editor, and how the model would go on."""
    await drawing.shows("ghost: ")
    await drawing.shows("“·Fran” p ")
    await drawing.until(lambda: "≈" not in drawing.seen)


async def heat(drawing: Drawing) -> None:
    """The words of a text shaded by their surprise, the cursor on one."""
    await drawing.until(lambda: "≈" not in drawing.seen and "scored" in drawing.seen)
    await drawing.press("f3", "f8", "f8", "f8", "f8")
    await drawing.until(lambda: " bits, rank " in drawing.seen)
    await drawing.shows("follows: ")


async def replace(drawing: Drawing) -> None:
    """Other words for one of the text."""
    await heat(drawing)
    await drawing.press("f7")
    await drawing.shows("goes on")


async def inspector(drawing: Drawing) -> None:
    """A text in the inspector, and where the likeliest tokens would lead."""
    await drawing.until(lambda: " ready " in drawing.seen and "⌷" in drawing.seen)
    await drawing.press("slash", *"coffee", "escape", "enter")
    await drawing.shows(" bits")
    await drawing.shows("Enter goes on")


async def overview(drawing: Drawing) -> None:
    """What a text adds up to."""
    await drawing.until(lambda: " ready " in drawing.seen and "⌷" in drawing.seen)
    await drawing.press("o")
    await drawing.shows("Calibration")


async def training(drawing: Drawing) -> None:
    """A training, half way."""
    await drawing.until(lambda: "Enter begins" in drawing.seen, 120)
    await drawing.press("enter")
    await drawing.until(lambda: "epoch 1." in drawing.seen, 900)


async def report(drawing: Drawing) -> None:
    """What a training changed."""
    await training(drawing)
    await drawing.until(lambda: "q leaves" in drawing.seen, 900)
    await drawing.press("r")
    await drawing.shows("bits per byte")


Show = Callable[[Drawing], Awaitable[None]]
WIDE, SMALL = (120, 40), (80, 24)
PICTURES: dict[str, tuple[Show, str, tuple[int, int]]] = {
    "start": (start, "dark", WIDE),
    "models": (models, "dark", WIDE),
    "chat": (streaming, "dark", WIDE),
    "draft": (draft, "dark", WIDE),
    "tokens": (tokens, "dark", WIDE),
    "history": (history, "dark", WIDE),
    "tree": (branches, "dark", WIDE),
    "ghost": (ghost, "dark", WIDE),
    "heat": (heat, "dark", WIDE),
    "replace": (replace, "dark", WIDE),
    "inspect": (inspector, "dark", WIDE),
    "overview": (overview, "dark", WIDE),
    "training": (training, "dark", WIDE),
    "report": (report, "dark", WIDE),
    "flat": (flat, "dark", WIDE),
    "sharp": (sharp, "dark", WIDE),
    "light": (answered, "light", WIDE),
    "small": (answered, "dark", SMALL),
}
"""By file name: how to get there, the theme, columns and rows."""


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
    yield Finetuning(worker, name, paths.adapters_folder())
    worker.stop()
    worker.stop()  # at once
    while worker.running:
        time.sleep(0.05)


async def draw(name: str, home: Path) -> str:
    """One picture."""
    show, theme, size = PICTURES[name]
    if show in (training, report):
        with learning(home) as finetuning:
            app = LmtuiApp(
                load_default,
                sampling=SamplingSettings(),
                first="finetune",
                finetuning=finetuning,
                preferences=Preferences(theme=theme),
            )
            return await pictured(app, show, size)
    looking = show in (inspector, overview)
    editing = show in (ghost, heat, replace)
    letter = TextFile(Path("letter.md"), LETTER)
    cursor = LETTER.index("Fran") + len("Fran") if show is ghost else 0
    first: Literal["start", "chat", "complete", "inspect"]
    first = "start" if show is start else "complete" if editing else "chat"
    first = "inspect" if looking else first
    app = LmtuiApp(
        load_exact if looking else load_default,
        sampling=SamplingSettings(seed=7, max_tokens=120),
        list_models=inventory.rows,
        chats_file=talks(home / "chats.db", full=show is history),
        first=first,
        subject=InspectSource("letter.md", read=lambda: LETTER) if looking else None,
        writing=Writing(letter, cursor, surprise_bits=9.0) if editing else None,
        preferences=Preferences(theme=theme),
    )
    return await pictured(app, show, size)


def talks(file: Path, *, full: bool) -> Path:
    """Where conversations are kept; with some that were had."""
    if full:
        store = Store(file)
        for title, asked, said in TALKS:
            text = f"## You\n\n{asked}\n\n## Assistant · smollm2-135m\n\n{said}\n"
            _, conversation = from_markdown(text)
            store.add(title, conversation, ConversationMeta(title, named=True))
        store.close()
    return file


def load_default(_: ModelRef) -> OpenEngine:
    """Load the default model, whatever is wanted."""
    return lambda progress: LocalEngine.open(quantize="auto", on_progress=progress)


def load_exact(_: ModelRef) -> OpenEngine:
    """Load it as `lmtui inspect` does."""
    return lambda progress: LocalEngine.open(on_progress=progress)


async def pictured(app: LmtuiApp, show: Show, size: tuple[int, int]) -> str:
    """The program, once it is brought to where the picture is taken."""
    async with app.run_test(size=size) as pilot:
        drawing = Drawing(app, pilot)
        await show(drawing)
        picture = await drawing.picture()
        app.leave()
    return self_contained(picture)


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
        svg = asyncio.run(draw(name, home))
    require_fit_to_show(name, svg)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
    print(f"{name}.svg  {len(svg.encode()):,} bytes", flush=True)


main()
