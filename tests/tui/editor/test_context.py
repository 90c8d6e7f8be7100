"""Other files before the text: asked for first, named on the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.editing.text_file import load
from lmtui.engine.document.types import (
    ContextFile,
    ContextPart,
)
from lmtui.tui.editor.context import summary
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
        await running.until(lambda: "reads 2 files first: 8 tokens" in running.seen)


def test_summary_says_how_much_of_each_file_is_read() -> None:
    parts = (ContextPart("long.py", 400, 2000), ContextPart("a.md", 7, 7))
    assert summary(parts) == "reads 2 files first: 407 of 2,007 tokens"
    assert summary(parts[1:]) == "reads 1 file first: 7 tokens"
