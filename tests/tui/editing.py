"""An editor on a screen, driven by keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from lmtui.tui.editor.text_area import GhostEditor
from tests.tui.hosts import Host


class Editing:
    """An editor on a screen, and what it posted."""

    def __init__(self, editor: GhostEditor, app: Host, pilot: Pilot[None]) -> None:
        self.editor = editor
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def suggest(self, text: str) -> bool:
        editor = self.editor
        shown = editor.show_ghost(
            text, revision=editor.revision, cursor=editor.cursor_index
        )
        await self.pilot.pause()
        return shown

    def posted(self, *kinds: type) -> list[object]:
        """The messages of these kinds since the last time."""
        found = [message for message in self.app.posted if isinstance(message, kinds)]
        self.app.posted.clear()
        return found

    def rows(self) -> list[str]:
        """The rows that are drawn, without those that are empty."""
        drawn = (
            self.editor.render_line(y).text for y in range(self.editor.size.height)
        )
        return [text.rstrip() for text in drawn if text.strip()]


@asynccontextmanager
async def editing(
    text: str = "",
    at: int = 0,
    *,
    language: str | None = None,
    size: tuple[int, int] = (40, 10),
) -> AsyncIterator[Editing]:
    editor = GhostEditor()
    app = Host(editor)
    async with app.run_test(size=size, message_hook=app.hook) as pilot:
        editor.focus()
        editor.show_line_numbers = False
        editor.load(text, language)
        editor.go_to(at)
        await pilot.pause()
        app.posted.clear()
        yield Editing(editor, app, pilot)
