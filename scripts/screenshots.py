"""Pictures of the running program: the default model, driven by keys, as SVG.

The same seeds give the same words; only speeds differ from run to run. A picture
fetches nothing: it is drawn with whatever monospaced font its reader has.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from textual.pilot import Pilot
from textual.widgets import TextArea

from lmtui.edit.text_file import TextFile
from lmtui.engine.local import LocalEngine
from lmtui.engine.types import SamplingSettings
from lmtui.models import inventory
from lmtui.tui.app import LmtuiApp
from lmtui.tui.preferences import Preferences
from lmtui.tui.widgets.transcript import MessageView
from lmtui.tui.writing_options import Writing

FOLDER = Path(__file__).parent.parent / ".github" / "screenshots"
QUESTION = "What is the capital of France, and what is it known for?"
DRAFT = "the cat sat on the"
FONTS = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace'
LETTER = """\
Dear Anna,

we came to Paris by the night train and slept badly. The morning was
grey, but the bread was warm and the coffee strong. We walked along the
river to the old bookshop, where the owner kept a parrot that could say
good morning in nine languages.

Tomorrow we want to see the museum, if it is not too crowded. As you
know, the capital of Fran
"""
PATIENCE = 45
"""Seconds to wait for anything."""
LARGEST = 300_000
"""Bytes that a picture may have."""


class Drawing:
    """The program while it is brought to where its picture is taken."""

    def __init__(self, app: LmtuiApp, pilot: Pilot[Any]) -> None:
        self._app, self._pilot = app, pilot

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the model is as far."""
        deadline = time.monotonic() + PATIENCE
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


Show = Callable[[Drawing], Awaitable[None]]
WIDE, SMALL = (120, 40), (80, 24)
PICTURES: dict[str, tuple[Show, str, tuple[int, int]]] = {
    "start": (start, "dark", WIDE),
    "models": (models, "dark", WIDE),
    "chat": (streaming, "dark", WIDE),
    "draft": (draft, "dark", WIDE),
    "tokens": (tokens, "dark", WIDE),
    "ghost": (ghost, "dark", WIDE),
    "heat": (heat, "dark", WIDE),
    "replace": (replace, "dark", WIDE),
    "flat": (flat, "dark", WIDE),
    "sharp": (sharp, "dark", WIDE),
    "light": (answered, "light", WIDE),
    "small": (answered, "dark", SMALL),
}
"""By file name: how to get there, the theme, columns and rows."""


async def draw(name: str) -> str:
    """One picture."""
    show, theme, size = PICTURES[name]
    editing = show in (ghost, heat, replace)
    letter = TextFile(Path("letter.md"), LETTER)
    cursor = LETTER.index("Fran") + len("Fran") if show is ghost else 0
    first: Literal["start", "chat", "complete"]
    first = "start" if show is start else "complete" if editing else "chat"
    app = LmtuiApp(
        lambda _: lambda progress: LocalEngine.open(on_progress=progress),
        sampling=SamplingSettings(seed=7, max_tokens=120),
        list_models=inventory.rows,
        first=first,
        writing=Writing(letter, cursor, surprise_bits=9.0) if editing else None,
        preferences=Preferences(theme=theme),
    )
    async with app.run_test(size=size) as pilot:
        drawing = Drawing(app, pilot)
        await show(drawing)
        picture = await drawing.picture()
        app.leave()
    return self_contained(picture)


def self_contained(svg: str) -> str:
    """The picture without fonts from elsewhere, and with its spaces as distances:
    some programs drop those at the ends of a text."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", FONTS)
    # As wide as a cell in most fonts, for what does not stretch texts to their length.
    svg = svg.replace("font-size: 20px", "font-size: 20.3px")
    svg = re.sub(r"<text ([^>]*)>((?:[^<])*)</text>", _without_margins, svg)
    return re.sub(r"[ \t]+\n", "\n", svg)


def _without_margins(found: re.Match[str]) -> str:
    attributes, text = found[1], found[2]
    length = re.search(r'textLength="([\d.]+)"', attributes)
    if length is None:
        return found[0]
    if not text.replace("&#160;", "").strip():
        return ""
    cell = 12.2  # units, of the font size that Rich draws with
    bare = re.sub(r"^(?:&#160;)+", "", text)
    before = (len(text) - len(bare)) // len("&#160;")
    inner = re.sub(r"(?:&#160;)+$", "", bare)
    after = (len(bare) - len(inner)) // len("&#160;")
    start = re.search(r' x="([\d.]+)"', attributes)
    assert start is not None
    moved = f' x="{float(start[1]) + before * cell:g}"'
    shorter = f'textLength="{float(length[1]) - (before + after) * cell:g}"'
    attributes = attributes.replace(start[0], moved).replace(length[0], shorter)
    return f"<text {attributes}>{inner}</text>"


def require_fit_to_show(name: str, svg: str) -> None:
    """Stop at a picture that is large, fetches something or tells of this machine."""
    addresses = re.findall(r"https?://[^\s\"<]+", svg)
    known = ("http://www.w3.org/2000/svg", "https://www.textualize.io")
    places = [str(Path.home()), str(FOLDER.parent.parent)]
    found = [a for a in addresses if a not in known] + [p for p in places if p in svg]
    if found or len(svg.encode()) > LARGEST:
        raise SystemExit(f"error: {name}: {len(svg.encode())} bytes, {found}")


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
    svg = asyncio.run(draw(name))
    require_fit_to_show(name, svg)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
    print(f"{name}.svg  {len(svg.encode()):,} bytes", flush=True)


main()
