"""Other files before the text: asked for first, named on the screen."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lmtui.editing.text_file import load
from lmtui.engine.document.types import (
    ContextFile,
    ContextPart,
)
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.editor.context import listed, summary
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.screen import EditorScreen
from tests.fake_writing import FakeWriter
from tests.tui.programs import program

FILES = (ContextFile("a.txt", "one"), ContextFile("b\x1b[2J.txt", "seven"))


pytestmark = pytest.mark.usefixtures("home")


async def test_files_are_read_before_anything_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("the cat")
    engine = FakeWriter()
    writing = Writing(load(file), context=FILES)
    options = {"first": "complete", "writing": writing}
    async with program({"default": engine}, **options) as running:
        screen = await running.on(EditorScreen)
        await running.until(lambda: screen.predictions.prediction is not None)
        verbs = [verb for verb, _ in engine.calls]
        assert verbs[0] == "read_with"
        assert engine.calls[0][1] == (FILES, "own.txt")
        await running.until(lambda: "2 files read first" in running.seen)
        await running.press("alt+i")
        await running.on(PageScreen)
        await running.until(lambda: "a.txt" in running.seen)
        assert "\x1b" not in running.seen
        assert "5 of 5 tokens" in running.seen


def test_list_says_how_much_of_each_file_is_read() -> None:
    parts = (ContextPart("long.py", 400, 2000), ContextPart("a.md", 7, 7))
    assert summary(parts) == "reads 2 files first: 407 of 2,007 tokens"
    assert summary(parts[1:]) == "reads 1 file first: 7 tokens"
    lines = listed(parts).splitlines()
    assert lines[0].split() == ["long.py", "400", "of", "2,000", "tokens"]
    assert lines[1].split() == ["a.md", "7", "of", "7", "tokens"]


async def test_open_list_of_files_follows_the_model(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("the cat")
    engine, go_on = FakeWriter(), Event()

    def open_model(_: str) -> Any:
        def opened(_: Any) -> FakeWriter:
            assert go_on.wait(20)
            return engine

        return opened

    writing = Writing(load(file), context=FILES)
    options: Any = {"first": "complete", "writing": writing, "notices": True}
    async with program(open_model=open_model, **options) as running:
        await running.on(EditorScreen)
        await running.press("f7")
        await running.until(lambda: "No model is loaded yet: load" in running.seen)
        await running.press("alt+i")
        await running.on(PageScreen)
        await running.until(lambda: "The model is not ready yet" in running.seen)
        go_on.set()
        await running.until(lambda: "5 of 5 tokens" in running.seen)
        assert "not ready" not in running.seen
