"""The other files that the model reads before the text."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from lmtui.engine.document.types import (
    ContextFile,
    ContextPart,
)
from lmtui.notation import counted
from lmtui.text import visible_line
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.editor.file import FileController
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.model_state import ModelState
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.cells import clip, pad_to
from lmtui.worker.requests import Slot

_NAME = 60  # cells
EMPTY = """\
No other file is read before the text. Name some when you open the editor:

  lmtui complete draft.md --with notes.md
  lmtui complete main.py --with ."""


class ContextController(Controller):
    def __init__(
        self,
        client: EngineClient,
        screen: ModelScreen,
        file: FileController,
        files: Sequence[ContextFile],
    ) -> None:
        self._client, self._screen = client, screen
        self._file, self._files = file, tuple(files)
        self.parts: tuple[ContextPart, ...] = ()
        """How much of each file the model reads; empty before it has answered."""
        self._page: PageScreen | None = None  # the last one, which may be open

    def follow_model(self, state: ModelState) -> None:
        self.parts = ()
        if state.info is not None and self._files:
            files, name = self._files, self._file.current.name
            self._client.ask(
                Slot.CONTEXT,
                lambda engine, _: engine.document.read_with(files, name=name),
                self._show_parts,
                self._screen.show_error,
            )

    def _show_parts(self, parts: tuple[ContextPart, ...]) -> None:
        self.parts = parts
        if self._page is not None:
            self._page.show(Content(listed(parts)))
        self._screen.activity.notice(summary(parts))

    def list_files(self) -> None:
        text = listed(self.parts) if self._files else EMPTY
        self._page = PageScreen("Read before the text", Content(text))
        self._screen.app.push_screen(self._page)


def summary(parts: Sequence[ContextPart]) -> str:
    tokens, total = (sum(p.tokens for p in parts), sum(p.total for p in parts))
    total_text = "" if tokens == total else f" of {total:,}"
    files = counted(len(parts), "file")
    return f"reads {files} first: {tokens:,}{total_text} tokens"


def listed(parts: Sequence[ContextPart]) -> str:
    if not parts:
        return "The model is not ready yet; how much of each file it reads comes here."
    names = [clip(visible_line(part.name), _NAME) for part in parts]
    width = max(map(len, names))
    rows = [
        f"{pad_to(name, width)}  {part.tokens:>7,} of {part.total:,} tokens"
        for name, part in zip(names, parts, strict=True)
    ]
    note = "Every number and suggestion is given these files, also Σ log P."
    return "\n".join([*rows, "", summary(parts), note])
