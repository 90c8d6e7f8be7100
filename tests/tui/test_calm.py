"""Whatever was done before, a screen that has come to rest says of its text what a new
one says of it: panel, tokens, totals and status."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.screen import ModalScreen

from lmtui.editing import text_file
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.models.source import ModelRef
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.screen import ChatScreen
from lmtui.tui.editor import scores
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.inspector import document, panel
from lmtui.tui.inspector.screen import InspectScreen
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.status import Status
from lmtui.tui.widgets.text_totals import TextTotals
from tests.engine import tiny
from tests.tui.programs import Program, program

TEXT = "the cat sat on the mat\nand the dog sat on the log\n\n日本 is a naïve text\n"
MODELS = {"default": "llama", "second": "qwen3"}
SIZES = [(80, 24), (120, 40), (60, 18), (160, 50)]
MOVES = ["left", "right", "up", "down", "home", "end", "pageup", "pagedown",
         "ctrl+home", "ctrl+end", "shift+left", "shift+down"]  # fmt: skip
EDITS = [*"abc d", "enter", "backspace", "delete", "ctrl+z", "ctrl+y", "ctrl+w"]
COVERS = {
    "complete": ["f1", "ctrl+l", "ctrl+f", "ctrl+g", "f7", "alt+k"],
    "inspect": ["f1", "o", "L", "w", "b", "f", "slash", "f4"],
    "chat": ["f1", "f4", "ctrl+f"],
}
FIRST: dict[str, Any] = {
    "complete": EditorScreen, "inspect": InspectScreen, "chat": ChatScreen
}  # fmt: skip


def open_model(name: str) -> Callable[[object], Any]:
    """Return what opens a model that nothing was read with."""
    return lambda _: tiny.engine(MODELS[name])


@asynccontextmanager
async def opened(
    first: Any, folder: Path, text: str, at: int, size: tuple[int, int], model: str
) -> AsyncIterator[Program]:
    """The program with a text on one of its screens."""
    options: dict[str, Any] = {}
    if first == "complete":
        file = folder / "draft.txt"
        file.write_text(text)
        rules = SuggestionRules(delay=3600.0)
        options["writing"] = Writing(text_file.load(file), cursor=at, rules=rules)
    if first == "inspect":
        options["source"] = InspectSource("draft.txt", read=lambda: text)
    async with program(
        first=first,
        size=size,
        open_model=lambda name: open_model(model if name == "default" else name),
        **options,
    ) as running:
        await running.on(FIRST[first])
        yield running


async def do_something(running: Program, first: str, rng: random.Random) -> str:
    """Do one thing, and return what it was."""
    app, pilot, kind = running.app, running.pilot, rng.random()
    if kind < 0.1:
        size = rng.choice(SIZES)
        await pilot.resize_terminal(*size)
        return f"size {size}"
    if kind < 0.2 and not isinstance(app.screen, ModalScreen):
        name = rng.choice([*MODELS])
        app.load_model(ModelRef(None if name == "default" else name))
        return f"model {name}"
    if kind < 0.25:
        app.post_message(Paste(rng.choice(["a cat", "x\n\ny", "日本"])))
        return "paste"
    keys = [*MOVES, "escape"]
    if kind < 0.4:
        keys = [*COVERS[first], "escape", "escape"]
    elif first != "inspect" and kind < 0.75:
        keys = [key for key in EDITS if first != "chat" or key != "enter"]
    elif kind < 0.5:
        keys = ["ctrl+c", "m" if first == "inspect" else "f3"]
    key = rng.choice(keys)
    if key == "escape" and not isinstance(app.screen, ModalScreen):
        key = "ctrl+c"  # stops too, and never leaves the screen
    await pilot.press(key)  # without a pause: what it began is not waited for
    return key


def is_scored(screen: Any) -> bool:
    """Whether the inspector has scored all of its text."""
    scored = screen.document.scored
    return bool(scored.ids) and scored.is_read and not screen.compare.either_reads


def is_calm(running: Program) -> bool:
    """Whether nothing is asked, and nothing is to be."""
    queue, screen = running.app._engine._queue, running.app.screen
    if running.app.model.info is None or queue.running or queue._waiting:
        return False
    if screen.query_one(ProbabilityPanel).stale:
        return False
    match screen:
        case EditorScreen():
            is_read = not screen.editor.scored.stale() and screen.scores.is_shown
            return is_read and not screen.predictions.is_asking
        case InspectScreen():
            shown = screen.at_cursor.distribution
            return is_scored(screen) and shown is not None and shown.handle >= 0
        case ChatScreen():
            return not screen.draft.status_text
    return False


async def come_to_rest(running: Program, screen: Any) -> None:
    """Close what lies over the text, have the model go on, and let it come to rest."""
    for _ in range(8):
        if running.app.screen is not screen:
            await running.press("escape")
    screen.focus_text()
    await running.until(lambda: running.app.screen is screen)
    await running.until(lambda: running.app.model.info is not None)
    if isinstance(screen, EditorScreen):
        screen.editor.go_to(screen.editor.cursor_index)
        await running.press("x")
    elif isinstance(screen, ChatScreen):
        await write(running, "x")
    else:
        at = screen.document.view.index
        await running.press("r")
        await running.until(lambda: is_scored(screen))
        screen.document.view.select(max(1, at))
    await running.until(lambda: is_calm(running))


async def write(running: Program, text: str) -> None:
    """Write into the draft of a chat that is at rest, until it was read."""
    await running.until(lambda: is_calm(running))
    before = running.app.screen.query_one(ProbabilityPanel).distribution
    running.app.screen.query_one(PromptField).insert(text)
    panel = running.app.screen.query_one(ProbabilityPanel)
    await running.until(lambda: panel.distribution is not before)


def said(screen: Any) -> dict[str, Any]:
    """What a screen says of its text and its model; numbers as far as two readings of a
    text agree."""
    panel = screen.query_one(ProbabilityPanel)
    shown = panel.distribution
    told: dict[str, Any] = {"title": panel.title, "stale": panel.stale}
    told["status"] = screen.query_one(Status).state
    if shown is not None:
        told["rows"] = [row.id for row in shown.candidates[:5]]
        told["probs"] = [row.prob for row in shown.candidates[:5]]
        told["chosen"] = panel.chosen
        told["entropy"] = shown.entropy
    for totals in screen.query(TextTotals):
        told["totals"] = [
            (part.name, part.tokens, part.scored, part.stale, part.whole)
            for part in totals.parts
            if part.name != "selection"  # which the new screen has none of
        ]
        told["sums"] = totals.parts[0].logprob
    if isinstance(screen, EditorScreen):
        lines = range(screen.editor.document.line_count)
        spans = [screen.editor.scored.spans(line, 0, 9999) for line in lines]
        told["spans"] = [[(s.start, s.end, s.stale) for s in line] for line in spans]
        told["heat"] = [s.logprob or 0.0 for line in spans for s in line]
    if isinstance(screen, InspectScreen):
        told["tokens"] = [token.id for token in screen.document.view.tokens]
        told["heat"] = [token.logprob or 0.0 for token in screen.document.view.tokens]
    for strip in screen.query(LikelihoodStrip):
        told["strip"] = strip.history.tokens, strip.history.scored
        told["strip sum"] = strip.history.logprob
    return told


def text_of(screen: Any) -> tuple[str, int]:
    """The text of a screen, and where its cursor is."""
    match screen:
        case EditorScreen():
            return screen.editor.text, screen.editor.cursor_index
        case InspectScreen():
            return TEXT, screen.document.view.index
    return screen.query_one(PromptField).text, 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take three seeds, and forty with --full."""
    full = metafunc.config.getoption("--full")
    metafunc.parametrize("seed", range(40 if full else 3))


