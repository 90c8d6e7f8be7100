"""The program with a file in the editor, over a scripted engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lmtui.editing import recovery
from lmtui.editing.text_file import load
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.document.types import ContextFile
from lmtui.tui.dialogs import ConfirmDialog
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.screen import EditorScreen
from lmtui.tui.widgets.line_prompt import LinePrompt
from tests.fake_writing import FakeWriter
from tests.tui.programs import Program, program

TEXT = "the cat sat on the mat\nand looked at the sea\n"
ALL = SuggestionRules(seconds=None, min_prob=None)
NEVER = 3600.0


class Writer:
    """The program with a file in the editor."""

    def __init__(self, running: Program, screen: EditorScreen, file: Path) -> None:
        self.running, self.screen, self.file = running, screen, file
        self.press, self.until = running.press, running.until

    @property
    def editor(self):  # type: ignore[no-untyped-def]
        return self.screen.editor

    @property
    def seen(self) -> str:
        return self.running.seen

    async def type(self, text: str) -> None:
        names = {" ": "space", "\n": "enter"}
        await self.press(*(names.get(letter, letter) for letter in text))

    async def answer(self, text: str) -> None:
        """Answer the question in the bar, once it asks, with a text pasted at once."""
        prompt = self.screen.query_one(LinePrompt)
        await self.until(lambda: prompt.is_open)
        prompt.field.value = text
        await self.press("enter")

    async def open(self, file: Path) -> None:
        """Ask for another file."""
        await self.press("alt+o")
        await self.answer(str(file))

    async def expected(self) -> None:
        """Wait for the panel of the cursor, and until all is scored."""
        screen = self.screen
        await self.until(
            lambda: (
                screen.predictions.prediction is not None
                and not screen.editor.scored.stale()
            )
        )

    async def asked(self, words: str, answer: str = "") -> None:
        """Wait for a question, and answer it."""
        await self.running.on(ConfirmDialog)
        await self.until(lambda: words in self.seen)
        if answer == "escape":
            await self.press(answer)
        elif answer:
            await self.running.choose(answer)


@asynccontextmanager
async def writing(
    folder: Path,
    engine: FakeWriter | None = None,
    *,
    text: str | bytes = TEXT,
    cursor: int = 0,
    delay: float = NEVER,
    rules: SuggestionRules = ALL,
    context: Sequence[ContextFile] = (),
    **options: Any,
) -> AsyncIterator[Writer]:
    file = folder / "draft.txt"
    if text:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    opened = Writing(
        load(file),
        cursor=cursor,
        recovered=recovery.find(file),
        rules=replace(rules, delay=delay),
        context=context,
    )
    engines = {"default": engine or FakeWriter()}
    options = {"size": (100, 30), "first": "complete", "writing": opened, **options}
    async with program(engines, **options) as running:
        screen = running.app.installed("complete")
        assert isinstance(screen, EditorScreen)
        await running.until(lambda: screen.file.is_open)
        await running.ready()
        yield Writer(running, screen, file)
