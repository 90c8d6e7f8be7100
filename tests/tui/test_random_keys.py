"""Keys, pastes and sizes in any order, on every screen, over a tiny model: nothing ends
the program, and no bug is recorded."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from textual.errors import NoWidget
from textual.events import Paste
from textual.pilot import OutOfBounds

from lmtui.editing import text_file
from lmtui.learn.course import read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.lesson import Lesson
from lmtui.tui import background
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import FirstScreen
from lmtui.tui.editor.options import Writing
from lmtui.tui.inspect_source import InspectSource
from lmtui.worker import worker
from tests.engine import tiny
from tests.tui.programs import Program, program

TEXT = "the cat sat on the mat and the dog sat on the log\n" * 6
SIZES = [(80, 24), (120, 40), (40, 12), (200, 60), (60, 18), (33, 9), (20, 5)]
KEYS = [
    *"abcdefghijklmnopqrstuvwxyz0123456789", "slash", "comma", "left_square_bracket",
    "right_square_bracket", "enter", "enter", "escape", "tab", "shift+tab", "space",
    "up", "down", "left", "right", "pageup", "pagedown", "home", "end", "backspace",
    "delete",
]  # fmt: skip
PASTES = [
    "the cat", "/help", "/n 2 hi", '/ban "cat sat"', "/regex [ab]{3}", "/regex off",
    "/undo", "/prompt", "/fork", "/system be kind", "@draft.txt", "/",
    "/preset save x", "/export", "\n\n", "-1.5", "100000", " cat=ban", "日本 👩‍👩‍👧",
    "\x1b[31m[bold]x[/nope]", "a\rb\x0bc\u2028",
]  # fmt: skip


def options(first: FirstScreen, rng: random.Random, folder: Path) -> dict[str, Any]:
    """What the first screen shows."""
    match first:
        case "complete":
            name = rng.choice(["draft.txt", "code.py"])
            return {"writing": Writing(text_file.load(folder / name))}
        case "inspect":
            return {"source": InspectSource("draft.txt", read=lambda: TEXT)}
        case "learn":
            course, page = read_course(INSTRUMENTS), rng.randrange(10)
            return {"open_lesson": lambda: Lesson(course, INSTRUMENTS, start=page)}
        case _:
            return {}


async def step(running: Program, rng: random.Random) -> str:
    """Do one thing, and return what it was."""
    pilot, kind = running.pilot, rng.random()
    if kind < 0.6:
        bound = [
            key
            for key, active in running.app.screen.active_bindings.items()
            if active.enabled and not active.binding.action.endswith("suspend")
        ]
        key = rng.choice(bound or ["escape"])
        await pilot.press(key)
        return key
    if kind < 0.85:
        key = rng.choice(KEYS)
        await pilot.press(key)
        return key
    if kind < 0.93:
        text = rng.choice(PASTES)
        running.app.post_message(Paste(text))
        await pilot.press(*(["enter"] if rng.random() < 0.5 else []))
        return f"paste {text!r}"
    if kind < 0.96:
        size = rng.choice(SIZES)
        await pilot.resize_terminal(*size)
        return f"size {size}"
    width, height = running.app.size
    offset = rng.randrange(width), rng.randrange(height)
    with suppress(NoWidget, OutOfBounds):  # a new size is not laid out yet
        await pilot.click(offset=offset)
    return f"click {offset}"


async def stay(app: LmtuiApp) -> None:
    """Leave the program running when a key asks to quit."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take one seed, and forty with --full."""
    full = metafunc.config.getoption("--full")
    metafunc.parametrize("seed", range(40 if full else 1))


@pytest.mark.parametrize("first", ["start", "chat", "complete", "inspect", "learn"])
async def test_no_keys_end_the_program(
    first: FirstScreen,
    seed: int,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    bugs: list[BaseException] = []
    for module in (worker, background):
        monkeypatch.setattr(module.log, "record_bug", bugs.append)
    monkeypatch.setattr(LmtuiApp, "action_quit", stay)
    monkeypatch.setenv("HOME", str(tmp_path))  # screenshots go there
    monkeypatch.chdir(tmp_path)
    (tmp_path / "draft.txt").write_text(TEXT)
    (tmp_path / "code.py").write_text("def f(x):\n    return x + 1\n")
    rng, did = random.Random(seed), list[str]()
    engine = tiny.engine("llama")
    try:
        async with program(
            open_model=lambda _: lambda _: engine,
            first=first,
            chats_file=home / "chats.db",
            notices=True,
            **options(first, rng, tmp_path),
        ) as running:
            await running.ready()
            for _ in range(400 if pytestconfig.getoption("--full") else 60):
                did.append(await step(running, rng))
            assert not running.app._exit
    except Exception as error:
        error.add_note(f"the last steps: {did[-20:]}")
        raise
    assert not bugs, did[-20:]