@pytest.mark.parametrize("first", ["complete", "inspect", "chat"])
async def test_a_screen_at_rest_says_what_a_new_one_says(
    first: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(scores, "IDLE", 0.01)
    monkeypatch.setattr(scores, "_PART", 8)
    monkeypatch.setattr(panel, "_REST", 0.01)
    monkeypatch.setattr(document, "SHARE", 0)
    rng, did = random.Random(seed), list[str]()
    async with opened(first, tmp_path, TEXT, 5, (120, 40), "default") as running:
        screen = running.app.screen
        for _ in range(25):
            did.append(await do_something(running, first, rng))
        await come_to_rest(running, screen)
        text, at = text_of(screen)
        assert running.app.model.info is not None
        family = running.app.model.info.model.removeprefix("tiny-")
        model = next(name for name, of in MODELS.items() if of == family)
        size, used = tuple(running.app.size), said(screen)
    async with opened(first, tmp_path, text, at, size, model) as running:  # type: ignore[arg-type]
        new = running.app.screen
        await running.ready()
        if first == "chat":
            await write(running, text)
        elif first == "inspect":
            await running.until(lambda: is_scored(new))
            new.document.view.select(at)  # type: ignore[attr-defined]
        await running.until(lambda: is_calm(running))
        fresh = said(new)
    if any("not searched" in each["title"] for each in (fresh, used)):
        # How far the tokenisations of a half-typed word are searched depends on what
        # was read before; the title tells it.
        for each in (fresh, used):
            each["title"] = re.sub(r" \(\S+ not searched\)", "", each["title"])
            for what in ("rows", "probs", "chosen", "entropy"):
                each.pop(what, None)
    assert used.keys() == fresh.keys(), did
    for what, is_so in fresh.items():
        expected = pytest.approx(is_so, abs=1e-4) if _is_numbers(is_so) else is_so
        assert used[what] == expected, (what, did)


def _is_numbers(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(each, float) for each in values)
